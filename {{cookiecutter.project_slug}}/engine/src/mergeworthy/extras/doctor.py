"""`make doctor`: what is wrong with this machine, the DVC remote, the tracking server or GitHub, and how to fix it.

`tools`, `disk`, `gpu` and `remote` judge facts; the other functions collect them, each within a few seconds.
"""

import importlib.util
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from .. import config as settings
from .. import patches
from ..adapters import dvc_probe
from ..adapters.git import origin
from ..adapters.mlflow import reach
from ..errors import UserError
from ..process import Deadline, SilentError, call, shown
from . import clusters, doctor_github
from .findings import Finding, Level, ok, problem, skipped, warning

TOOLS = {"git": "the record of everything", "uv": "makes the environment", "gh": "speaks to GitHub"}
OPTIONAL_TOOL = "gh"

# Every driver from this one on supports a major version of CUDA (NVIDIA, CUDA Compatibility, minor version).
OLDEST_DRIVER = {11: "450.80", 12: "525.60", 13: "580.65"}

ENOUGH_GB, MIN_GB = 20, 2  # torch with CUDA takes 5 GB, a month of data and its cache far less


def run() -> int:
    """Print each finding as soon as it is there; return 1 if there is a problem, else 0."""
    counts: Counter[Level] = Counter()
    for examine in EXAMINATIONS:
        for finding in examine():
            print(finding, flush=True)
            counts[finding.level] += 1
    print(f"\nto fix: {counts[Level.PROBLEM]}, warnings: {counts[Level.WARNING]}")
    return 1 if counts[Level.PROBLEM] else 0


def machine() -> Iterator[Finding]:
    """Check tools, disk, GPU, Ray, and if infra.yaml can be read."""
    yield tools([name for name in TOOLS if shutil.which(name)])
    yield disk(shutil.disk_usage(".").free / 1e9)
    try:
        device = settings.infra().compute.device
    except UserError as error:
        yield problem("infra.yaml", str(error), "fix the file")
        return
    yield gpu(driver(), *torch_build(), device)
    yield from cluster()


def engine() -> Iterator[Finding]:
    """Check if files of the engine were changed here."""
    changed = patches.changed()
    says = patches.sentence(changed)
    if changed:
        remedy = "an update may conflict with them: offer the change to the template if others need it"
        yield warning("engine", says, remedy)
    else:
        yield ok("engine", says)


def cluster() -> Iterator[Finding]:
    """Check if the Ray cluster answers that infra.yaml names, if any."""
    ray = settings.infra().ray
    if ray is None:
        return
    try:
        clusters.check_connection(ray.head)
    except UserError as error:
        yield problem("Ray", str(error), "start the cluster, or leave `ray` out of infra.yaml")
    else:
        yield ok("Ray", f"{ray.head} answers")


def storage() -> Iterator[Finding]:
    """Check the DVC remote, in a process of its own: nothing that a library waits for can block the doctor."""
    seconds = Deadline.GLANCE.seconds  # for the network; starting DVC is slow on a cold disk
    # The probe runs as a file alone: the imports of this package take longer than DVC's.
    command = [sys.executable, "-P", dvc_probe.__file__, str(seconds)]
    try:
        done = call(command, "DVC", Deadline.ANSWER)
    except SilentError as error:
        yield remote("the default remote", str(error), local=False, shared=False)
        return
    answer = {"url": "the default remote", "error": f"no answer within {seconds:g} s", "local": False}
    for line in done.stdout.splitlines():  # the probe may be stopped between its lines
        answer |= json.loads(line)
    shared = origin() is not None
    yield remote(shown(str(answer["url"])), _first_line(answer["error"]), local=bool(answer["local"]), shared=shared)


def tracking() -> Iterator[Finding]:
    """Check if the tracking server answers."""
    try:
        server = settings.infra().tracking
    except UserError:
        return  # `machine` reports it
    try:
        reach(server.address, server.experiment)
    except UserError as error:
        level = problem if server.required else warning
        yield level("tracking", str(error), "start the server (`make mlflow`) or set tracking.uri in infra.yaml")
    else:
        yield ok("tracking", f"{shown(server.address)} records runs")


EXAMINATIONS: tuple[Callable[[], Iterator[Finding]], ...] = (
    machine,
    engine,
    storage,
    tracking,
    doctor_github.github,
)


def tools(present: Collection[str]) -> Finding:
    """Judge which of git, uv and gh are on the PATH."""
    missing = [name for name in TOOLS if name not in present]
    if not missing:
        return ok("tools", f"{', '.join(TOOLS)} are installed")
    level = warning if missing == [OPTIONAL_TOOL] else problem
    says = "; ".join(f"{name} is missing ({TOOLS[name]})" for name in missing)
    return level("tools", says, "install: git-scm.com, docs.astral.sh/uv, cli.github.com")


def disk(free_gb: float) -> Finding:
    """Judge if there is room for an environment and a training's outputs."""
    says = f"{free_gb:.0f} GB free here"
    if free_gb >= ENOUGH_GB:
        return ok("disk", says)
    remedy = f"{ENOUGH_GB} GB are comfortable: `dvc gc --workspace`, `uv cache prune`"
    return (warning if free_gb >= MIN_GB else problem)("disk", says, remedy)


def gpu(driver: str | None, torch: str | None, cuda: str | None, device: str) -> Finding:
    """Judge if torch can use the GPU.

    `driver` and `torch` are versions, None if missing; `cuda` is the version that torch was built for, None for a
    build without CUDA; `device` is what infra.yaml requests.
    """
    if torch is None:
        return skipped("GPU", "torch is not installed here")
    if driver is None:
        if device == "cuda":
            remedy = "install NVIDIA's driver, or set compute.device to auto in infra.yaml"
            return problem("GPU", "infra.yaml requests cuda, but no NVIDIA driver answers here", remedy)
        return ok("GPU", f"none here: torch {torch} trains on the processor")
    if cuda is None:
        says = f"driver {driver} is installed, but torch {torch} was built without CUDA"
        return warning("GPU", says, "run `make setup`")
    oldest = OLDEST_DRIVER.get(int(cuda.split(".")[0]))
    if oldest is None:
        return ok("GPU", f"driver {driver}, torch {torch} for CUDA {cuda}")
    if _major_minor(driver) < _major_minor(oldest):
        remedy = f"update the driver to {oldest} or later, or install a torch for an older CUDA"
        return problem("GPU", f"driver {driver} is too old for CUDA {cuda}, which torch {torch} was built for", remedy)
    return ok("GPU", f"driver {driver} supports CUDA {cuda}, which torch {torch} was built for")


def remote(url: str, error: str | None, *, local: bool, shared: bool) -> Finding:
    """Judge if the DVC remote stored, returned and deleted an object; `shared`: others work on this project."""
    if error:
        remedy = "check core.remote in .dvc/config and its credentials in .dvc/config.local (secret DVC_CONFIG in CI)"
        return problem("DVC remote", f"{url}: {error}", remedy)
    if local and shared:
        remedy = "CI's jobs exchange outputs through it: `dvc remote modify storage url s3://…`, or DVC_CONFIG"
        says = f"{url} works, but it is a folder of this machine, which no other machine can read"
        return warning("DVC remote", says, remedy)
    return ok("DVC remote", f"{url}: wrote, read and deleted an object")


def driver() -> str | None:
    """Return the version of NVIDIA's driver; None if no driver answers."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = call(command, "nvidia-smi", Deadline.GLANCE)
    except (FileNotFoundError, SilentError):
        return None
    version = re.match(r"\d+(\.\d+)+", done.stdout)
    return version[0] if version and done.returncode == 0 else None


def torch_build() -> tuple[str | None, str | None]:
    """Return torch's version and the CUDA it was built for, from its files: importing torch takes seconds."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None, None
    text = Path(spec.origin).with_name("version.py").read_text()
    values = dict(re.findall(r"^(__version__|cuda)\b.*?= '(.*)'", text, re.MULTILINE))
    return values.get("__version__"), values.get("cuda")


def _major_minor(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def _first_line(error: object) -> str | None:
    return shown(str(error).strip().splitlines()[0])[:200] if error else None
