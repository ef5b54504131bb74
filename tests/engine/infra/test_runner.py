"""The runner kit as a machine would take it: units that systemd accepts, scripts that shellcheck accepts, values."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.engine.infra.conftest import KIT, Script, executable

Tool = Callable[[str], str]
SYSTEMD = Path("/usr/lib/systemd/system")


@pytest.fixture
def machine(tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root folder with the kit installed, systemd's own units and empty programs where the units expect some."""
    root = tmp_path / "root"
    root.mkdir()
    result = script("install.sh", env={"DESTDIR": root})
    assert result.returncode == 0, result.stderr
    for program in ("usr/bin/nvidia-modprobe", "var/lib/actions-runner/0/bin/Runner.Listener"):
        (root / program).parent.mkdir(parents=True)
        executable(root / program, "")
    if SYSTEMD.exists():
        shutil.copytree(SYSTEMD, root / "lib/systemd/system", symlinks=True)
    return root


def settings(root: Path, unit: str) -> dict[str, list[str]]:
    """A unit's settings, each with every value given to it."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", (root / "etc/systemd/system" / unit).read_text(), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("unit", ["actions-runner@0.service", "actions-runner-update.timer", "actions-runner.slice"])
def test_systemd_accepts_every_unit_without_a_word(unit: str, machine: Path, tool: Tool) -> None:
    command = [tool("systemd-analyze"), "verify", "--man=no", f"--root={machine}", unit]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(("unit", "most"), [("actions-runner@0.service", 22), ("actions-runner-update.service", 26)])
def test_a_job_is_boxed_in(unit: str, most: int, machine: Path, tool: Tool) -> None:
    """systemd's own figure, in tenths: 0 is sealed, 100 open; without these settings a service has about 92."""
    command = [tool("systemd-analyze"), "security", "--offline=yes", "--no-pager", f"--threshold={most}"]
    result = subprocess.run([*command, f"--root={machine}", unit], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-200:]


def test_a_runaway_training_dies_before_the_listener_and_the_gpu_stays_visible(machine: Path) -> None:
    unit = settings(machine, "actions-runner@.service")
    assert unit["OOMPolicy"] == ["continue"]  # the default stops the unit when any of its processes runs out of memory
    assert int(unit["OOMScoreAdjust"][0]) < 0
    assert "MemoryMax" in unit
    assert "CUDA_VISIBLE_DEVICES=%i" in " ".join(unit["Environment"])
    hidden = {"PrivateDevices", "ProtectClock", "DevicePolicy", "DeviceAllow", "MemoryDenyWriteExecute"} & unit.keys()
    assert not hidden, f"{hidden} would keep CUDA from its devices or from compiling kernels"


def test_the_administrators_credential_is_out_of_the_jobs_reach(machine: Path) -> None:
    unit = settings(machine, "actions-runner@.service")
    assert unit["User"] == ["actions-runner"]
    assert unit["InaccessiblePaths"] == ["/etc/actions-runner"]
    assert not {"LoadCredential", "SetCredential"} & unit.keys()  # the job's own user could read those
    register = next(command for command in unit["ExecStartPre"] if "register.sh" in command)
    assert register.startswith("+"), "as the runner's user it could not read the credential, and must not"
    assert (machine / "etc/actions-runner").stat().st_mode & 0o777 == 0o700


def test_everything_a_unit_starts_is_installed(machine: Path) -> None:
    text = "".join(path.read_text() for path in (machine / "etc/systemd/system").iterdir())
    named = set(re.findall(r"/usr/local/lib/actions-runner/\S+\.sh", text))
    assert len(named) >= 4
    assert not [path for path in named if not (machine / path[1:]).stat().st_mode & 0o111]


def test_a_hook_knows_its_own_name(machine: Path, tmp_path: Path) -> None:
    # given the links that the runner calls, without an argument, and a disk that is nearly full
    folder = machine / "usr/local/lib/actions-runner"
    env = os.environ | {
        "RUNNER_WORKSPACE": str(tmp_path),
        "GITHUB_WORKSPACE": str(tmp_path),
        "CUDA_VISIBLE_DEVICES": "",
    }
    env |= {"RUNNER_MIN_FREE_GB": "1000000"}
    for name, code in (("job-started.sh", 1), ("job-completed.sh", 0)):
        done = subprocess.run([folder / name], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr


def test_installing_again_keeps_the_settings(machine: Path, script: Script) -> None:
    settings = machine / "etc/actions-runner/runner.env"
    settings.write_text("RUNNER_SCOPE=acme/flights\n")
    assert script("install.sh", env={"DESTDIR": machine}).returncode == 0
    assert settings.read_text() == "RUNNER_SCOPE=acme/flights\n"


def test_shellcheck_finds_nothing(tool: Tool) -> None:
    scripts = sorted(KIT.rglob("*.sh"))
    result = subprocess.run([tool("shellcheck"), *scripts], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert not [path.name for path in scripts if "\nset -euo pipefail\n" not in path.read_text()]


def test_a_hook_cannot_hang_a_job() -> None:
    lines = [line for line in (KIT / "hooks.sh").read_text().splitlines() if '"$program" ' in line]
    assert len(lines) == 6
    assert not [line for line in lines if not re.match(r" +timeout .*--kill-after=\d+ \d+ ", line)]


def test_on_kubernetes_the_gpu_is_the_training_containers_own() -> None:
    values = yaml.safe_load((KIT / "arc/values.yaml").read_text())
    assert "containerMode" not in values  # "dind" would add a privileged sidecar
    assert values["minRunners"] == 0  # pods are made for jobs, one for each
    spec = values["template"]["spec"]
    assert [container["name"] for container in spec["containers"]] == ["runner"]
    runner = spec["containers"][0]
    assert runner["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert runner["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    assert {mount["name"] for mount in runner["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}


def test_what_the_page_tells_to_run_exists() -> None:
    text = (KIT / "README.md").read_text()
    for path in re.findall(r"(?:infra/runner/|`)((?:arc/)?[a-z-]+\.(?:sh|env|yaml)|arc/Dockerfile)", text):
        assert (KIT / path).exists(), path
    for variable in set(re.findall(r"`(RUNNER_[A-Z_]+)`", text)):
        assert f"{variable}=" in (KIT / "runner.env").read_text(), variable
