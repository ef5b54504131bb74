"""Nothing waits for ever: against a server that accepts and is silent, each outside call ends, and says who it was."""

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from pipeline import outside, settings
from pipeline.errors import UserError
from pipeline.ops import comment, github
from pipeline.ops.doctor import answers
from pipeline.ops.dvc_cli import DvcError, dvc, push, show
from pipeline.ops.event import Event
from pipeline.ops.image import engine, scan
from pipeline.ops.release import commit, registry
from pipeline.ops.sources import open_source
from pipeline.ops.tracking.reach import reach
from pipeline.outside import Deadline

ROOT = Path(__file__).parents[2]
EVENT = Event(name="pull_request", commit="1" * 40, champion=None, pull_request=7, repository="octo-org/x")
# Speaks to the silent server for ever, as gh, cml and docker would.
CLIENT = f"""#!{sys.executable}
import os, socket
socket.create_connection(("127.0.0.1", int(os.environ["PORT"]))).recv(1)
"""


@pytest.fixture(scope="module")
def silent() -> Iterator[str]:
    """Give the address of a server that accepts whatever comes, and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
    for one in held:
        one.close()


@pytest.fixture
def folder(silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose surroundings are the silent server; a second is an answer's deadline."""
    infra = yaml.safe_load(settings.INFRA.read_text())
    infra["image"] = {"repository": "localhost/test"}
    infra["advisories"] = f"http://{silent}/v1/query"
    (tmp_path / "infra.yaml").write_text(yaml.safe_dump(infra))
    (tmp_path / "bin").mkdir()
    for name in ("gh", "cml", "docker"):
        (tmp_path / "bin" / name).write_text(CLIENT)
        (tmp_path / "bin" / name).chmod(0o700)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("PORT", silent.rpartition(":")[2])
    monkeypatch.setenv("GH_TOKEN", "secret")
    for name in ("GLANCE", "ANSWER", "EXCHANGE"):
        monkeypatch.setenv(f"{name}_SECONDS", "1")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def files(silent: str) -> object:
    source = settings.FilesSource(kind="files", url=f"http://{silent}/{{partition}}/{{table}}.parquet")
    return open_source(source)


def sql(silent: str) -> object:
    os.environ["SOURCE_URL"] = f"postgresql+psycopg://user:password@{silent}/data"
    queries = dict.fromkeys(("flights", "weather", "planes"), "select 1")
    return open_source(settings.SqlSource(kind="sql", url_env="SOURCE_URL", partitions="select 1", queries=queries))


def git_fetch(silent: str) -> object:
    for words in (["init", "-q"], ["remote", "add", "origin", f"http://{silent}/x.git"]):
        subprocess.run(["git", *words], check=True)
    return commit.fetch("main", {})


CALLS: dict[str, tuple[Callable[[str], object], str]] = {
    "files: list": (lambda at: files(at).partitions(), "the source http://"),  # type: ignore[attr-defined]
    "files: read": (lambda at: files(at).read("2013-01"), "the source http://"),  # type: ignore[attr-defined]
    "sql": (lambda at: sql(at).partitions(), "the database"),  # type: ignore[attr-defined]
    "git": (git_fetch, "origin (git ls-remote)"),
    "gh": (lambda _: github.api("user"), "GitHub (GET user)"),
    "registry": (lambda at: registry.digest(f"{at}/x/y:1"), "the registry 127.0.0.1:"),
    "registry: log in": (lambda at: registry.log_in("docker", at), "the registry 127.0.0.1:"),
    "engine": (lambda _: engine.call("docker", "inspect", "x"), "docker inspect"),
    "advisories": (lambda _: scan.find({"jinja2": "2.0"}), "http://127.0.0.1:"),
    "mlflow": (lambda at: reach(f"http://{at}"), "the tracking server http://"),
}


@pytest.mark.parametrize("name", CALLS)
def test_who_does_not_answer_is_named(name: str, silent: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_PASSWORD", "password")
    act, who = CALLS[name]
    with pytest.raises(UserError) as refused:
        act(silent)
    assert who in str(refused.value)
    assert re.search("answer|timed out", str(refused.value))
    assert "password" not in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.fixture(scope="module")
def remote(silent: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a file at a DVC remote that is silent."""
    path = tmp_path_factory.mktemp("remote")
    (path / "file").write_text("content")
    commands = [["git", "init", "-q"], ["dvc", "init", "-q"], ["dvc", "add", "-q", "file"]]
    commands.append(["dvc", "remote", "add", "-q", "--default", "storage", f"http://{silent}/storage"])
    for words in commands:
        whole = [sys.executable, "-m", *words] if words[0] == "dvc" else words
        subprocess.run(whole, cwd=path, check=True, env=os.environ | {"DVC_NO_ANALYTICS": "1"})
    return path


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda: dvc("pull", "file.dvc"), id="pull"),
        pytest.param(push, id="push"),
        pytest.param(lambda: show(["repro", "--pull"]), id="repro"),
    ],
)
def test_a_silent_dvc_remote_is_named(
    act: Callable[[], object], remote: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(remote)
    with pytest.raises(DvcError, match=r"^the DVC remote http://127\.0\.0\.1:\d+/storage did not answer within 1 s"):
        act()


def test_what_has_another_way_takes_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # given a silent CML, GitHub and docker / then each is given up, and the next is tried
    assert not comment._with_cml(EVENT)
    assert "CML did not answer within 1 s" in capsys.readouterr().out
    assert answers.ask("github.com", {"user": "user"})["user"].status == 0
    with pytest.raises(UserError, match="no container engine answers"):
        engine.engine(("docker",))


def test_a_helper_that_outlives_its_program_holds_nobody(folder: Path) -> None:
    # given a program whose child keeps its output open
    done = outside.call(["sh", "-c", "sleep 300 & echo $!"], "the program", Deadline.ANSWER)
    os.kill(int(done.stdout), 9)
    # and one that does not end when it is asked to
    (folder / "stubborn").write_text("import signal, time\nsignal.signal(15, signal.SIG_IGN)\ntime.sleep(300)\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outside, "GRACE", 0.1)
        with pytest.raises(UserError, match=r"^the program did not answer"):
            outside.call([sys.executable, "stubborn"], "the program", Deadline.ANSWER)


def test_programs_and_libraries_give_what_they_gave() -> None:
    done = outside.call(["sh", "-c", "cat; echo bad >&2; exit 3"], "sh", Deadline.ANSWER, text="ü")
    assert (done.stdout, done.stderr, done.returncode) == ("ü", "bad\n", 3)
    assert outside.within(Deadline.ANSWER, "it", lambda: 7) == 7
    with pytest.raises(KeyError):
        outside.within(Deadline.ANSWER, "it", lambda: {}["x"])
    assert outside.Patient({"a": 1}, "it").get("a") == 1
    with pytest.raises(FileNotFoundError):
        outside.call(["no-such-program"], "it", Deadline.ANSWER)


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "inf", "1e99"])
def test_a_deadline_that_is_none_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSWER_SECONDS", value)
    with pytest.raises(UserError, match=rf"^ANSWER_SECONDS: must be a number of seconds above 0, not '{value}'"):
        assert Deadline.ANSWER.seconds


def test_a_command_ends_though_a_library_still_waits(silent: str, folder: Path) -> None:
    code = (
        "from pipeline import settings; from pipeline.errors import run; from pipeline.ops.sources import open_source\n"
        f"source = settings.FilesSource(kind='files', url='http://{silent}/{{partition}}/{{table}}.csv')\n"
        "run(lambda: open_source(source).read('2013-01'))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "did not answer within 1 s" in done.stderr
    assert len(done.stderr.splitlines()) == 1
