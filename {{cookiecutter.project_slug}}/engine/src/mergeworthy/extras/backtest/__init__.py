"""`make replay`: the loop over all that the source has, partition by partition, by this project's own verbs.

Two throw-away copies of the project. In one the drift check decides, and what it calls for is trained, judged, merged
if the gate is green, and served; in the other every partition brings a new model, for comparison. They share nothing
but a DVC remote, as CI's jobs do: what one has trained the other restores, and so does a replay that is asked again.
"""

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from onnxruntime import InferenceSession

from ... import config as settings
from ... import files
from ...artifact import session
from ...data.sources import open_source
from ...drift.decision import Decision
from ...errors import UserError
from ...paths import DRIFT, MODEL, REPORTS, VERDICT
from ...text import say
from ...verdict import Verdict
from . import show
from .copy import Copy
from .month import FIX, Month, Way, measure
from .serve import served

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
    show.write(REPORTS / "replay", months)
    say(show.summary(months))
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
