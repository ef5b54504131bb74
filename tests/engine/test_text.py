"""Text from data, people or servers never becomes a command, markup or a second line, wherever it is shown."""

import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from tests.attempts import refused, works
from tests.engine.markdown_tables import PARSER
from tests.engine.product import PACKAGES

from mergeworthy import verdict as gate_show
from mergeworthy.adapters import actions, github
from mergeworthy.drift import check
from mergeworthy.drift.decision import Column, Decision, Rule, Window
from mergeworthy.reference import Figure
from mergeworthy.text import annotation, label, logged, say
from mergeworthy.verdict import Check, Verdict
from mergeworthy.workflow import comment

HOSTILE = [
    "AA\n::set-output name=commit::0123",
    "\r\n  ::add-mask::x",
    "::stop-commands::x",
    "a\u2028::warning::x",
    "x ##[error]y",
    "##[set-output name=commit;]z",
    "\x1b[31mred\x1b[0m\x00\u202e",
    "```\n# heading\n@user #12 ![i](http://x/y.png)",
    '"] \n```\n<img src=x onerror=alert(1)></script><script>',
    "[link](http://x) | cell | <details> GH-7 www.x.y",
    "50%0A::error::x",
    "- a list",
    "1. a list",
    "---",
    "",
]


def commands(log: str) -> list[str]:
    """Return the lines that GitHub's runner reads as a command: `::name::` after blanks, or `##[name]` anywhere."""
    return [line for line in re.split(r"\r\n|\r|\n", log) if line.lstrip().startswith("::") or "##[" in line]


@pytest.mark.attempts("hostile value")
@pytest.mark.parametrize("value", HOSTILE)
def test_a_log_has_one_line_and_no_command(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(value)
    say(f"column {value!s} is broken: {value}")
    log = capsys.readouterr().out
    assert len(log.splitlines()) == 2
    assert not commands(log)
    assert "\x1b" not in log
    works(log, f"in a log: {value!r}")


@pytest.mark.attempts("hostile value")
@pytest.mark.parametrize("value", HOSTILE)
def test_an_annotation_is_one_command_and_no_other(value: str) -> None:
    line = annotation("error", value)
    assert len(line.splitlines()) == 1
    assert line.startswith("::error::")
    assert "%0A" not in line  # which the runner would read as a new line
    works(line, f"in an annotation: {value!r}")


@pytest.mark.attempts("hostile value")
@pytest.mark.parametrize("value", HOSTILE)
def test_an_output_is_read_as_it_was_given(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    actions.outputs(first=value, commit="true")
    read = outputs((tmp_path / "output").read_bytes().decode())
    assert read.keys() == {"first", "commit"}
    assert read["commit"] == "true"
    assert re.split(r"\r\n|\r|\n", read["first"]) == re.split(r"\r\n|\r|\n", value)
    works(repr(read["first"]), f"as an output: {value!r}")


def outputs(text: str) -> dict[str, str]:
    """Return outputs as the runner reads them: `name=value`, or `name<<end`, lines, `end`."""
    values, lines = {}, iter(re.split(r"\r\n|\r|\n", text))
    for line in lines:
        equals, here = line.find("="), line.find("<<")
        if here >= 0 and (equals < 0 or here < equals):
            name, end = line.split("<<", 1)
            value = []
            for inner in lines:
                if inner == end:
                    break
                value.append(inner)
            values[name] = "\n".join(value)
        elif line:
            name, _, values[line[:equals]] = line.partition("=")
    return values


def decision(value: str) -> Decision:
    """Return a decision in which everything that can come from data is `value`."""
    window = Window(first=value, last=value, rows=10, performance={"auc": Figure(value=0.7, error=0.01, blocks=9)})
    shares = [0.2, 0.8]
    column = Column(
        name=value, distance=[0.3], threshold=[0.1], labels=[value, f"{value}2"], before=shares, now=shares[::-1]
    )
    rules = [Rule(name=value, evidence="inputs", fired=True, figure=1.0, threshold=0.5, why=f"it says {value}.")] * 2
    return Decision(
        outcome="broken",
        sentence=f"The data is broken: {value}.",
        reference=window,
        partitions=[value],
        recent=window,
        windows=[window, window],
        history=[window, window],
        rules=rules,
        columns=[column],
    )


@pytest.mark.attempts("hostile value")
@pytest.mark.parametrize("value", HOSTILE)
def test_drift_md_has_our_markup_alone(value: str) -> None:
    text = check.decision_markdown(decision(value))
    assert_harmless(text)
    # then each chart is a fence of its own, with text in the place of text
    charts = re.findall(r"^```mermaid\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)
    assert len(charts) == 2
    assert text.count("```") == 4
    for chart in charts:
        (axis,) = [line for line in chart.splitlines() if line.strip().startswith("x-axis")]
        assert re.fullmatch(r'  x-axis "[^"<>`]*" \[("[^"<>`\[\]]*"|\d+)(, ("[^"<>`\[\]]*"|\d+))*\]', axis)
    works(axis, f"in drift.md: {value!r}")


@pytest.mark.attempts("hostile value")
@pytest.mark.parametrize("value", ["@" * 700, "|" * 700])
def test_the_text_on_drift_fits_into_an_issue(value: str) -> None:
    # given many rules and columns, whose values are long once they are escaped
    small = decision(value)
    large = small.model_copy(update={"rules": small.rules * 40, "columns": small.columns * 40})
    text = check.decision_markdown(large)
    # then the shortened text is what GitHub accepts, and still has our markup alone
    fitted = github.fitted(text)
    assert len(fitted) < 65_000 < len(text)
    assert fitted.startswith(text[:1000])
    assert_harmless(fitted)
    assert github.fitted("short") == "short"
    works(f"{len(text):,} characters become {len(fitted):,}", f"{value[0]} many times")


def test_many_errors_of_many_jobs_fit_into_a_comment() -> None:
    paragraphs = comment.describe_failures({f"job {number}": ["x" * 5_000] * 50 for number in range(9)})
    assert len(paragraphs) == 9
    assert len("\n\n".join(paragraphs)) < 60_000


@pytest.mark.attempts("hostile value")
@pytest.mark.parametrize("value", HOSTILE)
def test_the_verdict_has_our_markup_alone(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    check = Check(name=value, result="block", figure=1.0, limit=2.0, why=f"{value} is why.")
    verdict = Verdict(outcome="block", commit=None, lock=None, champion=None, checks=[check, check], partition=value)
    assert_harmless(gate_show.verdict_markdown(verdict))
    gate_show.print_verdict(verdict)
    log = capsys.readouterr().out
    assert not commands(log)
    assert "\x1b[31m" not in log
    works(log, f"in the verdict: {value!r}")


def assert_harmless(markdown: str) -> None:
    """Fail if rendered Markdown has a tag that is not ours, a mention, a link or a reference."""
    html = PARSER.render(markdown)
    ours = {
        "h2",
        "h3",
        "p",
        "code",
        "pre",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "details",
        "summary",
        "ul",
        "li",
        "strong",
        "sub",
    }
    assert {tag.lower() for tag in re.findall(r"<(\w+)", html)} <= ours
    outside = unescape(re.sub(r"<[^>]*>", "", re.sub(r"<code.*?</code>", "", html, flags=re.DOTALL)))
    assert not re.search(r"@[\w-]|#\d|\bGH-\d|://|www\.\w", outside)


def test_html_gets_no_markup_and_columns_keep_apart() -> None:
    columns = [decision(value).columns[0] for value in HOSTILE]
    names = check.safe_names(columns)
    assert len({*names}) == len(names)
    values = [value for column in columns for value in check.as_rows(column.now, column.labels)]
    assert not re.search(r"[<>&\"'`]", "".join(np.unique([*names, *values])))


def test_ordinary_text_stays_readable() -> None:
    assert logged("column 'a b': 12 % of 3::4 rows, e.g. 'x'") == "column 'a b': 12 % of 3::4 rows, e.g. 'x'"
    assert logged("  2013-01     1,234 flights\n") == "  2013-01     1,234 flights"
    assert logged("one\n\ttwo\u2028 three") == "one two  three"
    assert label("≤ 12.5 … 13") == "≤ 12.5 … 13"
    assert label("> 12.5") == "\u203a 12.5"


def command(code: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run Python code as a verb is run."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("GITHUB_ACTIONS", "PYTHONUTF8")}
    paths = {"PYTHONPATH": PACKAGES}
    text = (
        f"from pathlib import Path\nfrom mergeworthy.errors import UserError, run\ndef main():\n    {code}\nrun(main)"
    )
    return subprocess.run(
        [sys.executable, "-c", text],
        cwd=cwd,
        env={**inherited, **paths, **environment},
        capture_output=True,
        check=False,
    )


@pytest.mark.attempts("hostile value")
@pytest.mark.parametrize("kind", ["UserError", "RuntimeError"])
def test_a_failed_verb_in_ci_prints_one_command(kind: str, tmp_path: Path) -> None:
    # given an error that repeats a value; one of the two is a crash, whose traceback is printed too
    value = "AA\n::set-output name=commit::1\n  ##[error]"
    done = command(f"raise {kind}({value!r})", tmp_path, GITHUB_ACTIONS="true")
    assert done.returncode == 1
    log = done.stderr.decode()
    assert len(commands(log)) == 1
    assert commands(log)[0].startswith("::error::")
    assert ("Traceback" in log) == (kind == "RuntimeError")
    refused(commands(log)[0], f"in a {kind}")


LOCALES = [{"LC_ALL": "de_DE.ISO-8859-1"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}, {}]


@pytest.mark.attempts("locale")
@pytest.mark.parametrize("locale", LOCALES)
def test_a_verb_reads_and_writes_utf8_in_any_locale(locale: dict[str, str], tmp_path: Path) -> None:
    code = "Path('\\xfc').write_text('\\u2705 \\xfc'); print(Path('\\xfc').read_text())"
    done = command(code, tmp_path, **locale)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().strip() == "✅ ü"
    assert (tmp_path / "ü").read_bytes().decode() == "✅ ü"
    works(name=str(locale))


@pytest.mark.attempts("folder")
def test_a_verb_finds_the_project_from_a_folder_below_it(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "a/b").mkdir(parents=True)
    done = command("print(Path.cwd()); Path('here').touch()", tmp_path / "a/b")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "here").exists()
    works()


@pytest.mark.attempts("folder")
def test_a_verb_outside_of_any_project_names_the_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mergeworthy.cli", "gate"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": PACKAGES},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert str(tmp_path) in refused(done.stderr)
    assert not list(tmp_path.iterdir())


@pytest.mark.attempts("disk")
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("Path('/dev/full').write_text('x' * 99999)", "No space left on device"),
        ("raise OSError(30, 'Read-only file system', 'reports/verdict.json')", "reports/verdict.json: Read-only"),
        ("raise PermissionError(13, 'Permission denied', 'dvc.lock')", "dvc.lock: Permission denied"),
    ],
)
def test_an_error_of_the_disk_is_one_line(code: str, message: str, tmp_path: Path) -> None:
    done = command(code, tmp_path)
    assert done.returncode == 1
    assert message in refused(done.stderr.decode())


def test_an_error_that_ends_polars_is_named_in_the_last_line(tmp_path: Path) -> None:
    done = command(
        'import polars; polars.DataFrame({"x": [2, 1]}).lazy().sort("x").collect()', tmp_path, POLARS_MAX_THREADS="0"
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr.decode()
    assert done.stderr.decode().splitlines()[-1].startswith("error: polars stopped: ")


def test_an_interrupted_verb_ends_as_a_shell_expects(tmp_path: Path) -> None:
    done = command("raise KeyboardInterrupt", tmp_path)
    assert done.returncode == 130
    assert b"Traceback" not in done.stderr


def test_a_verb_leaves_the_next_line_at_its_start() -> None:
    # given a terminal: colorama, which DVC loads, ends a process on it with an escape sequence
    ours, theirs = os.openpty()
    code = "import colorama; from mergeworthy.errors import run; run(colorama.init)"
    subprocess.run([sys.executable, "-c", code], stdout=theirs, stderr=theirs, check=True)
    os.close(theirs)
    # then nothing precedes a workflow command of the next process
    with pytest.raises(OSError, match="Input/output error"):
        assert os.read(ours, 100) == b""
    os.close(ours)
