"""`make replay`: a backtest of the retraining policy on all partitions that the source has."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from pydantic import Field

from .. import artifact, files, holdout
from .. import config as settings
from ..adapters.git import BOT
from ..artifact import session
from ..container import verify
from ..data.sources import open_source
from ..drift.decision import Decision
from ..errors import UserError
from ..files import Record, md5
from ..holdout import labels
from ..paths import DATA_DVC, DRIFT, FEATURES, LOCK, MODEL, REPORTS, VERDICT
from ..project import registered
from ..render import BLUE, GREY, ORANGE, chart, counted, figure, points, table
from ..text import code, prose, say
from ..verdict import Verdict

# DOC extras.backtest.copy: A copy of this project that its own verbs run in: no account, and nothing of the project
# itself is touched.

# What would lead a verb back to the project, to make's state, to CI, or to a server.
STATE = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "GIT_DIR", "MLFLOW_TRACKING_URI", "GITHUB_ACTIONS")


@dataclass(frozen=True)
class Copy:
    """A repository in `folder`, with what its verbs printed in `log`."""

    folder: Path
    log: Path

    @classmethod
    def of(cls, project: Path, folder: Path, home: Path) -> Self:
        """Copy what git tracks or would track, as it stands, without data and lock; DVC remote and log in `home`."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        if listed.returncode:
            raise UserError("a replay copies what git knows of: run `git init` first")
        for name in listed.stdout.split("\0"):
            if name and name not in (str(DATA_DVC), str(LOCK)) and (project / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(project / name, folder / name)
        (folder / ".venv").symlink_to(sys.prefix)
        os.utime(folder / "pyproject.toml", (0, 0))  # older than the environment: nothing to set up
        copy, remote = cls(folder, home / f"{folder.name}.log"), (home / "remote").resolve()
        copy.log.unlink(missing_ok=True)
        copy.git("init", "--quiet", "--initial-branch=main")
        remote.mkdir(exist_ok=True)
        copy.dvc("remote", "add", "--local", "--force", "--default", "replay", str(remote))
        return copy

    def verb(self, *words: str, red: Path | None = None) -> bool:
        """Run `make <words>`; False where it failed, and said why in the file `red`; raise `UserError` else."""
        if self._run("make", *words):
            return True
        if red and (self.folder / red).exists():
            return False
        raise UserError(f"make {' '.join(words)} failed in the replay, see {self.log}: {self._last_words()}")

    def commit(self, message: str) -> None:
        """Commit whatever changed."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def git(self, *words: str) -> None:
        """Run git in the copy."""
        self._need("git", "-c", "core.hooksPath=/dev/null", *words)

    def dvc(self, *words: str) -> None:
        """Run DVC in the copy."""
        self._need(sys.executable, "-m", "dvc", *words)

    def environment(self) -> dict[str, str]:
        """The environment of its programs; the package is imported from the copy."""
        outer = {key: value for key, value in os.environ.items() if key not in STATE}
        return {**outer, **BOT, "PYTHONPATH": "src:engine/src", "DVC_NO_ANALYTICS": "1"}

    def _need(self, *command: str) -> None:
        if not self._run(*command):
            raise UserError(f"{command[0]} failed in the replay, see {self.log}: {self._last_words()}")

    def _run(self, *command: str) -> bool:
        environment, begin = self.environment(), time.monotonic()
        with self.log.open("a") as log:
            print("$", *command, file=log, flush=True)
            done = subprocess.run(command, cwd=self.folder, env=environment, stdout=log, stderr=log, check=False)
            print(f"# {time.monotonic() - begin:.1f} s, exit {done.returncode}", file=log)
        return done.returncode == 0

    def _last_words(self) -> str:
        lines = [line for line in self.log.read_text(errors="replace").splitlines()[:-1] if line.strip()]
        told = [line for line in lines[-20:] if line.startswith(("error:", "ERROR:"))]
        return (told or lines)[-1]


# DOC extras.backtest.month: One partition of a replay: what was decided, and what the models that were there before
# it are worth on it.

FIX = "run `make replay` again, its log says what its verbs did"
Way = Literal["never", "decided", "every"]
WAYS: dict[Way, str] = {"never": "never retrained", "decided": "as decided", "every": "with every partition"}


class Month(Record):
    """One line of `reports/replay.json`."""

    partition: str
    decision: str
    why: Annotated[str, Field(description="the check's sentence")]
    figures: Annotated[
        dict[Way, dict[str, float | None]],
        Field(description="every metric on the partition, before it is learned from"),
    ]

    @property
    def merged(self) -> bool:
        """Whether a new champion came of it."""
        return self.decision.startswith("merged")


def measure(folder: Path, partition: str, models: Mapping[Way, InferenceSession]) -> dict[Way, dict[str, float | None]]:
    """Score the partition's rows in `folder`, read once, with each way's model."""
    rows = files.read_parquet(folder / FEATURES / f"{partition}.parquet", FIX).filter(
        pl.col(registered().target).is_not_null()
    )
    label = labels(rows, partition)
    return {way: holdout.figures(label, artifact.predict(model, rows)) for way, model in models.items()}


# DOC extras.backtest.serve: The service, started in a copy as on a laptop, and asked whether it answers as the new
# model was judged.

PATIENCE = 60  # seconds until a service that does not answer is given up


def served(copy: Copy) -> str:
    """Say that the service answers with the copy's model; raise `UserError` where it answers otherwise."""
    if find_spec("bentoml") is None:
        return "not served: that takes the dependency group `serve`"
    with chdir(copy.folder):
        known, model = verify.read_golden(), md5(MODEL)
    port = _free_port()
    with copy.log.open("a") as log:
        service = subprocess.Popen(
            ["make", "serve", f"PORT={port}"],
            cwd=copy.folder,
            env=copy.environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        connection = _ready(port, service)
        answers = json.loads(_ask(connection, "GET", "/model"))["model"]
        scores = json.loads(_ask(connection, "POST", "/predict", known.many))["scores"]
    finally:
        os.killpg(service.pid, signal.SIGTERM)
        service.wait()
    apart = float(np.abs(np.asarray(scores) - known.scores).max())
    if answers != model or not apart <= settings.gates().image.parity:
        raise UserError(f"the service answers with {answers}, {apart:.1g} from the predictions of {model}")
    return "served"


def _ready(port: int, service: "subprocess.Popen[bytes]") -> http.client.HTTPConnection:
    connection, begin = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE), time.monotonic()
    while service.poll() is None and time.monotonic() - begin < PATIENCE:
        try:
            _ask(connection, "GET", "/readyz")
        except (OSError, http.client.HTTPException, UserError):
            connection.close()
            time.sleep(0.1)
        else:
            return connection
    raise UserError("make serve does not answer in the replay: try it here")


def _ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None) -> bytes:
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get("SERVICE_TOKEN"):  # the copy's service has it too
        headers["Authorization"] = f"Bearer {token}"
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != http.HTTPStatus.OK:
        raise UserError(f"the service answers {answer.status} to {path}: {said[:300].decode(errors='replace')}")
    return said


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


# DOC extras.backtest.show: A replay for people: `reports/replay.md` with a table and Mermaid plots, the same as PNG,
# and the figures as JSON.

COLOURS = (GREY, ORANGE, BLUE)  # in the order of ORDER, the last drawn on top
ORDER: tuple[Way, ...] = ("never", "every", "decided")
LEGEND = "🔵 as decided, 🟠 with every partition, ⚪ never retrained."
Floats = NDArray[np.float64]


def write(path: Path, months: Sequence[Month]) -> None:
    """Write `path` with the suffixes .json, .md and .png."""
    path.parent.mkdir(exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps([month.model_dump() for month in months], indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(months))
    draw(path.with_suffix(".png"), months)


def summary(months: Sequence[Month]) -> str:
    """Give the means in a sentence."""
    merged = sum(month.merged for month in months)
    told = [
        f"mean {metric}: " + ", ".join(f"{figure(_mean(months, way, metric))} {said}" for way, said in WAYS.items())
        for metric in _metrics()
    ]
    since = f"from {months[min(1, len(months) - 1)].partition} on"
    return f"{counted(merged, 'retraining')} merged in {counted(len(months), 'partition')}; {since} {'; '.join(told)}."


def markdown(months: Sequence[Month]) -> str:
    """Give the means, the table and a plot for each metric."""
    header = ["Partition", "Decision", *(f"{metric}, {said}:" for metric in _metrics() for said in WAYS.values())]
    rows = [
        [
            code(m.partition),
            prose(m.decision),
            *(figure(m.figures[way][metric]) for metric in _metrics() for way in WAYS),
        ]
        for m in months
    ]
    means = [
        "mean, without the first",
        "",
        *(figure(_mean(months, way, metric)) for metric in _metrics() for way in WAYS),
    ]
    how = "Each partition is scored with the models that were there before it."
    reasons = "\n".join(f"- {code(month.partition)} {prose(month.why)}" for month in months)
    plots = [_mermaid(months, metric) for metric in _metrics()]
    parts = ["## The replay", prose(summary(months)), how, table(header, [*rows, means]), LEGEND, *plots]
    return "\n\n".join([*parts, "### Why", reasons]) + "\n"


def draw(path: Path, months: Sequence[Month]) -> None:
    """Draw a panel for each metric."""
    from matplotlib.figure import Figure

    names, metrics = [month.partition for month in months], _metrics()
    page = Figure(figsize=(8, 3 * len(metrics)), dpi=100, layout="constrained")
    for axes, metric in zip(np.atleast_1d(page.subplots(len(metrics), sharex=True)), metrics, strict=True):
        for way, colour in zip(ORDER, COLOURS, strict=True):
            axes.plot(names, _line(months, way, metric), color=colour, marker="o", markersize=4, label=WAYS[way])
        for month in (month for month in months if month.merged):
            axes.axvline(month.partition, color=BLUE, linestyle=":", linewidth=1)
        axes.set(ylabel=metric)
        axes.grid(alpha=0.3)
    axes.set(xlabel="partition; dotted: after it a retraining was merged")
    axes.legend(frameon=False, ncols=len(ORDER))
    page.savefig(path, metadata={"Software": None})


def _mermaid(months: Sequence[Month], metric: str) -> str:
    """Draw the partitions on which the metric can be told."""
    months = [month for month in months if None not in [month.figures[way][metric] for way in WAYS]]
    if not months:
        return f"{metric} cannot be told on any partition."
    lines = [("line", colour, _line(months, way, metric)) for way, colour in zip(ORDER, COLOURS, strict=True)]
    low = min(float(values.min()) for _, _, values in lines)
    return chart(("partition", metric), points(month.partition for month in months), lines, low=low * 0.98)


def _metrics() -> list[str]:
    return list(settings.gates().drift.performance.margins)


def _line(months: Sequence[Month], way: Way, metric: str) -> Floats:
    return np.array([month.figures[way][metric] for month in months], dtype=np.float64)


def _mean(months: Sequence[Month], way: Way, metric: str) -> float | None:
    """On the first partition all ways have the same model yet: it does not count where there are more."""
    told = _line(months[1:] or months, way, metric)
    return float(told[np.isfinite(told)].mean()) if np.isfinite(told).any() else None


# DOC extras.backtest.__init__: `make replay`: the loop over all that the source has, partition by partition, by this
# project's own verbs. Two throw-away copies of the project. In one the drift check decides, and what it calls for is
# trained, judged, merged if the gate is green, and served; in the other every partition brings a new model, for
# comparison. They share nothing but a DVC remote, as CI's jobs do: what one has trained the other restores, and so
# does a replay that is asked again.

HOME = Path(".cache/replay")
FIRST = 3  # partitions that the first champion is made of, its holdout among them


def run(until: str | None, *, image: bool) -> list[Month]:
    """Replay up to a partition, and write `reports/replay.md`, `.json` and `.png`; `image` builds the container too."""
    names = [name for name in open_source(settings.infra().source).partitions() if until is None or name <= until]
    if len(names) <= FIRST:
        raise UserError(f"a replay takes more than {FIRST} partitions, there are {len(names)}: {', '.join(names)}")
    HOME.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=HOME, prefix="run-") as folder:
        months = list(_replay(Path(folder), names, image=image))
    write(REPORTS / "replay", months)
    say(summary(months))
    say(f"{REPORTS / 'replay.md'} has the table and the plots")
    return months


def _replay(folder: Path, names: list[str], *, image: bool) -> Iterator[Month]:
    rest = names[FIRST:]
    with _timed(f"{names[0]} to {names[FIRST - 1]}: the first champion"):
        every, loop = (Copy.of(Path.cwd(), folder / name, HOME) for name in ("every", "loop"))
        for copy in (every, loop):
            _train(copy, names[FIRST - 1])
            copy.commit(f"The first champion, of the data up to {names[FIRST - 1]}")
    champions: dict[Way, InferenceSession] = dict.fromkeys(("never", "decided", "every"), _model(loop))
    begin = time.monotonic()
    for done, name in enumerate(rest):
        left = (time.monotonic() - begin) / done * (len(rest) - done) / 60 if done else None
        with _timed(f"{name}{'' if left is None else f', about {left:.0f} min left with it'}"):
            with ThreadPoolExecutor() as beside:
                checked = beside.submit(loop.verb, "drift", f"UNTIL={name}")
                _train(every, name)
                checked.result()
            figures = measure(every.folder, name, champions)
            decision, why = _follow(loop, name, image=image)
        say(f"{decision}: {why}")
        champions |= {"decided": _model(loop), "every": _model(every)}
        yield Month(partition=name, decision=decision, why=why, figures=figures)


def _follow(loop: Copy, name: str, *, image: bool) -> tuple[str, str]:
    """Do what the check decided: where a new model is called for, train it, judge it, merge it and serve it."""
    told = files.read_record(loop.folder / DRIFT, Decision, "a decision", FIX)
    if told.outcome != "retrain":
        return told.outcome, told.sentence
    loop.git("switch", "--quiet", "--force-create", "retrain/auto")
    _train(loop, name)
    loop.commit(f"Retrain with the data up to {name}")
    (loop.folder / VERDICT).unlink(missing_ok=True)
    green = loop.verb("gate", red=VERDICT)
    loop.git("switch", "--quiet", "main")
    if not green:
        loop.dvc("checkout", "--quiet")
        return f"refused: {_red(loop)}", told.sentence
    loop.git("merge", "--quiet", "--no-ff", "--message", f"Merge: retrain with the data up to {name}", "retrain/auto")
    loop.verb("release-plan")
    if image:
        loop.verb("image", "verify-image")
    return f"merged, {served(loop)}", told.sentence


def _red(copy: Copy) -> str:
    checks = files.read_record(copy.folder / VERDICT, Verdict, "a verdict", FIX).checks
    return ", ".join(check.name for check in checks if check.result == "block")


def _train(copy: Copy, newest: str) -> None:
    copy.verb("data", f"UNTIL={newest}")
    copy.verb("train")


def _model(copy: Copy) -> InferenceSession:
    return session(files.read_bytes(copy.folder / MODEL, FIX))


@contextmanager
def _timed(what: str) -> Iterator[None]:
    say(f"▶ {what}")
    begin = time.monotonic()
    yield
    say(f"{time.monotonic() - begin:.0f} s")
