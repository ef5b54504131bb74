"""Nothing waits for ever: against a server that accepts and is silent, each outside call ends, and says who it was."""

import hashlib
import os
import re
import shutil
import socket
import socketserver
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from tests.attempts import refused
from tests.engine.product import PACKAGES, PRODUCT

from mergeworthy import config as settings
from mergeworthy import process
from mergeworthy.adapters import dvc, github
from mergeworthy.adapters.actions import Event
from mergeworthy.adapters.dvc import DvcError, opened, push, show
from mergeworthy.adapters.mlflow import connected, reach
from mergeworthy.data.predictions import read_predictions
from mergeworthy.data.sources import open_source
from mergeworthy.errors import UserError
from mergeworthy.extras import doctor
from mergeworthy.process import Deadline
from mergeworthy.release import image, publish
from mergeworthy.serving import log
from mergeworthy.workflow import comment, plan

PAGE = b'<a href="a.ndjson">a</a>'
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
    shutil.copy(PRODUCT / "pyproject.toml", tmp_path)
    (tmp_path / "bin").mkdir()
    for name in ("gh", "cml", "docker", "nvidia-smi"):
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


class Halting(BaseHTTPRequestHandler):
    """Answers the first question: pages and sizes come at once, of a file only the first bytes."""

    def do_HEAD(self) -> None:
        """Send the headers."""
        self.send_response(200)
        self.send_header("Content-Length", "100000" if self._is_file() else str(len(PAGE)))
        self.send_header("Content-Type", "text/html")
        self.end_headers()

    def do_GET(self) -> None:
        """Send a page, or the beginning of a file."""
        self.do_HEAD()
        self.wfile.write(b"PAR1" if self._is_file() else PAGE)
        if self._is_file():
            self.rfile.read(1)  # until the client gives up

    def _is_file(self) -> bool:
        return "." in self.path or "/files/md5/" in self.path

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def halting() -> Iterator[str]:
    """Give the address of a server that falls silent in the middle of each file."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Halting) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def files(silent: str, scheme: str = "http") -> object:
    source = settings.FilesSource(kind="files", url=f"{scheme}://{silent}/{{partition}}/{{table}}.parquet")
    return open_source(source)


def sql(silent: str) -> object:
    os.environ["SOURCE_URL"] = f"postgresql+psycopg://user:password@{silent}/data"
    queries = dict.fromkeys(("flights", "weather", "planes"), "select 1")
    return open_source(settings.SqlSource(kind="sql", url_env="SOURCE_URL", partitions="select 1", queries=queries))


def locked(_: str) -> object:
    """Ask a database that accepts the connection and lets the query wait, for another writes."""
    holder = sqlite3.connect("locked.db", isolation_level=None)
    holder.execute("create table months (name text)")
    holder.execute("begin exclusive")
    os.environ["SOURCE_URL"] = "sqlite:///locked.db?timeout=20"
    queries = dict.fromkeys(("flights", "weather", "planes"), "select 1")
    query = "select name from months"
    try:
        source = settings.SqlSource(kind="sql", url_env="SOURCE_URL", partitions=query, queries=queries)
        return open_source(source).partitions()
    finally:
        holder.close()


def searched(silent: str) -> object:
    with connected(f"http://{silent}") as client:
        return client.search_experiments()


def git_fetch(silent: str) -> object:
    for words in (["init", "-q"], ["remote", "add", "origin", f"http://{silent}/x.git"]):
        subprocess.run(["git", *words], check=True)
    return github.fetch_branch("main", {})


def git_merge(silent: str) -> None:
    for words in (["init", "-q"], ["remote", "add", "origin", f"http://{silent}/x.git"]):
        subprocess.run(["git", *words], check=True)
    plan._merge()


CALLS: dict[str, tuple[Callable[[str], object], str]] = {
    "files: list": (lambda at: files(at).partitions(), "the source http://"),  # type: ignore[attr-defined]
    "files: read": (lambda at: files(at).read("2013-01"), "the source http://"),  # type: ignore[attr-defined]
    "files: connect": (lambda at: files(at, "ftp"), "the source ftp://"),
    "sql": (lambda at: sql(at).partitions(), "the database"),  # type: ignore[attr-defined]
    "sql: query": (locked, "the database"),
    "prediction log": (lambda at: read_predictions(f"http://{at}/log"), "the prediction log http://"),
    "mlflow: call": (searched, "the tracking server http://"),
    "mlflow: database": (lambda at: reach(f"postgresql+psycopg://user:password@{at}/x"), "the tracking "),
    "cml": (lambda _: comment.install(record=True), "GitHub (cml-"),
    "git: merge": (git_merge, "origin (git fetch)"),
    "git": (git_fetch, "origin (git ls-remote)"),
    "gh": (lambda _: github.api("user"), "GitHub (GET user)"),
    "registry": (lambda at: publish.remote_digest(f"{at}/x/y:1"), "the registry 127.0.0.1:"),
    "registry: log in": (lambda at: publish.log_in("docker", at), "the registry 127.0.0.1:"),
    "engine": (lambda _: image.call_engine("docker", "inspect", "x"), "docker inspect"),
    "advisories": (lambda _: image.find_vulnerabilities({"jinja2": "2.0"}), "http://127.0.0.1:"),
    "mlflow": (lambda at: reach(f"http://{at}"), "the tracking server http://"),
}


@pytest.mark.attempts("silent server")
@pytest.mark.parametrize("name", CALLS)
def test_who_does_not_answer_is_named(name: str, silent: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_PASSWORD", "password")
    act, who = CALLS[name]
    with pytest.raises(UserError) as error:
        act(silent)
    said = refused(error.value)
    assert who in said
    assert re.search("answer|timed out", said)
    assert "password" not in said


def shipped(at: str) -> None:
    Path("a.ndjson").touch()
    uploader = log.Uploader(settings.PredictionLog(url=f"http://{at}/log"), retry=0.01)
    uploader.put(Path("a.ndjson"))
    uploader.close()


def advised(at: str) -> object:
    infra = yaml.safe_load(settings.INFRA.read_text())
    settings.INFRA.write_text(yaml.safe_dump(infra | {"advisories": f"http://{at}/v1/query"}))
    return image.find_vulnerabilities({"jinja2": "2.0"})


@pytest.mark.attempts("secret in an error")
@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda at: files(at).partitions(), id="list"),  # type: ignore[attr-defined]
        pytest.param(lambda at: files(at).read("2013-01"), id="read"),  # type: ignore[attr-defined]
        pytest.param(lambda at: files(at, "ftp"), id="connect"),
        pytest.param(lambda at: files(at, "nope"), id="another protocol"),
        pytest.param(lambda at: read_predictions(f"http://{at}/log"), id="prediction log"),
        pytest.param(shipped, id="shipping"),
        pytest.param(advised, id="advisories"),
        pytest.param(git_fetch, id="git"),
        pytest.param(lambda at: reach(f"http://{at}"), id="mlflow"),
    ],
)
def test_an_address_is_shown_without_its_password(
    act: Callable[[str], object], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # given an address with credentials, at which nobody answers
    try:
        act("me:hunter2@127.0.0.1:1")
    except UserError as error:
        said = str(error)
    else:
        said = capsys.readouterr().err
    # then the error names the address, not the password
    assert "hunter2" not in refused(said)
    assert "127.0.0.1:1" in said


@pytest.mark.parametrize(("status", "told"), [(404, "is missing"), (403, "403"), (500, "500")])
def test_only_what_is_not_there_is_called_missing(status: int, told: str, folder: Path) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(UserError, match=told):
            files(f"127.0.0.1:{server.server_port}").read("2013-01")  # type: ignore[attr-defined]
        server.shutdown()


@pytest.fixture(scope="module")
def dripping() -> Iterator[str]:
    """Give the address of a server that begins to answer at once, and then sends a byte in each fifth of a second."""

    class Dripping(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                self.request.sendall(f"HTTP/1.1 200 OK\r\n{DRIPPING['headers']}".encode())
                while not time.sleep(0.2):  # type: ignore[func-returns-value]
                    self.request.sendall(b" ")
            except OSError:
                return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dripping) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


DRIPPING = {"headers": ""}
DRIPPED = ["files: list", "files: read", "prediction log", "mlflow", "mlflow: call", "advisories", "git"]


@pytest.mark.attempts("dripping server")
@pytest.mark.parametrize(
    ("name", "part"),
    [("registry", "headers"), *((name, part) for name in DRIPPED for part in ("headers", "body"))],
)
def test_an_answer_byte_by_byte_is_given_up(
    name: str, part: str, dripping: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte is in time for a socket's own timeout; the whole is not."""
    kind = "text/html" if name in ("files: list", "prediction log") else "application/json"
    whole = f"Content-Type: {kind}\r\nContent-Length: 100000\r\n\r\n"
    monkeypatch.setitem(DRIPPING, "headers", whole if part == "body" else "X: ")
    infra = yaml.safe_load(settings.INFRA.read_text())
    settings.INFRA.write_text(yaml.safe_dump(infra | {"advisories": f"http://{dripping}/v1/query"}))
    act, who = CALLS[name]
    begin = time.monotonic()
    with pytest.raises(UserError) as error:
        act(dripping)
    assert time.monotonic() - begin < 8
    assert who in refused(error.value)


@pytest.mark.parametrize(
    ("act", "who"),
    [
        (lambda at: files(at).read("2013-01"), "2013-01/flights: http://"),
        (lambda at: read_predictions(f"http://{at}/log/"), "the prediction log http://"),
    ],
)
def test_a_file_that_stops_in_the_middle_is_given_up(
    act: Callable[[str], object], who: str, halting: str, folder: Path
) -> None:
    with pytest.raises(UserError, match="did not answer within 1 s") as refused:
        act(halting)
    assert str(refused.value).startswith(who)


def test_a_store_that_is_silent_does_not_hold_the_shipping_up(
    silent: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.ndjson").touch()
    uploader = log.Uploader(settings.PredictionLog(url=f"http://{silent}/log"), retry=0.01)
    uploader.put(folder / "a.ndjson")
    uploader.close()
    assert "a.ndjson was not copied to http://" in (said := capsys.readouterr().err)
    assert "the store did not answer within 1 s" in said
    assert (folder / "a.ndjson").exists()


def test_a_driver_that_hangs_is_none(folder: Path) -> None:
    assert doctor.driver() is None


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


@pytest.mark.attempts("silent server")
@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda: dvc.execute("pull", "file.dvc"), id="pull"),
        pytest.param(push, id="push"),
        pytest.param(lambda: show(["repro", "--pull"]), id="repro"),
    ],
)
def test_a_silent_dvc_remote_is_named(
    act: Callable[[], object], remote: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(remote)
    with pytest.raises(
        DvcError, match=r"^the DVC remote http://127\.0\.0\.1:\d+/storage did not answer within 1 s"
    ) as error:
        act()
    refused(error.value)


def test_a_dvc_remote_that_falls_silent_is_named(
    halting: str, remote: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a remote that has answered the first question
    monkeypatch.setattr(dvc, "reach", lambda: None)
    monkeypatch.chdir(remote)
    shutil.rmtree(remote / ".dvc/cache", ignore_errors=True)
    local = remote / ".dvc/config.local"
    local.write_text(f"['remote \"storage\"']\nurl = http://{halting}/storage\n")
    # when / then
    try:
        with pytest.raises(DvcError, match=r"^the DVC remote http://\S+/storage did not answer within 1 s"):
            dvc.execute("fetch", "file.dvc")
        md5 = hashlib.md5(b"content", usedforsecurity=False).hexdigest()
        with opened() as store, pytest.raises(UserError, match=r"file is .*the DVC remote did not answer within 1 s"):
            store.read(md5, "file")
        # and a timeout that somebody configured counts
        assert "read_timeout = 1" in (remote / ".dvc/tmp/deadlines/config").read_text()
        local.write_text(f"{local.read_text()}read_timeout = 7\n")
        shown = subprocess.run(
            [sys.executable, "-m", "dvc", "config", "remote.storage.read_timeout"],
            env=os.environ | dvc._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert shown.stdout.strip() == "7"
    finally:
        local.unlink()


def test_what_has_another_way_takes_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # given a silent CML, GitHub and docker / then each is given up, and the next is tried
    assert not comment._with_cml(EVENT)
    assert "CML did not answer within 1 s" in capsys.readouterr().out
    assert github.ask("github.com", {"user": "user"})["user"].status == 0
    with pytest.raises(UserError, match="no container engine answers"):
        image.engine(("docker",))


def test_a_helper_that_outlives_its_program_holds_nobody(folder: Path) -> None:
    # given a program whose child keeps its output open
    done = process.call(["sh", "-c", "sleep 300 & echo $!"], "the program", Deadline.ANSWER)
    os.kill(int(done.stdout), 9)
    # and one that does not end when it is asked to
    (folder / "stubborn").write_text("import signal, time\nsignal.signal(15, signal.SIG_IGN)\ntime.sleep(300)\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "GRACE", 0.1)
        with pytest.raises(UserError, match=r"^the program did not answer"):
            process.call([sys.executable, "stubborn"], "the program", Deadline.ANSWER)


def test_programs_and_libraries_give_what_they_gave() -> None:
    done = process.call(["sh", "-c", "cat; echo bad >&2; exit 3"], "sh", Deadline.ANSWER, text="ü")
    assert (done.stdout, done.stderr, done.returncode) == ("ü", "bad\n", 3)
    assert process.within(Deadline.ANSWER, "it", lambda: 7) == 7
    with pytest.raises(KeyError):
        process.within(Deadline.ANSWER, "it", lambda: {}["x"])
    assert process.Patient({"a": 1}, "it").get("a") == 1
    with pytest.raises(FileNotFoundError):
        process.call(["no-such-program"], "it", Deadline.ANSWER)


@pytest.mark.attempts("deadline")
@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "inf", "1e99"])
def test_a_deadline_that_is_none_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSWER_SECONDS", value)
    with pytest.raises(
        UserError, match=rf"^ANSWER_SECONDS: must be a number of seconds above 0, not '{value}'"
    ) as error:
        assert Deadline.ANSWER.seconds
    refused(error.value)


@pytest.mark.attempts("silent server")
def test_a_command_ends_though_a_library_still_waits(silent: str, folder: Path) -> None:
    code = (
        "from mergeworthy import config as settings; from mergeworthy.errors import run\n"
        "from mergeworthy.data.sources import open_source\n"
        f"source = settings.FilesSource(kind='files', url='http://{silent}/{{partition}}/{{table}}.csv')\n"
        "run(lambda: open_source(source).read('2013-01'))"
    )
    environment = os.environ | {"PYTHONPATH": PACKAGES}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert refused(done.stderr).startswith("error: ")
    assert "did not answer within 1 s" in done.stderr
