"""DVC: its commands, its remote, its files data.dvc, dvc.lock and dvc.yaml, and the objects that they record by hash.

No command waits for a remote without end. Before a transfer the remote is asked one question (`reach`). If the remote
falls silent later, DVC's client gives up file by file, after the timeout that DVC's lowest level of configuration sets;
every other level overrules it. Which stages are out of date is read from git and dvc.lock alone: nothing is fetched. An
object comes from DVC's cache or else from the remote, and its hash is checked.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from .. import files
from ..config.base import PARAMS
from ..errors import UserError
from ..files import DATA, DATA_DVC, DVC_YAML, LOCK, MODEL
from ..partitions import Partition
from ..process import Deadline, SilentError, call, local, shown, within
from ..process import read as read_in_time
from . import dvc_probe, git

if TYPE_CHECKING:
    from dvc.config import Config
    from dvc.repo import Repo

Document = Mapping[str, Any]
DIRECTORY = ".dir"  # suffix of the hash of a folder, whose object lists its files
HOW_TO_FIX = {
    LOCK.name: f"restore it with `git checkout {LOCK}`, or delete it and run `make pipeline`",
    DATA_DVC.name: f"restore it with `git checkout {DATA_DVC}`, or delete it and run `make data UNTIL=…`",
}

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


def execute(*arguments: str) -> str:
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
    states = json.loads(execute("status", "--cloud", "--json"))
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
    for name, stage in pipeline().items():
        if name in changed or outdated_paths & set(_paths(stage, "deps")):
            stale.append(name)
            outdated_paths |= {path for kind in ("outs", "metrics", "plots") for path in _paths(stage, kind)}
    return stale


def reads_data(stages: list[str]) -> bool:
    """Return whether any of these stages reads the partitions themselves."""
    return any(str(DATA) in _paths(pipeline()[stage], "deps") for stage in stages)


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
    # Some of them take whole seconds, and none takes 0.
    seconds = max(1, round(Deadline.ANSWER.seconds))
    lines = [f"['remote \"{name}\"']", *(f"{option} = {seconds}" for option in options), ""]
    files.write_atomic(folder / "config", "\n".join(lines), shared=True)
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
    for name, stage in pipeline().items():
        if stage.get("frozen"):
            raise UserError(
                f"dvc.yaml: stages.{name}.frozen: a frozen stage never runs again, whatever changed: remove it"
            )
    params = [entry for stage in pipeline().values() for entry in stage.get("params") or []]
    names = {PARAMS.name, *(name for entry in params if isinstance(entry, dict) for name in entry)}
    for path in filter(os.path.lexists, [LOCK, DATA_DVC]):
        read(path)
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


class _Item(BaseModel):
    path: str
    md5: str | None = None


class _Stage(BaseModel):
    deps: list[_Item] = []
    outs: list[_Item] = []
    params: dict[str, dict[str, Any] | None] = {}


class _Lock(BaseModel):
    stages: dict[str, _Stage] | None = None


class _Meta(BaseModel):
    partitions: dict[str, int] | None = None
    md5: dict[str, str] | None = None


class _Data(BaseModel):
    outs: Annotated[list[_Item], Field(min_length=1)]
    meta: _Meta | None = None


SHAPES: dict[str, type[BaseModel]] = {LOCK.name: _Lock, DATA_DVC.name: _Data}


def read(path: Path) -> Document:
    """Return the content of a file on disk; raise `UserError` if it is missing or not what DVC writes."""
    if not os.path.lexists(path):
        raise UserError(f"{path} is missing: run `make data pipeline`")
    return parse(files.read_text(path, HOW_TO_FIX.get(path.name, "restore it from git")), str(path))


def parse(text: str, name: str) -> Document:
    """Return the content of the text of a file of DVC's; errors call it `name`, e.g. `dvc.lock at 0a1b2c3d4e5f`."""
    file = name.split(" at ")[0]
    fix = HOW_TO_FIX.get(file, "restore it from git") if file == name else f"restore {file} there"
    try:
        content = files.parse_yaml(text, name)
    except files.ConflictError as error:
        verb = "`make data`" if file == DATA_DVC.name else "`make pipeline`; in a merge `make resolve` does both"
        raise files.ConflictError(f"{error}, then {verb}") from None
    except UserError as error:
        cause = str(error).removeprefix(name).lstrip(", :")
        raise UserError(f"{name} is not the YAML that DVC writes ({cause}): {fix}") from None
    if not isinstance(content, dict):
        raise UserError(f"{name} is not the YAML that DVC writes: {fix}")
    if shape := SHAPES.get(file):
        try:
            shape.model_validate(content)
        except ValidationError as error:
            raise UserError(f"{name} is not what DVC writes ({files.explain(error, content)}): {fix}") from None
    return content


def pipeline() -> dict[str, dict[str, Any]]:
    """Return the stages of dvc.yaml, in its order; raise `UserError` if it holds none."""
    content = files.read_yaml(DVC_YAML)
    stages = content.get("stages") if isinstance(content, dict) else None
    if not isinstance(stages, dict) or not all(isinstance(stage, dict) for stage in stages.values()):
        raise UserError(f"{DVC_YAML}: stages: a mapping of stages is expected: `git checkout {DVC_YAML}`")
    return stages


def outs(lock: Document) -> dict[str, str]:
    """Return path → MD5 of all outputs of the stages."""
    return {out["path"]: out["md5"] for out in _items(lock, "outs") if out.get("md5")}


def model(lock: Document, name: str) -> str:
    """Return the MD5 that a dvc.lock records for the model; raise `UserError` naming `name` if it records none."""
    return _recorded(lock, "outs", MODEL, name)


def data(lock: Document, name: str) -> str:
    """Return the MD5 of the data that a dvc.lock was made from; raise `UserError` naming `name` if it records none."""
    return _recorded(lock, "deps", DATA, name)


def stage(lock: Document, name: str) -> Document:
    """Return the entry of a stage in a dvc.lock; empty if there is none of that name."""
    return (lock.get("stages") or {}).get(name) or {}


def is_of_one_run(lock: Document, data_md5: str) -> bool:
    """Return whether every stage read the outputs of the stages before it, and the data with this MD5."""
    written = outs(lock) | {DATA.as_posix(): data_md5}
    return all(written.get(dep["path"], dep["md5"]) == dep["md5"] for dep in _items(lock, "deps"))


def lineage() -> dict[str, str]:
    """Return the tags that runs, model versions and images carry: what a model was made from.

    They are commit, branch, dirty (is more than dvc.lock uncommitted?), and the hashes of lock, data and model.
    """
    lock = read(LOCK)
    in_ci = os.environ.get("GITHUB_HEAD_REF") or os.environ.get("GITHUB_REF_NAME")
    tags = {
        "commit": git.commit(),
        "branch": git.query("branch", "--show-current") or in_ci,
        "dirty": str(bool(git.query("status", "--porcelain", "--", ".", f":(exclude){LOCK}"))).lower(),
        "lock": files.md5(LOCK),
        "data": read(DATA_DVC)["outs"][0]["md5"],
        "model": outs(lock).get(MODEL.as_posix()),
    }
    return {name: value for name, value in tags.items() if value}


def partitions(data_dvc: Document) -> dict[Partition, int]:
    """Return partition → number of rows, as a data.dvc records them."""
    recorded = (data_dvc.get("meta") or {}).get("partitions") or {}
    return {Partition(name): rows for name, rows in recorded.items()}


def params(lock: Document) -> dict[str, Any]:
    """Return dotted name → value of each parameter that DVC recorded when it ran the stages.

    The library versions that DVC records from pyproject.toml are no parameters.
    """
    recorded = [stage.get("params") or {} for stage in _stages(lock)]
    files_values = [v for each in recorded for file, v in each.items() if v and not file.endswith(".toml")]
    return {name: value for values in files_values for name, value in flat(values, ".").items()}


def flat(values: Mapping[str, Any], separator: str) -> dict[str, Any]:
    """Return nested mappings as one mapping with joined keys."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            result |= {f"{name}{separator}{below}": leaf for below, leaf in flat(value, separator).items()}
        else:
            result[name] = value
    return result


def _recorded(lock: Document, kind: str, path: Path, name: str) -> str:
    for item in _items(lock, kind):
        if item["path"] == path.as_posix() and item.get("md5"):
            return str(item["md5"])
    raise UserError(f"{name} records no {path}: run `make pipeline` there and commit {LOCK}")


def _items(lock: Document, kind: str) -> Iterator[dict[str, Any]]:
    return (item for stage in _stages(lock) for item in stage.get(kind) or [])


def _stages(lock: Document) -> list[dict[str, Any]]:
    return list((lock.get("stages") or {}).values())


class MissingError(UserError):
    """Neither cache nor remote has an object, or the remote does not answer."""


@dataclass(frozen=True)
class Store:
    """The objects of a DVC repository; `repo` is an open `dvc.repo.Repo`."""

    repo: Any

    def find(self, md5: str, name: str) -> bytes | None:
        """Return the content with this MD5; None if it is nowhere. Raise `UserError` if it was altered."""
        try:
            return self.read(md5, name)
        except MissingError:
            return None

    def read(self, md5: str, name: str) -> bytes:
        """Return the content with this MD5; raise `UserError`, which calls it `name`, if neither place has it."""
        altered = False
        reason = "no remote"
        for place in (self._cached, self._remote):
            try:
                content = place(md5)
            except Exception as error:  # noqa: BLE001 - whatever a remote raises, it does not give the content
                reason = str(error) if isinstance(error, SilentError) else type(error.__cause__ or error).__name__
                continue
            if files.md5_of(content) == md5.removesuffix(DIRECTORY):
                return content
            altered = True
        if altered:
            raise UserError(f"{name} came back with another hash: DVC's cache or remote was altered, restore it there")
        raise MissingError(
            f"{name} is neither in DVC's cache nor to be had from its remote ({reason}): "
            "make the remote reachable, or run `dvc push` where it was made"
        )

    def files(self, md5: str, name: str) -> dict[str, str]:
        """Return relative path → MD5 of the files of a folder that DVC tracks.

        Raise `UserError` as `read` does, and if DVC did not write the list or the list names a file outside the folder.
        """
        fix = "restore data.dvc from git, and what it names in DVC's remote"
        try:
            md5_by_path = {str(entry["relpath"]): str(entry["md5"]) for entry in json.loads(self.read(md5, name))}
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UserError(f"{name} is not what DVC writes: {fix}") from None
        for path in md5_by_path:
            if path.startswith("/") or ".." in path.split("/"):
                raise UserError(f"{name} names {path!r}, which lies outside of the folder: {fix}")
        return md5_by_path

    def _cached(self, md5: str) -> bytes:
        return Path(self.repo.cache.local.oid_to_path(md5)).read_bytes()

    def _remote(self, md5: str) -> bytes:
        remote = self.repo.cloud.get_remote_odb()
        server = "the DVC remote"
        with within(Deadline.ANSWER, server, lambda: remote.fs.open(remote.oid_to_path(md5), "rb")) as file:
            return read_in_time(file, server)


@contextmanager
def opened() -> Iterator[Store]:
    """Open the store of the DVC repository in this folder; raise `UserError` if there is none."""
    from dvc.exceptions import DvcException  # takes 0.4 s, so only when a store is needed
    from dvc.repo import Repo

    try:
        repo = Repo()
    except DvcException as error:
        raise UserError(f"DVC cannot open this folder ({error}): run this in the project's folder") from None
    with repo:
        yield Store(repo)
