"""A runner machine in a folder: the kit, programs of a chosen name, and a server that answers as GitHub would."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from tests.engine.product import PRODUCT

KIT = PRODUCT / "infra/runner"

Script = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tool() -> Callable[[str], str]:
    """The path of a program; without it the test is skipped, or fails where REQUIRE_TOOLS=1."""

    def find(name: str) -> str:
        if path := shutil.which(name):
            return path
        if os.environ.get("REQUIRE_TOOLS") == "1":
            pytest.fail(f"{name} is not installed, and REQUIRE_TOOLS=1")
        pytest.skip(f"{name} is not installed")

    return find


@pytest.fixture
def bin_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder at the head of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.fixture
def script() -> Script:
    """Run one of the kit's scripts; the words after its name are its arguments, `env` adds to the environment."""

    def run(name: str, *words: object, env: Mapping[str, object] | None = None) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {key: str(value) for key, value in (env or {}).items()}
        command = [str(KIT / name), *map(str, words)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    return run


def executable(path: Path, text: str) -> Path:
    """A program at `path`."""
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)
    return path


def named(folder: Path, name: str) -> Path:
    """A bash that the kernel, and so every tool, calls `name`."""
    return Path(shutil.copy("/bin/bash", folder / name))


@dataclass
class Api:
    """What was asked of the server, and what it answers: path → status, body."""

    url: str
    answers: dict[str, tuple[int, object]] = field(default_factory=dict)
    asked: list[tuple[str, str, object]] = field(default_factory=list)


@pytest.fixture
def api() -> Iterator[Api]:
    """A server on loopback; a body of bytes goes out as it is, any other as JSON."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            known.asked.append((self.path, self.headers.get("Authorization", ""), json.loads(sent or b"null")))
            status, body = known.answers.get(self.path, (404, {"message": "Not Found"}))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        do_POST = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        known = Api(f"http://127.0.0.1:{server.server_port}")
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield known
        server.shutdown()
