"""Unusual and wrong uses of the project, and the outcome of each: `python -m tests.attempts` runs all, prints a table.

A test takes part by its mark, `attempts("kind")`. Each of its cases records its outcome by `attempt`, `refusal`,
`refused`, `warned` or `works`. A case that fails, is skipped or records nothing counts as wrong. Any run of pytest
prints the counts with `--attempts=table`, and each outcome with `--attempts=all`.
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
    """Return the result of `action`, or the message of its `UserError`; raise any other error."""
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
    """Expect a `UserError` of one line that matches, as `pytest.raises` does, and record it."""
    from mergeworthy.errors import UserError

    with pytest.raises(UserError, match=match) as error:
        yield error
    refused(error.value, name)


def works(answer: object = "", name: str = "") -> None:
    """Record that the attempt worked, and how; the default name is that of the test's case."""
    NOTES.append((name, WORKS, str(answer)))


def refused(answer: object, name: str = "", outcome: str = REFUSED) -> str:
    """Record the message that refuses the attempt, and return it; fail if it is not one line."""
    line = str(answer)
    NOTES.append((name, outcome, line))
    assert line.strip(), f"{name}: the message is empty"
    assert len(line.splitlines()) == 1, f"{name}: more than one line: {line}"
    return line


def warned(answer: object, name: str = "") -> str:
    """Record the warning of an attempt that is let through, and return it."""
    return refused(answer, name, WARNED)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that prints the table."""
    parser.addoption("--attempts", choices=("table", "all"), help="print what was tried: a table, or all of it")


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark; if the table is requested, create the file for runs of pytest that tests start."""
    if config.getoption("--attempts") and not hasattr(config, "workerinput"):
        os.environ[RECORD] = tempfile.mkstemp(prefix="attempts-")[1]
    config.addinivalue_line("markers", "attempts(kind): notes what answered; `python -m tests.attempts` counts it")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a marked test that records nothing."""
    NOTES.clear()
    result = yield
    if item.get_closest_marker("attempts") and not NOTES:
        pytest.fail("marked as an attempt, but records no outcome: call works(), warned() or refused()")
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the attempts of a test to its report; if the test did not pass, its last attempt is wrong."""
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
    """Collect the attempts, also those of other processes."""
    for name, rows in report.user_properties:
        if name == "attempts" and isinstance(rows, list):
            ROWS.extend(tuple(row) for row in rows)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the attempts and their counts; a run within another run only saves them for that one."""
    if hasattr(config, "workerinput"):
        return  # the process of xdist that collects from the others prints
    output, record = config.getoption("--attempts"), Path(os.environ.get(RECORD, os.devnull))
    if not output:
        with record.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in ROWS)
        return
    ROWS.extend(tuple(json.loads(line)) for line in record.read_text().splitlines())
    record.unlink()
    for line in [*(listed() if output == "all" else []), *table()]:
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
    """Run every marked test, and print the table; `--all` prints each attempt, other arguments are for pytest."""
    arguments = [word for word in sys.argv[1:] if word != "--all"]
    shown = "all" if "--all" in sys.argv else "table"
    return int(pytest.main(["-m", "attempts", f"--attempts={shown}", *arguments]))


if __name__ == "__main__":
    sys.exit(main())
