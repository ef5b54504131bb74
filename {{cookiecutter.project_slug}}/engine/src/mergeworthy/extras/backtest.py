"""`make replay`: a backtest of the retraining policy on all partitions that the source has, by the project's own verbs.

There are two throw-away copies of the project. In the copy `loop` the drift check decides; what it calls for is
trained, judged, merged if the gate is green, and served. In the copy `every` each partition brings a new model, for
comparison. The copies share nothing but a DVC remote, as CI's jobs do: what one has trained the other restores, and so
does a repeated backtest. No account is needed, and the project itself is not touched.
"""

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
from ..adapters import git
from ..adapters.git import BOT
from ..artifact import session
from ..data.sources import open_source
from ..drift.decision import Decision
from ..errors import UserError
from ..files import DATA_DVC, DRIFT, FEATURES, LOCK, MODEL, REPORTS, VERDICT, Record, md5
from ..holdout import labels
from ..partitions import Partition
from ..plots import BLUE, GREY, ORANGE, Plot, Series, mermaid
from ..project import registered
from ..release import verify
from ..text import code, counted, figure, prose, say, table
from ..verdict import Verdict

Floats = NDArray[np.float64]
Way = Literal["never", "decided", "every"]

WAYS: dict[Way, str] = {"never": "never retrained", "decided": "as decided", "every": "with every partition"}
DRAWN: dict[Way, str] = {"never": GREY, "every": ORANGE, "decided": BLUE}  # colours; the last is drawn on top
LEGEND = "🔵 as decided, 🟠 with every partition, ⚪ never retrained."

HOME = Path(".cache/replay")
FIRST = 3  # partitions of the first champion, its holdout among them
BRANCH = "retrain/auto"
SERVICE_TIMEOUT = 60  # seconds
HOW_TO_FIX = "run `make replay` again; its log in .cache/replay has the output of every command"

# Variables that would lead a verb back to the project, to make's state, to CI, or to a server.
DROPPED_VARIABLES = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "GIT_DIR", "MLFLOW_TRACKING_URI", "GITHUB_ACTIONS")


class Month(Record):
    """One partition of a backtest: the decision, and the metrics on it of the models that were there before it."""

    partition: str
    decision: str
    why: Annotated[str, Field(description="the check's sentence")]
    figures: Annotated[
        dict[Way, dict[str, float | None]],
        Field(description="every metric on the partition, before it is learned from"),
    ]

    @property
    def merged(self) -> bool:
        """Return True if a new champion was merged after this partition."""
        return self.decision.startswith("merged")


def run(until: str | None, *, image: bool) -> list[Month]:
    """Run the backtest up to a partition, and write `reports/replay.md`, `.json` and `.png`.

    `image` also builds the container of each merged model.
    """
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


@dataclass(frozen=True)
class Copy:
    """A repository in `folder`; what its commands printed is in `log`."""

    folder: Path
    log: Path

    @classmethod
    def of(cls, folder: Path, home: Path) -> Self:
        """Copy what git tracks or would track of this folder, in its present state, without data.dvc and dvc.lock.

        DVC remote and log are in `home`.
        """
        for name in git.files("."):
            if name not in (str(DATA_DVC), str(LOCK)) and Path(name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(name, folder / name)
        (folder / ".venv").symlink_to(sys.prefix)
        os.utime(folder / "pyproject.toml", (0, 0))  # older than the environment: make has nothing to set up
        copy, remote = cls(folder, home / f"{folder.name}.log"), (home / "remote").resolve()
        copy.log.unlink(missing_ok=True)
        copy.git("init", "--quiet", "--initial-branch=main")
        remote.mkdir(exist_ok=True)
        copy.dvc("remote", "add", "--local", "--force", "--default", "replay", str(remote))
        return copy

    def verb(self, *words: str, red: Path | None = None) -> bool:
        """Run `make <words>`; return False if it failed and wrote `red`, raise `UserError` if it wrote nothing."""
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
        self._run_or_raise("git", "-c", "core.hooksPath=/dev/null", *words)

    def dvc(self, *words: str) -> None:
        """Run DVC in the copy."""
        self._run_or_raise(sys.executable, "-m", "dvc", *words)

    def environment(self) -> dict[str, str]:
        """Return the environment of the copy's programs; the packages are imported from the copy."""
        inherited = {key: value for key, value in os.environ.items() if key not in DROPPED_VARIABLES}
        return {**inherited, **BOT, "PYTHONPATH": "src:engine/src", "DVC_NO_ANALYTICS": "1"}

    def _run_or_raise(self, *command: str) -> None:
        if not self._run(*command):
            raise UserError(f"{command[0]} failed in the replay, see {self.log}: {self._last_words()}")

    def _run(self, *command: str) -> bool:
        environment, begin = self.environment(), time.monotonic()
        with self.log.open("a") as log:
            print("$", *command, file=log, flush=True)
            result = subprocess.run(command, cwd=self.folder, env=environment, stdout=log, stderr=log, check=False)
            print(f"# {time.monotonic() - begin:.1f} s, exit {result.returncode}", file=log)
        return result.returncode == 0

    def _last_words(self) -> str:
        """Return the last error line of the log, or its last line if there is no error line near the end."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines()[:-1] if line.strip()]
        errors = [line for line in lines[-20:] if line.startswith(("error:", "ERROR:"))]
        return (errors or lines)[-1]


def _replay(folder: Path, names: Sequence[Partition], *, image: bool) -> Iterator[Month]:
    """Yield each partition after the first champion's."""
    rest = names[FIRST:]
    with _timed(f"{names[0]} to {names[FIRST - 1]}: the first champion"):
        every, loop = (Copy.of(folder / name, HOME) for name in ("every", "loop"))
        for copy in (every, loop):
            _train(copy, names[FIRST - 1])
            copy.commit(f"The first champion, of the data up to {names[FIRST - 1]}")
    champions: dict[Way, InferenceSession] = dict.fromkeys(WAYS, _model(loop))
    begin = time.monotonic()
    for done, name in enumerate(rest):
        minutes_left = (time.monotonic() - begin) / done * (len(rest) - done) / 60 if done else None
        with _timed(f"{name}{'' if minutes_left is None else f', about {minutes_left:.0f} min left with it'}"):
            with ThreadPoolExecutor() as pool:
                check = pool.submit(loop.verb, "drift", f"UNTIL={name}")
                _train(every, name)
                check.result()
            figures = measure(every.folder, name, champions)
            decision, why = _follow(loop, name, image=image)
        say(f"{decision}: {why}")
        champions |= {"decided": _model(loop), "every": _model(every)}
        yield Month(partition=name, decision=decision, why=why, figures=figures)


def _follow(loop: Copy, name: str, *, image: bool) -> tuple[str, str]:
    """Act on the check's decision: if a new model is called for, train, judge, merge and serve it.

    Return what was decided in the end, and the check's sentence.
    """
    drift = files.read_record(loop.folder / DRIFT, Decision, "a decision", HOW_TO_FIX)
    if drift.outcome != "retrain":
        return drift.outcome, drift.sentence
    loop.git("switch", "--quiet", "--force-create", BRANCH)
    _train(loop, name)
    loop.commit(f"Retrain with the data up to {name}")
    (loop.folder / VERDICT).unlink(missing_ok=True)
    green = loop.verb("gate", red=VERDICT)
    loop.git("switch", "--quiet", "main")
    if not green:
        loop.dvc("checkout", "--quiet")
        return f"refused: {_blocking_checks(loop)}", drift.sentence
    loop.git("merge", "--quiet", "--no-ff", "--message", f"Merge: retrain with the data up to {name}", BRANCH)
    loop.verb("release-plan")
    if image:
        loop.verb("image", "verify-image")
    return f"merged, {served(loop)}", drift.sentence


def _blocking_checks(copy: Copy) -> str:
    checks = files.read_record(copy.folder / VERDICT, Verdict, "a verdict", HOW_TO_FIX).checks
    return ", ".join(check.name for check in checks if check.result == "block")


def _train(copy: Copy, newest: str) -> None:
    copy.verb("data", f"UNTIL={newest}")
    copy.verb("train")


def _model(copy: Copy) -> InferenceSession:
    return session(files.read_bytes(copy.folder / MODEL, HOW_TO_FIX))


@contextmanager
def _timed(step: str) -> Iterator[None]:
    say(f"▶ {step}")
    begin = time.monotonic()
    yield
    say(f"{time.monotonic() - begin:.0f} s")


def measure(folder: Path, partition: str, models: Mapping[Way, InferenceSession]) -> dict[Way, dict[str, float | None]]:
    """Return every metric of each way's model on the labelled rows of a partition in `folder`."""
    rows = files.read_parquet(folder / FEATURES / f"{partition}.parquet", HOW_TO_FIX).filter(
        pl.col(registered().target).is_not_null()
    )
    label = labels(rows, partition)
    return {way: holdout.figures(label, artifact.predict(model, rows)) for way, model in models.items()}


def served(copy: Copy) -> str:
    """Start the copy's service and compare its answers with the copy's model; return "served".

    Return a sentence if BentoML is not installed; raise `UserError` if the service answers with another model or other
    predictions.
    """
    if find_spec("bentoml") is None:
        return "not served: that takes the dependency group `serve`"
    with chdir(copy.folder):
        golden, model = verify.read_golden(), md5(MODEL)
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
        connection = _connect(port, service)
        served_model = json.loads(_request(connection, "GET", "/model"))["model"]
        answer = _request(connection, "POST", "/predict", golden.many)
    finally:
        os.killpg(service.pid, signal.SIGTERM)
        service.wait()
    error = verify.distance(answer, golden.scores)
    if served_model != model or not error <= settings.gates().image.parity:
        raise UserError(f"the service answers with {served_model}, {error:.1g} from the predictions of {model}")
    return "served"


def _connect(port: int, service: "subprocess.Popen[bytes]") -> http.client.HTTPConnection:
    """Return a connection to the service, as soon as it is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SERVICE_TIMEOUT)
    begin = time.monotonic()
    while service.poll() is None and time.monotonic() - begin < SERVICE_TIMEOUT:
        try:
            _request(connection, "GET", "/readyz")
        except (OSError, http.client.HTTPException, UserError):
            connection.close()
            time.sleep(0.1)
        else:
            return connection
    raise UserError("make serve does not answer in the replay: run `make serve` in the project")


def _request(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None) -> bytes:
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get("SERVICE_TOKEN"):  # the copy's service has it too
        headers["Authorization"] = f"Bearer {token}"
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    content = response.read()
    if response.status != http.HTTPStatus.OK:
        raise UserError(f"the service answers {response.status} to {path}: {content[:300].decode(errors='replace')}")
    return content


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def write(path: Path, months: Sequence[Month]) -> None:
    """Write `path` with the suffixes .json, .md and .png."""
    path.parent.mkdir(exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps([month.model_dump() for month in months], indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(months))
    draw(path.with_suffix(".png"), months)


def summary(months: Sequence[Month]) -> str:
    """Return the mean metrics in a sentence."""
    merged = sum(month.merged for month in months)
    means = [
        f"mean {metric}: " + ", ".join(f"{figure(_mean(months, way, metric))} {name}" for way, name in WAYS.items())
        for metric in _metrics()
    ]
    since = f"from {months[min(1, len(months) - 1)].partition} on"
    return f"{counted(merged, 'retraining')} merged in {counted(len(months), 'partition')}; {since} {'; '.join(means)}."


def markdown(months: Sequence[Month]) -> str:
    """Return the means, a table, a chart for each metric, and the reason of each decision."""
    columns = [(metric, way) for metric in _metrics() for way in WAYS]
    header = ["Partition", "Decision", *(f"{metric}, {WAYS[way]}:" for metric, way in columns)]
    rows = [
        [code(month.partition), prose(month.decision), *(figure(month.figures[way][metric]) for metric, way in columns)]
        for month in months
    ]
    means = ["mean, without the first", "", *(figure(_mean(months, way, metric)) for metric, way in columns)]
    reasons = "\n".join(f"- {code(month.partition)} {prose(month.why)}" for month in months)
    parts = [
        "## The replay",
        prose(summary(months)),
        "Each partition is scored with the models that were there before it.",
        table(header, [*rows, means]),
        LEGEND,
        *(_chart(months, metric) for metric in _metrics()),
        "### Why",
        reasons,
    ]
    return "\n\n".join(parts) + "\n"


def draw(path: Path, months: Sequence[Month]) -> None:
    """Draw one panel for each metric."""
    from matplotlib.figure import Figure

    names, metrics = [month.partition for month in months], _metrics()
    page = Figure(figsize=(8, 3 * len(metrics)), dpi=100, layout="constrained")
    for axes, metric in zip(np.atleast_1d(page.subplots(len(metrics), sharex=True)), metrics, strict=True):
        for way, colour in DRAWN.items():
            axes.plot(names, _line(months, way, metric), color=colour, marker="o", markersize=4, label=WAYS[way])
        for month in months:
            if month.merged:
                axes.axvline(month.partition, color=BLUE, linestyle=":", linewidth=1)
        axes.set(ylabel=metric)
        axes.grid(alpha=0.3)
    axes.set(xlabel="partition; dotted: after it a retraining was merged")
    axes.legend(frameon=False, ncols=len(DRAWN))
    page.savefig(path, metadata={"Software": None})


def _chart(months: Sequence[Month], metric: str) -> str:
    """Return a chart of the partitions on which the metric is defined for every way."""
    defined = [month for month in months if None not in [month.figures[way][metric] for way in WAYS]]
    if not defined:
        return f"{metric} cannot be computed on any partition."
    lines = [Series.of(way, colour, range(len(defined)), _line(defined, way, metric)) for way, colour in DRAWN.items()]
    low = min(float(line.y.min()) for line in lines)
    names = [month.partition for month in defined]
    return mermaid(Plot("replay", metric, ("partition", metric), tuple(lines), names, low=low * 0.98))


def _metrics() -> list[str]:
    return list(settings.gates().drift.performance.margins)


def _line(months: Sequence[Month], way: Way, metric: str) -> Floats:
    return np.array([month.figures[way][metric] for month in months], dtype=np.float64)


def _mean(months: Sequence[Month], way: Way, metric: str) -> float | None:
    """Return the mean over all partitions but the first, on which all ways still have the same model."""
    values = _line(months[1:] or months, way, metric)
    return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else None
