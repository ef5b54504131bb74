"""`make doctor`: what is wrong with this machine, the remote, the tracking server or GitHub, and how to fix it."""

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
from ..adapters import dvc_probe as probe
from ..adapters.git import origin
from ..adapters.mlflow import reach
from ..errors import UserError
from ..process import Deadline, SilentError, call, shown
from . import clusters, doctor_github
from .findings import Finding, Level, ok, problem, skipped, warning

# DOC extras.doctor.machine: What this machine must have, judged from facts that others gathered.

WHY = {"git": "the record of everything", "uv": "makes the environment", "gh": "speaks to GitHub"}
OPTIONAL = "gh"

# Within a major version of CUDA every driver from this one on will do (NVIDIA, CUDA Compatibility, minor version).
OLDEST_DRIVER = {11: "450.80", 12: "525.60", 13: "580.65"}

ENOUGH_GB, LEAST_GB = 20, 2  # torch with CUDA takes 5 GB, a month of data and its cache far less


def tools(present: Collection[str]) -> Finding:
    """Tell whether git, uv and gh are on the PATH."""
    missing = [name for name in WHY if name not in present]
    if not missing:
        return ok("tools", f"{', '.join(WHY)} are here")
    level = warning if missing == [OPTIONAL] else problem
    says = "; ".join(f"{name} is missing ({WHY[name]})" for name in missing)
    return level("tools", says, "install: git-scm.com, docs.astral.sh/uv, cli.github.com")


def disk(free_gb: float) -> Finding:
    """Tell whether there is room for an environment and a training's outputs."""
    says = f"{free_gb:.0f} GB free here"
    if free_gb >= ENOUGH_GB:
        return ok("disk", says)
    mend = f"{ENOUGH_GB} GB are comfortable: `dvc gc --workspace`, `uv cache prune`"
    return (warning if free_gb >= LEAST_GB else problem)("disk", says, mend)


def gpu(driver: str | None, torch: str | None, cuda: str | None, device: str) -> Finding:
    """Tell whether torch can use the GPU; `cuda` is what torch was built for, `device` what infra.yaml asks for."""
    if torch is None:
        return skipped("GPU", "torch is not installed here")
    if driver is None:
        if device == "cuda":
            mend = "install NVIDIA's driver, or set compute.device to auto in infra.yaml"
            return problem("GPU", "infra.yaml asks for cuda, and no NVIDIA driver answers here", mend)
        return ok("GPU", f"none here: torch {torch} trains on the processor")
    if cuda is None:
        return warning("GPU", f"driver {driver} is here, but torch {torch} was built without CUDA", "run `make setup`")
    oldest = OLDEST_DRIVER.get(int(cuda.split(".")[0]))
    if oldest is None:
        return ok("GPU", f"driver {driver}, torch {torch} for CUDA {cuda}")
    if _numbers(driver) < _numbers(oldest):
        mend = f"update the driver to {oldest} or later, or install a torch for an older CUDA"
        return problem("GPU", f"driver {driver} is too old for CUDA {cuda}, which torch {torch} was built for", mend)
    return ok("GPU", f"driver {driver} serves CUDA {cuda}, which torch {torch} was built for")


def remote(url: str, error: str | None, *, local: bool, shared: bool) -> Finding:
    """Tell whether the DVC remote took an object, gave it back and forgot it; `shared`: others work on this project."""
    if error:
        mend = "check core.remote in .dvc/config and its credentials in .dvc/config.local (secret DVC_CONFIG in CI)"
        return problem("DVC remote", f"{url}: {error}", mend)
    if local and shared:
        mend = "CI's jobs pass outputs on through it: `dvc remote modify storage url s3://…`, or the same in DVC_CONFIG"
        return warning("DVC remote", f"{url} works, but it is a folder of this machine, which no other can see", mend)
    return ok("DVC remote", f"{url}: wrote, read and deleted an object")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


# DOC extras.doctor.here: Gathers the facts of this machine, its storage and its tracking server, each in at most some
# seconds.


def machine() -> Iterator[Finding]:
    """Tools, disk, GPU, and whether infra.yaml can be read."""
    yield tools([name for name in WHY if shutil.which(name)])
    yield disk(shutil.disk_usage(".").free / 1e9)
    try:
        device = settings.infra().compute.device
    except UserError as error:
        yield problem("infra.yaml", str(error), "mend the file")
        return
    yield gpu(driver(), *torch_build(), device)
    yield from cluster()


def engine() -> Iterator[Finding]:
    """Which files of the engine were changed here."""
    found = patches.changed()
    says = patches.sentence(found)
    if found:
        yield warning("engine", says, "an update may meet them: offer the change to the template, if others need it")
    else:
        yield ok("engine", says)


def cluster() -> Iterator[Finding]:
    """Where infra.yaml names a Ray cluster: whether it answers."""
    wanted = settings.infra().ray
    if wanted is None:
        return
    try:
        clusters.check_connection(wanted.head)
    except UserError as error:
        yield problem("Ray", str(error), "start the cluster, or leave `ray` out of infra.yaml")
    else:
        yield ok("Ray", f"{wanted.head} answers")


def driver() -> str | None:
    """Version of NVIDIA's driver, or None where none answers."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = call(command, "nvidia-smi", Deadline.GLANCE)
    except (FileNotFoundError, SilentError):
        return None
    found = re.match(r"\d+(\.\d+)+", done.stdout)
    return found[0] if found and done.returncode == 0 else None


def torch_build() -> tuple[str | None, str | None]:
    """Torch's version and the CUDA it was built for, from its files: importing it takes seconds."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None, None
    text = Path(spec.origin).with_name("version.py").read_text()
    found = dict(re.findall(r"^(__version__|cuda)\b.*?= '(.*)'", text, re.MULTILINE))
    return found.get("__version__"), found.get("cuda")


def storage() -> Iterator[Finding]:
    """Try the DVC remote, in a process of its own: nothing it does can hang the doctor."""
    seconds = Deadline.GLANCE.seconds  # for the network; starting DVC is slow on a cold disk
    # Alone: what this package imports takes longer than DVC.
    command = [sys.executable, "-P", probe.__file__, str(seconds)]
    try:
        done = call(command, "DVC", Deadline.ANSWER)
    except SilentError as error:
        yield remote("the default remote", str(error), local=False, shared=False)
        return
    told = {"url": "the default remote", "error": f"no answer within {seconds:g} s", "local": False}
    for line in done.stdout.splitlines():  # what it knew before it was stopped counts
        told |= json.loads(line)
    shared = origin() is not None
    yield remote(shown(str(told["url"])), _sentence(told["error"]), local=bool(told["local"]), shared=shared)


def _sentence(error: object) -> str | None:
    return shown(str(error).strip().splitlines()[0])[:200] if error else None


def tracking() -> Iterator[Finding]:
    """Where runs are recorded."""
    try:
        wanted = settings.infra().tracking
    except UserError:
        return  # said above
    try:
        reach(wanted.address, wanted.experiment)
    except UserError as error:
        level = problem if wanted.required else warning
        yield level("tracking", str(error), "start the server (`make mlflow`) or set tracking.uri in infra.yaml")
    else:
        yield ok("tracking", f"{shown(wanted.address)} records runs")


# DOC extras.doctor.__init__: `make doctor`: what of this project's surroundings is missing, in plain lines, each with
# how to mend it.

EXAMINATIONS: tuple[Callable[[], Iterator[Finding]], ...] = (
    machine,
    engine,
    storage,
    tracking,
    doctor_github.github,
)


def run() -> int:
    """Print one line a check, as they come; give 1 where something must be mended, else 0."""
    met: Counter[Level] = Counter()
    for examine in EXAMINATIONS:
        for finding in examine():
            print(finding, flush=True)
            met[finding.level] += 1
    print(f"\n{met[Level.PROBLEM]} to mend, {met[Level.WARNING]} to know about")
    return 1 if met[Level.PROBLEM] else 0
