"""DVC as a program: its commands, its remote, and which stages are out of date.

No command waits for a remote without end. Before a transfer the remote is asked one question (`reach`). If the remote
falls silent later, DVC's client gives up file by file, after the timeout that DVC's lowest level of configuration sets;
every other level overrules it. Which stages are out of date is read from git and dvc.lock alone: nothing is fetched.
"""

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
from ..files import DATA, DATA_DVC, LOCK
from ..process import Deadline, call, local, shown
from . import dvc_files, dvc_probe, git

if TYPE_CHECKING:
    from dvc.config import Config
    from dvc.repo import Repo

BUSY = re.compile(r"is busy|unable to acquire lock|rwlock", re.IGNORECASE)
BUSY_MESSAGE = "another dvc command is running in this folder: wait for it, or delete .dvc/tmp/rwlock if there is none"
TIMED_OUT = re.compile(r"timed? ?out", re.IGNORECASE)
NO_TELEMETRY = {"DVC_NO_ANALYTICS": "1"}
SYSTEM_CONFIG = "DVC_SYSTEM_CONFIG_DIR"
TRANSFERS = ("fetch", "pull", "push")
# DVC's names of the seconds that a client waits for a connection and for an answer. Google's client has its own limit.
CONNECT_AND_READ = ("connect_timeout", "read_timeout")
TIMEOUTS = {
    "http": CONNECT_AND_READ,
    "https": CONNECT_AND_READ,
    "s3": CONNECT_AND_READ,
    "azure": ("connection_timeout", "read_timeout"),
    "ssh": ("timeout",),
    "webdav": ("timeout",),
    "webdavs": ("timeout",),
}
HOSTED = "github-hosted"  # RUNNER_ENVIRONMENT on GitHub's own machines
FOLDER_REMOTE = (
    "the DVC remote {url} is a folder, which GitHub's hosted machines cannot reach: "
    "give DVC a bucket (`dvc remote modify {name} url s3://…`, credentials in the secret DVC_CONFIG), or let jobs run "
    "on the machine that has the folder (variables CPU_RUNNER and GPU_RUNNER, see infra/runner/README.md)"
)


class DvcError(UserError):
    """A command of DVC failed, for the reason that DVC gives; or the remote does not answer."""


def dvc(*arguments: str) -> str:
    """Run DVC and return what it prints; raise `DvcError` if it fails, `UserError` if another dvc runs here."""
    if arguments[0] in TRANSFERS:
        reach()
    # Not --quiet: that hides the errors too.
    done = call(_command(list(arguments)), _remote_name(), Deadline.TRANSFER, environment=_environment())
    if done.returncode == 0:
        return done.stdout
    if arguments[0] in TRANSFERS and TIMED_OUT.search(done.stderr):
        raise DvcError(str(Deadline.ANSWER.missed(_remote_name())))
    if BUSY.search(done.stderr):
        raise UserError(BUSY_MESSAGE)
    errors = re.findall(r"^ERROR: (.*)", done.stderr, re.MULTILINE)
    reason = (errors or done.stderr.strip().splitlines() or ["no reason"])[-1]
    hint = ": run `git init` first" if "not a git repository" in reason else ""
    raise DvcError(f"dvc {arguments[0]} failed: {reason}{hint}")


def show(arguments: list[str]) -> int:
    """Run DVC as `run` does, as the last step of this process, which DVC replaces unless there is a deadline."""
    if arguments[0] not in TRANSFERS:
        reach()
        os.execve(sys.executable, _command(arguments), os.environ | _environment())  # noqa: S606
    return run(arguments)


def run(arguments: list[str]) -> int:
    """Run DVC with its output shown, if the remote answers; return its exit status.

    A transfer has a deadline. A training has none, but each answer of the remote has one.
    """
    reach()
    command, environment = _command(arguments), _environment()
    if arguments[0] in TRANSFERS:
        return call(command, _remote_name(), Deadline.TRANSFER, environment=environment, shown=True).returncode
    return subprocess.run(command, env=os.environ | environment, check=False).returncode


def push() -> None:
    """Store data, models and run cache in the remote; raise `UserError` naming what neither it nor this machine has."""
    if run(["push", "--run-cache"]):
        raise DvcError("dvc push failed, see its output above")
    states = json.loads(dvc("status", "--cloud", "--json"))
    missing = sorted(name for name, state in states.items() if state == "missing")
    if missing:
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise UserError(
            f"{missing[0]}{more}: neither DVC's cache nor the remote has what dvc.lock and data.dvc record, so nobody "
            "can get it back from there: run `make data pipeline push` to make it anew"
        )


def reach() -> None:
    """Raise `DvcError` if the default remote is a server that does not answer; DVC itself reports other errors."""
    _, address = _remote(_config())
    if address is None or local(address):
        return
    command = [sys.executable, "-P", dvc_probe.__file__, "look"]
    try:
        call(command, _remote_name(), Deadline.ANSWER, environment=NO_TELEMETRY)
    except UserError as error:
        raise DvcError(str(error)) from None


def check_remote() -> None:
    """Raise `UserError` if this job cannot reach the remote, or if the remote does not answer."""
    require_reach()
    reach()


def require_reach(*, planned: bool = False) -> None:
    """Raise `UserError` if this job, on one of GitHub's machines, could never read or write the remote.

    With `planned`, raise it if one of the jobs to come could not. GPU_RUNNER names their machine. The secret
    DVC_CONFIG may give them another remote than this job sees; DVC_CONFIG_GIVEN is true if it is set.
    """
    hosted = os.environ.get("RUNNER_ENVIRONMENT") == HOSTED
    if planned:
        configured = os.environ.get("DVC_CONFIG_GIVEN") == "true"
        hosted = not configured and (
            hosted or ("RUNNER_ENVIRONMENT" in os.environ and not os.environ.get("GPU_RUNNER"))
        )
    if hosted and (remote := remote_folder()):
        name, url = remote
        raise UserError(FOLDER_REMOTE.format(name=name, url=url))


def remote_folder() -> tuple[str, str] | None:
    """Return name and path of the default remote if it is a folder of some machine; None if it is not."""
    from dvc.config import Config

    name, url = _remote(Config.from_cwd(validate=False))
    if name is None or not url or ("://" in url and not url.startswith("file://")):
        return None
    return name, os.path.relpath(url.removeprefix("file://"))


def stale_stages() -> list[str]:
    """Return the stages that `dvc repro` would run, in the pipeline's order; none of their files has to be there."""
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
            raise UserError(BUSY_MESSAGE) from None
        raise UserError(f"dvc cannot tell which stages are out of date: {error}") from None
    stale: list[str] = []
    outdated_paths: set[str] = set()
    for name, stage in dvc_files.pipeline().items():
        if name in changed or outdated_paths & set(_paths(stage, "deps")):
            stale.append(name)
            outdated_paths |= {path for kind in ("outs", "metrics", "plots") for path in _paths(stage, kind)}
    return stale


def reads_data(stages: list[str]) -> bool:
    """Return whether any of these stages reads the partitions themselves."""
    return any(str(DATA) in _paths(dvc_files.pipeline()[stage], "deps") for stage in stages)


def _remote_name() -> str:
    """Return the name by which errors call the default remote."""
    _, address = _remote(_config())
    return f"the DVC remote {shown(address or '')}".strip()


def _command(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "dvc", *arguments]


def _environment() -> dict[str, str]:
    """Return DVC's variables: no telemetry, and timeouts of the default remote unless somebody configured some."""
    config = _config()
    name, address = _remote(config)
    options = TIMEOUTS.get((address or "").partition("://")[0], ())
    if config is None or config.dvc_dir is None or not options or Path(config.files["system"]).exists():
        return NO_TELEMETRY
    folder = Path(config.dvc_dir, "tmp", "deadlines")
    folder.mkdir(parents=True, exist_ok=True)
    # Some of them take whole seconds, and none takes 0.
    seconds = max(1, round(Deadline.ANSWER.seconds))
    lines = [f"['remote \"{name}\"']", *(f"{option} = {seconds}" for option in options), ""]
    unfinished = folder / f"config.{os.getpid()}"
    unfinished.write_text("\n".join(lines))
    unfinished.replace(folder / "config")
    return NO_TELEMETRY | {SYSTEM_CONFIG: str(folder)}


def _remote(config: "Config | None") -> tuple[str | None, str | None]:
    """Return name and address of the default remote; None for what is not configured."""
    name = config["core"].get("remote") if config else None
    return name, config["remote"].get(name, {}).get("url") if config and name else None


def _config() -> "Config | None":
    """Return DVC's configuration here; None if DVC cannot read it, which DVC then reports itself."""
    from dvc.config import Config, ConfigError

    try:
        return Config.from_cwd(validate=False)
    except ConfigError:
        return None


def _check_inputs() -> None:
    """Raise `UserError` if an input of DVC is damaged, which DVC explains at length or with a traceback."""
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
    code = git.files("src", "engine/src/mergeworthy/stages.yaml")
    hidden = [name for name in code if repo.dvcignore.is_ignored_file(name)]
    if hidden:
        raise UserError(
            f"{hidden[0]} is hidden from DVC by .dvcignore, so no stage would run again when it changes: "
            "let .dvcignore name no code, and keep what Python compiled (__pycache__) out of git"
        )


def _paths(stage: dict[str, Any], kind: str) -> list[str]:
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in stage.get(kind, [])]
