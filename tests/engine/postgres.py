"""A real PostgreSQL, deleted after the session."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

INITDB = "initdb"
DEBIAN = "/usr/lib/postgresql"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Yield the `postgresql://…` address of an empty cluster on loopback.

    Skip the test if PostgreSQL is not installed; fail if REQUIRE_TOOLS=1.
    """
    programs = _programs()
    if programs is None:
        reason = f"PostgreSQL is not installed: no {INITDB} on the PATH or in {DEBIAN}"
        pytest.fail(reason) if os.environ.get("REQUIRE_TOOLS") == "1" else pytest.skip(reason)
    # initdb refuses to run as root.
    user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    folder, port = Path(tempfile.mkdtemp(prefix="pg-")), _free_port()
    if user:
        shutil.chown(folder, "nobody", "nogroup")
    cluster = folder / "cluster"
    initdb = [programs / INITDB, "-D", cluster, "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8"]
    subprocess.run(initdb, check=True, cwd=folder, capture_output=True, **user)  # type: ignore[call-overload]
    serve = [programs / "postgres", "-D", cluster, "-k", folder, "-h", "127.0.0.1", "-p", str(port), "-F"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(serve, cwd=folder, stdout=log, stderr=log, **user)  # type: ignore[call-overload]
    try:
        _wait(server, programs, port, folder / "log")
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
        server.wait(timeout=30)
        shutil.rmtree(folder)


def _programs() -> Path | None:
    initdb = shutil.which(INITDB)
    newest = sorted(Path(DEBIAN).glob(f"*/bin/{INITDB}"), key=lambda path: int(path.parts[-3]))
    return Path(initdb).resolve().parent if initdb else newest[-1].parent if newest else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: "subprocess.Popen[bytes]", programs: Path, port: int, log: Path) -> None:
    for _ in range(300):
        if subprocess.run([programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]).returncode == 0:
            return
        if server.poll() is not None:
            break
        time.sleep(0.1)
    pytest.fail(f"PostgreSQL did not start: {log.read_text()[-500:]}")
