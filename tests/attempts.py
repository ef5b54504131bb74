"""What was tried on the project, and what answered: `python -m tests.attempts` tries all and prints one table.

The tests are the list. A test joins by its mark, `attempts("kind")`: each of its cases notes what answered, through
`attempt`, `refusal`, `refused`, `warned` or `works`. A case that fails, is skipped or notes nothing is counted as
wrong. Any run of pytest prints the counts of its attempts with `--attempts=table`, each answer with `--attempts=all`.
"""

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

WORKS, WARNED, REFUSED, WRONG = OUTCOMES = ("works", "warned", "refused", "wrong")
NOTES: list[tuple[str, str, str]] = []  # name, outcome and answer of each attempt of the test that runs
ROWS: list[tuple[str, str, str, str]] = []  # kind, name, outcome and answer of each attempt of this session
RECORD = "ATTEMPTS_RECORD"  # names the file in which runs of pytest within this one leave their attempts
Result = TypeVar("Result")


def attempt(name: str, action: Callable[[], Result]) -> Result | str:
    """Return what `action` returns, or the line that refuses it; raises any error that is not the user's."""
    from mergeworthy.errors import UserError

    try:
        result = action()
    except UserError as error:
        return refused(error, name)
    except Exception as error:
        NOTES.append((name, WRONG, repr(error)))
        raise
    works(name=name)
    return result


@contextmanager
def refusal(match: str | None = None, name: str = "") -> Iterator["pytest.ExceptionInfo[Exception]"]:
    """Expect one line that matches, as `pytest.raises` does, and note it."""
    from mergeworthy.errors import UserError

    with pytest.raises(UserError, match=match) as error:
        yield error
    refused(error.value, name)


def works(answer: object = "", name: str = "") -> None:
    """Note that it worked, and how; the default name is that of the test's case."""
    NOTES.append((name, WORKS, str(answer)))


def refused(answer: object, name: str = "", outcome: str = REFUSED) -> str:
    """Note the line that refuses it, and return it; fails if it is empty or more than a line."""
    line = str(answer)
    NOTES.append((name, outcome, line))
    assert line.strip(), f"{name}: nothing is said"
    assert len(line.splitlines()) == 1, f"{name}: more than one line: {line}"
    return line


def warned(answer: object, name: str = "") -> str:
    """Note the line that warns of what is let through, and return it."""
    return refused(answer, name, WARNED)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that prints the table."""
    parser.addoption("--attempts", choices=("table", "all"), help="print what was tried: a table, or all of it")


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark; if the table is wanted, prepare for what tests run in a pytest of their own."""
    if config.getoption("--attempts") and not hasattr(config, "workerinput"):
        os.environ[RECORD] = tempfile.mkstemp(prefix="attempts-")[1]
    config.addinivalue_line("markers", "attempts(kind): notes what answered; `python -m tests.attempts` counts it")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a marked test that notes nothing."""
    NOTES.clear()
    result = yield
    if item.get_closest_marker("attempts") and not NOTES:
        pytest.fail("marked as an attempt, but notes no answer: call works(), warned() or refused()")
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the attempts of a test into its report; if it did not pass, its last attempt is wrong."""
    report = yield
    mark = item.get_closest_marker("attempts")
    if mark and (call.when == "call" or not report.passed):
        notes = NOTES[:] if call.when == "call" else []
        if not report.passed:
            name = notes.pop()[0] if notes else ""
            notes.append((name, WRONG, call.excinfo.exconly() if call.excinfo else report.outcome))
        case = item.callspec.id if hasattr(item, "callspec") else item.name.removeprefix("test_").replace("_", " ")
        rows = [[mark.args[0], name or case, outcome, answer] for name, outcome, answer in notes]
        report.user_properties.append(("attempts", rows))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect the attempts, from other processes too."""
    for name, rows in report.user_properties:
        if name == "attempts" and isinstance(rows, list):
            ROWS.extend(tuple(row) for row in rows)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was tried, and the counts; within another run, leave it to that one."""
    if hasattr(config, "workerinput"):
        return  # xdist's process that collects from the others says it
    wanted, record = config.getoption("--attempts"), Path(os.environ.get(RECORD, os.devnull))
    if not wanted:
        with record.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in ROWS)
        return
    ROWS.extend(tuple(json.loads(line)) for line in record.read_text().splitlines())
    record.unlink()
    for line in [*(listed() if wanted == "all" else []), *table()]:
        terminalreporter.write_line(line)


def listed() -> list[str]:
    """Return a line for each attempt, the wrong ones last."""
    rows = sorted(ROWS, key=lambda row: (row[2] == WRONG, row[0]))
    return [f"{kind} | {short(name, 60)} | {outcome} | {short(answer, 200)}" for kind, name, outcome, answer in rows]


def table() -> list[str]:
    """Return the counts: one line for each kind, then their sum."""
    counts = Counter((kind, outcome) for kind, _, outcome, _ in ROWS)
    lines = [(kind, [counts[kind, outcome] for outcome in OUTCOMES]) for kind in sorted({row[0] for row in ROWS})]
    lines.append(("all", [sum(column) for column in zip(*(figures for _, figures in lines), strict=True)] or [0] * 4))
    head = f"{'kind (warned and refused: in one line)':42}" + "".join(f"{word:>9}" for word in ("tried", *OUTCOMES))
    return ["", head, *(f"{kind:42}{sum(figures):9,}" + "".join(f"{n:9,}" for n in figures) for kind, figures in lines)]


def short(text: str, longest: int) -> str:
    """Return text as part of a line that starts no command of GitHub's runner."""
    line = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split())).replace("##[", "## [")
    return line if len(line) <= longest else line[: longest - 1] + "…"


def main() -> int:
    """Run every test that is marked, and print the table; `--all` prints each attempt, the rest is pytest's."""
    arguments = [word for word in sys.argv[1:] if word != "--all"]
    shown = "all" if "--all" in sys.argv else "table"
    return int(pytest.main(["-m", "attempts", f"--attempts={shown}", *arguments]))


if __name__ == "__main__":
    sys.exit(main())
