"""Registering, updating and wiping a runner, against a server on loopback that answers as GitHub does."""

import base64
import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests.engine.infra.conftest import Api, Script, executable, named

TOKEN = "github_pat_not_to_be_seen"  # noqa: S105 - made up
JIT = "/orgs/acme/actions/runners/generate-jitconfig"


@pytest.fixture
def registration(tmp_path: Path, bin_: Path, api: Api) -> dict[str, object]:
    """The environment that systemd gives register.sh, and a curl that writes down how it was called."""
    executable(bin_ / "curl", f'echo "$@" >>{tmp_path}/argv; exec /usr/bin/curl "$@"')
    (tmp_path / "secrets").mkdir()
    names = {"RUNNER_SCOPE": "acme", "RUNNER_LABELS": "self-hosted,gpu", "RUNNER_GROUP_ID": 7}
    return names | {"GITHUB_API": api.url, "RUNNER_SECRETS": tmp_path / "secrets"}


def test_a_registration_is_for_one_job_and_no_secret_is_seen(
    tmp_path: Path, api: Api, registration: dict[str, object], script: Script
) -> None:
    (tmp_path / "secrets/token").write_text(TOKEN + "\n")
    api.answers[JIT] = (201, {"encoded_jit_config": "b25lIGpvYg=="})

    result = script("register.sh", 1, tmp_path / "jit.env", env=registration)

    assert result.returncode == 0, result.stderr
    assert (tmp_path / "jit.env").read_text() == "ACTIONS_RUNNER_INPUT_JITCONFIG=b25lIGpvYg==\n"
    assert (tmp_path / "jit.env").stat().st_mode & 0o777 == 0o600
    (path, authorization, body), *others = api.asked
    assert not others
    assert (path, authorization) == (JIT, f"Bearer {TOKEN}")
    assert isinstance(body, dict)
    assert (body["labels"], body["runner_group_id"]) == (["self-hosted", "gpu"], 7)
    assert "-gpu1-" in body["name"]
    assert TOKEN not in result.stdout + result.stderr + (tmp_path / "argv").read_text()


def test_a_github_app_signs_for_itself(
    tmp_path: Path, api: Api, registration: dict[str, object], script: Script
) -> None:
    # given an App's key
    key, public = tmp_path / "secrets/app.pem", tmp_path / "public.pem"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-out", public], check=True, capture_output=True)
    api.answers["/app/installations/42/access_tokens"] = (201, {"token": TOKEN})
    api.answers[JIT] = (201, {"encoded_jit_config": "b25lIGpvYg=="})

    # when
    env = registration | {"GITHUB_APP_ID": "Iv1.abc", "GITHUB_APP_INSTALLATION": 42}
    result = script("register.sh", 0, tmp_path / "jit.env", env=env)

    # then GitHub can verify who signed, for how long, and the App's token registers
    assert result.returncode == 0, result.stderr
    head, claims, signature = api.asked[0][1].removeprefix("Bearer ").split(".")
    decoded = [base64.urlsafe_b64decode(part + "==") for part in (head, claims, signature)]
    (tmp_path / "signature").write_bytes(decoded[2])
    verify = ["openssl", "dgst", "-sha256", "-verify", str(public), "-signature", str(tmp_path / "signature")]
    assert subprocess.run(verify, input=f"{head}.{claims}".encode(), capture_output=True, check=False).returncode == 0
    said = json.loads(decoded[1])
    assert (json.loads(decoded[0])["alg"], said["iss"]) == ("RS256", "Iv1.abc")
    assert 0 < said["exp"] - said["iat"] <= 600
    assert api.asked[1][1] == f"Bearer {TOKEN}"
    assert TOKEN not in result.stdout + result.stderr + (tmp_path / "argv").read_text()


@pytest.mark.parametrize(
    ("token", "status", "says"),
    [(TOKEN, 403, "GitHub registered no runner for acme: the credential needs"), ("", 201, "token is missing")],
)
def test_a_refused_registration_says_what_is_needed(
    token: str, status: int, says: str, tmp_path: Path, api: Api, registration: dict[str, object], script: Script
) -> None:
    (tmp_path / "secrets/token").write_text(token)
    api.answers[JIT] = (status, {"message": "Resource not accessible"})
    result = script("register.sh", 0, tmp_path / "jit.env", env=registration)
    assert result.returncode == 1
    assert says in result.stderr.splitlines()[-1]
    assert not (tmp_path / "jit.env").exists()
    assert TOKEN not in result.stdout + result.stderr


def release(api: Api, version: str, *, digest: str | None = None) -> None:
    """Publish a runner that consists of one file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("bin/Runner.Listener")
        tar.addfile(entry)
    arch = "arm64" if os.uname().machine == "aarch64" else "x64"
    name = f"actions-runner-linux-{arch}-{version}.tar.gz"
    digest = digest or hashlib.sha256(packed.getvalue()).hexdigest()
    asset = {"name": name, "digest": f"sha256:{digest}", "browser_download_url": f"{api.url}/{name}"}
    api.answers["/latest"] = (200, {"tag_name": f"v{version}", "assets": [asset]})
    api.answers[f"/{name}"] = (200, packed.getvalue())


def test_an_update_switches_over_and_restarts_only_idle_runners(
    tmp_path: Path, api: Api, bin_: Path, script: Script
) -> None:
    # given an idle listener and one with a job, as systemd and the kernel show them
    programs = {"idle": ["Runner.Listener"], "busy": ["Runner.Listener", "Runner.Worker"]}
    processes = []
    for unit, names in programs.items():
        group = tmp_path / unit
        group.mkdir()
        running = [subprocess.Popen([named(group, name), "-c", "read"], stdin=subprocess.PIPE) for name in names]
        (group / "cgroup.procs").write_text("".join(f"{process.pid}\n" for process in running))
        processes += running
    units = "list-units) printf '%s loaded active running\\n' idle busy ;;"
    restarts = f'restart) echo "$2" >>{tmp_path}/restarted ;;'
    executable(bin_ / "systemctl", f'case $1 in {units} show) echo "/${{!#}}" ;; {restarts} esac')
    root = tmp_path / "opt"
    root.mkdir()
    env = {"RUNNER_ROOT": root, "RUNNER_RELEASE": f"{api.url}/latest", "RUNNER_CGROUPS": tmp_path}

    # when three releases follow each other, the last one twice
    for version in ("2.334.0", "2.335.0", "2.336.0", "2.336.0"):
        release(api, version)
        result = script("service.sh", "update", env=env)
        assert result.returncode == 0, result.stderr
    for process in processes:
        process.communicate()

    # then the newest is current, the one before stays for a job that runs from it, and nothing else is left
    assert (root / "current").readlink() == Path("2.336.0")
    assert (root / "current/bin/Runner.Listener").exists()
    assert sorted(path.name for path in root.iterdir()) == ["2.335.0", "2.336.0", "current"]
    assert set((tmp_path / "restarted").read_text().split()) == {"idle"}


def test_a_download_that_is_not_what_github_published_changes_nothing(tmp_path: Path, api: Api, script: Script) -> None:
    release(api, "2.336.0", digest="0" * 64)
    result = script("service.sh", "update", env={"RUNNER_ROOT": tmp_path, "RUNNER_RELEASE": f"{api.url}/latest"})
    assert result.returncode != 0
    assert not list(tmp_path.iterdir())


def test_nothing_of_a_job_outlives_it_but_the_package_cache(tmp_path: Path, script: Script) -> None:
    runner, outside = tmp_path / "0", tmp_path / "outside"
    for path in (runner / "_work/flights/.git", runner / "cache/uv", outside):
        path.mkdir(parents=True)
    (outside / "kept").touch()
    (runner / "_work/way-out").symlink_to(outside)
    (runner / ".credentials").touch()

    assert script("service.sh", "prepare", runner).returncode == 0
    assert sorted(path.name for path in runner.iterdir()) == ["bin", "cache", "externals", "home"]
    assert (runner / "cache/uv").exists()
    assert (outside / "kept").exists()


def test_a_listener_that_is_too_old_asks_for_its_update(tmp_path: Path, bin_: Path, script: Script) -> None:
    executable(bin_ / "systemctl", f'echo "$@" >>{tmp_path}/called')
    for status in (0, 1, 7):
        (tmp_path / "jit.env").touch()
        assert script("service.sh", "stopped", tmp_path / "jit.env", env={"EXIT_STATUS": status}).returncode == 0
        assert not (tmp_path / "jit.env").exists()
    assert (tmp_path / "called").read_text() == "start --no-block actions-runner-update.service\n"
