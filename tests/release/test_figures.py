"""`make verify-image` measures the service's own memory: files that are cached in memory do not count."""

import os
import re
from pathlib import Path

import pytest

from tests.release.fixtures import Shipped
from tests.work import python

pytestmark = [pytest.mark.dear, pytest.mark.alone]

MB = 200
PROGRAM = "from mergeworthy.release.verify import Container; print(Container('podman', '{}', None, 0).memory)"


def test_held_memory_counts_and_cached_files_do_not(
    shipped: Shipped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a container of the image, and a file that was never read
    for name, value in shipped.podman.settings.items():
        monkeypatch.setenv(name, value)
    with (tmp_path / "file").open("wb") as file:
        os.truncate(file.fileno(), MB * 1_000_000)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    waiting = ["--entrypoint", "python3", shipped.image, "-c", "import time; time.sleep(600)"]
    container = shipped.podman("run", "--detach", "--volume", f"{tmp_path}:/predictions:ro", *waiting)

    def memory() -> tuple[float, float]:
        """Return megabytes: our figure, and the engine's."""
        usage = shipped.podman("stats", "--no-stream", "--format", "{{.MemUsage}}", container)
        megabytes = re.match(r"([\d.]+)MB", usage)
        assert megabytes, usage
        return float(python(shipped.project, "-c", PROGRAM.format(container))), float(megabytes[1])

    def execute(program: str, *options: str) -> None:
        shipped.podman("exec", *options, container, "python3", "-c", program)

    try:
        before = memory()
        # when the file is read, then the engine's figure grows by its size, and ours does not
        execute("print(len(open('/predictions/file', 'rb').read()))")
        cached = memory()
        assert cached[1] - before[1] > 0.9 * MB, (before, cached)
        assert cached[0] - before[0] < 0.02 * MB, (before, cached)
        # when a process holds as much, then our figure grows by it
        execute(f"import time; held = bytearray(b'1' * {MB}_000_000); print('held'); time.sleep(600)", "--detach")
        held = memory()
        assert held[0] - before[0] > 0.9 * MB, (before, held)
    finally:
        shipped.podman("rm", "--force", "--time", "0", container)
