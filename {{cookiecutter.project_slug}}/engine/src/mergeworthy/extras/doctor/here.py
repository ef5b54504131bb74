"""Gathers the facts of this machine, its storage and its tracking server, each in at most some seconds."""

import importlib.util
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from ... import config as settings
from ... import patches
from ...adapters import dvc_probe as probe
from ...adapters.origin import origin
from ...errors import UserError
from ...process import Deadline, SilentError, call, shown
from ...tracking.reach import reach
from .. import ray
from . import machine as checks
from .finding import Finding, ok, problem, warning


def machine() -> Iterator[Finding]:
    """Tools, disk, GPU, and whether infra.yaml can be read."""
    yield checks.tools([name for name in checks.WHY if shutil.which(name)])
    yield checks.disk(shutil.disk_usage(".").free / 1e9)
    try:
        device = settings.infra().compute.device
    except UserError as error:
        yield problem("infra.yaml", str(error), "mend the file")
        return
    yield checks.gpu(driver(), *torch_build(), device)
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
        ray.reach(wanted.head)
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
        yield checks.remote("the default remote", str(error), local=False, shared=False)
        return
    told = {"url": "the default remote", "error": f"no answer within {seconds:g} s", "local": False}
    for line in done.stdout.splitlines():  # what it knew before it was stopped counts
        told |= json.loads(line)
    shared = origin() is not None
    yield checks.remote(shown(str(told["url"])), _sentence(told["error"]), local=bool(told["local"]), shared=shared)


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
