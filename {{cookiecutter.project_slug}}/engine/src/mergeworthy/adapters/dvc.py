"""DVC as a program: its commands, its remote, and which stages are out of date."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..config.base import PARAMS
from ..errors import UserError
from ..paths import DATA, DATA_DVC, LOCK
from ..process import Deadline, call, local, shown
from . import dvc_files, git
from . import dvc_probe as probe

# DOC adapters.dvc_cli: DVC by its command line: one call, one answer or one sentence, and no remote that is waited
# for without end. Before a transfer the remote is asked a question. One that falls silent after it is given up by its
# client, file by file: DVC's lowest level of configuration, which every other overrules, gets the deadline of an
# answer as its timeout.

if TYPE_CHECKING:
    from dvc.config import Config

BUSY = re.compile(r"is busy|unable to acquire lock|rwlock", re.IGNORECASE)
WAIT = "another dvc command is running in this folder: wait for it, or delete .dvc/tmp/rwlock if there is none"
QUIET = {"DVC_NO_ANALYTICS": "1"}
TRANSFERS = ("fetch", "pull", "push")
TIMED_OUT = re.compile(r"timed? ?out", re.IGNORECASE)
# What DVC calls the seconds that a client waits for a connection and for an answer. Google's client has its own limit.
BOTH = ("connect_timeout", "read_timeout")
TIMEOUTS = {
    "http": BOTH,
    "https": BOTH,
    "s3": BOTH,
    "azure": ("connection_timeout", "read_timeout"),
    "ssh": ("timeout",),
    "webdav": ("timeout",),
    "webdavs": ("timeout",),
}
SYSTEM = "DVC_SYSTEM_CONFIG_DIR"


class DvcError(UserError):
    """A command of DVC's failed, in DVC's own words; or the remote does not answer."""


def dvc(*arguments: str) -> str:
    """Run DVC and return what it prints; raise `DvcError` if it fails, `UserError` if another dvc runs here."""
    if arguments[0] in TRANSFERS:
        reach()
    # Not --quiet: that hides the errors too.
    done = call(_command(list(arguments)), _who(), Deadline.TRANSFER, environment=_environment())
    if done.returncode == 0:
        return done.stdout
    if arguments[0] in TRANSFERS and TIMED_OUT.search(done.stderr):
        raise DvcError(str(Deadline.ANSWER.missed(_who())))
    if BUSY.search(done.stderr):
        raise UserError(WAIT)
    told = re.findall(r"^ERROR: (.*)", done.stderr, re.MULTILINE) or done.stderr.strip().splitlines() or ["no reason"]
    hint = ": run `git init` first" if "not a git repository" in told[-1] else ""
    raise DvcError(f"dvc {arguments[0]} failed: {told[-1]}{hint}")


def show(arguments: list[str]) -> int:
    """Do as `run` does, as the last thing of this process: if it has no deadline, DVC takes the place of it."""
    if arguments[0] not in TRANSFERS:
        reach()
        os.execve(sys.executable, _command(arguments), os.environ | _environment())  # noqa: S606
    return run(arguments)


def run(arguments: list[str]) -> int:
    """Run DVC with all that it says in sight, if the remote answers; return its exit status.

    A transfer has a deadline; a training has none, but each answer that it waits for.
    """
    reach()
    if arguments[0] in TRANSFERS:
        return call(_command(arguments), _who(), Deadline.TRANSFER, environment=_environment(), shown=True).returncode
    return subprocess.run(_command(arguments), env=os.environ | _environment(), check=False).returncode


def push() -> None:
    """Store data, models and run cache in the remote; raise `UserError` naming what neither it nor this machine has."""
    if run(["push", "--run-cache"]):
        raise DvcError("dvc push failed, for the reason that stands above")
    lost = sorted(name for name, state in json.loads(dvc("status", "--cloud", "--json")).items() if state == "missing")
    if lost:
        more = f" and {len(lost) - 1} more" if lost[1:] else ""
        raise UserError(
            f"{lost[0]}{more}: neither DVC's cache nor the remote has what dvc.lock and data.dvc record, so nobody can "
            "get it back from there: run `make data pipeline push` to make it anew"
        )


def reach() -> None:
    """Raise `DvcError` if the default remote is a server that does not answer; what else is wrong, DVC says itself."""
    address = _address()
    if address is None or local(address):
        return
    try:
        call([sys.executable, "-P", probe.__file__, "look"], _who(), Deadline.ANSWER, environment=QUIET)
    except UserError as error:
        raise DvcError(str(error)) from None


def _who() -> str:
    return f"the DVC remote {shown(_address() or '')}".strip()


def _command(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "dvc", *arguments]


def _environment() -> dict[str, str]:
    """Return what DVC is run with: no telemetry, and timeouts of the default remote unless somebody configured some."""
    config = _config()
    name, address = _remote(config)
    words = TIMEOUTS.get((address or "").partition("://")[0], ())
    if config is None or config.dvc_dir is None or not words or Path(config.files["system"]).exists():
        return QUIET
    folder = Path(config.dvc_dir, "tmp", "deadlines")
    folder.mkdir(parents=True, exist_ok=True)
    # Some of them take whole seconds, and none takes 0.
    lines = [f"['remote \"{name}\"']", *(f"{word} = {max(1, round(Deadline.ANSWER.seconds))}" for word in words), ""]
    new = folder / f"config.{os.getpid()}"
    new.write_text("\n".join(lines))
    new.replace(folder / "config")
    return QUIET | {SYSTEM: str(folder)}


def _address() -> str | None:
    """Return the default remote's address, or None if there is none."""
    return _remote(_config())[1]


def _remote(config: "Config | None") -> tuple[str | None, str | None]:
    """Return name and address of the default remote; None for what is not configured."""
    name = config["core"].get("remote") if config else None
    return name, config["remote"].get(name, {}).get("url") if config and name else None


def _config() -> "Config | None":
    """Return DVC's configuration here; None if DVC cannot read it, which it then says itself."""
    from dvc.config import Config, ConfigError

    try:
        return Config.from_cwd(validate=False)
    except ConfigError:
        return None


# DOC adapters.remote: The DVC remote, as far as it can be judged before anything is tried: a folder is out of a
# hosted machine's reach.

HOSTED = "github-hosted"  # RUNNER_ENVIRONMENT, on GitHub's own machines
URL = "the DVC remote {url} is a folder, which GitHub's hosted machines cannot reach"
MEND = (
    "give DVC a bucket (`dvc remote modify {name} url s3://…`, credentials in the secret DVC_CONFIG), or let jobs run "
    "on the machine that has the folder (variables CPU_RUNNER and GPU_RUNNER, see infra/runner/README.md)"
)


def remote_folder() -> tuple[str, str] | None:
    """Return name and address of the default remote if that is a folder of some machine; None if it is not."""
    from dvc.config import Config

    config = Config.from_cwd(validate=False)
    name = config["core"].get("remote")
    url = config["remote"].get(name, {}).get("url") if name else None
    if not url or ("://" in url and not url.startswith("file://")):
        return None
    return name, os.path.relpath(url.removeprefix("file://"))


def require_reach(*, planned: bool = False) -> None:
    """Raise `UserError` if this job, on one of GitHub's machines, could never read or write the remote.

    With `planned`, if one of the jobs to come could not: GPU_RUNNER names their machine, and the secret DVC_CONFIG, of
    which DVC_CONFIG_GIVEN tells, may give them another remote than this job sees.
    """
    hosted = os.environ.get("RUNNER_ENVIRONMENT") == HOSTED
    if planned:
        given = os.environ.get("DVC_CONFIG_GIVEN") == "true"
        hosted = not given and (hosted or ("RUNNER_ENVIRONMENT" in os.environ and not os.environ.get("GPU_RUNNER")))
    if hosted and (found := remote_folder()):
        name, url = found
        raise UserError(f"{URL.format(url=url)}: {MEND.format(name=name)}")


def check_remote() -> None:
    """Check it for this job, and that it answers."""
    require_reach()
    reach()


# DOC adapters.staleness: Which stages are out of date, found out from git and dvc.lock alone: nothing is fetched.

if TYPE_CHECKING:
    from dvc.repo import Repo


def stale_stages() -> list[str]:
    """Stages that `dvc repro` would run, in the pipeline's order, told without any of their files."""
    # DVC's own `repro --dry` needs the files of the stages that would run.
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc_data.hashfile.build import IgnoreInCollectedDirError

    _check_inputs()
    try:
        with Repo() as repo, repo.lock:
            _refuse_hidden(repo)
            stages = repo.index.stages
            changed = {stage.addressing for stage in stages if stage.changed(allow_missing=True, upstream=stages)}
    except (DvcException, IgnoreInCollectedDirError, OSError) as error:
        if BUSY.search(str(error)):
            raise UserError(WAIT) from None
        raise UserError(f"dvc cannot tell which stages are out of date: {error}") from None
    stale: list[str] = []
    spoiled: set[str] = set()
    for name, stage in dvc_files.pipeline().items():
        if name in changed or spoiled & set(_paths(stage, "deps")):
            stale.append(name)
            spoiled |= {path for kind in ("outs", "metrics", "plots") for path in _paths(stage, kind)}
    return stale


def _check_inputs() -> None:
    """Read DVC's inputs first: if one is damaged, DVC explains it at length, or with a traceback."""
    for name, stage in dvc_files.pipeline().items():
        if stage.get("frozen"):
            raise UserError(
                f"dvc.yaml: stages.{name}.frozen: a frozen stage never runs again, whatever changed: remove it"
            )
    params = [entry for stage in dvc_files.pipeline().values() for entry in stage.get("params") or []]
    names = {PARAMS.name, *(name for entry in params if isinstance(entry, dict) for name in entry)}
    for path in filter(os.path.lexists, [LOCK, DATA_DVC]):
        dvc_files.read(path)
    for path in filter(os.path.lexists, map(Path, sorted(names))):
        content = files.read_toml(path) if path.suffix == ".toml" else files.read_yaml(path)
        if not isinstance(content, dict):
            raise UserError(f"{path}: (top level): a mapping of keys is expected: restore it from git")


def _refuse_hidden(repo: "Repo") -> None:
    """Raise `UserError` if .dvcignore hides a file of the code, whose change would then make no stage run again."""
    hidden = [
        name for name in git.files("src", "engine/src/mergeworthy/stages.yaml") if repo.dvcignore.is_ignored_file(name)
    ]
    if hidden:
        raise UserError(
            f"{hidden[0]} is hidden from DVC by .dvcignore, so no stage would run again when it changes: "
            "let .dvcignore name no code, and keep what Python compiled (__pycache__) out of git"
        )


def _paths(stage: dict[str, Any], kind: str) -> list[str]:
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in stage.get(kind, [])]


def reads_data(stages: list[str]) -> bool:
    """Tell whether any of these stages reads the partitions themselves."""
    return any(str(DATA) in _paths(dvc_files.pipeline()[stage], "deps") for stage in stages)
