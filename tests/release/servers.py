"""Servers on loopback that run during a test."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bake import ROOT

OSV = ROOT / "tests/engine/container/osv.py"
REGISTRY = """version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "{address}"}}
"""


def free_address() -> str:
    """Return a host and port on loopback that no process listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def serving(command: list[str], url: str, folder: Path, seconds: float = 30, **environment: str) -> Iterator[None]:
    """Run a server until the block ends; raise with its log if it does not answer at `url` in time."""
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_for(url, seconds, process)
        yield
    except TimeoutError as error:
        raise TimeoutError(f"{error}\n{log.read_text()[-2000:]}") from None
    finally:
        process.terminate()
        process.wait()


def wait_for(url: str, seconds: float, process: "subprocess.Popen[bytes] | None" = None) -> None:
    """Return as soon as `url` answers 200."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and (process is None or process.poll() is None):
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - the tests' own
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise TimeoutError(f"{url} does not answer")


@contextmanager
def registry(folder: Path, address: str) -> Iterator[None]:
    """Run a real registry of container images."""
    folder.mkdir(parents=True)
    (folder / "registry.yaml").write_text(REGISTRY.format(folder=folder / "images", address=address))
    with serving(["docker-registry", "serve", str(folder / "registry.yaml")], f"http://{address}/v2/", folder):
        yield


@contextmanager
def advisories(folder: Path) -> Iterator[str]:
    """Run a stand-in for OSV with the advisories of the folder, and yield its address."""
    folder.mkdir(parents=True)
    address = free_address()
    with serving([sys.executable, str(OSV), address, str(folder)], f"http://{address}/alive", folder):
        yield address
