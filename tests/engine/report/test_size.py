"""GitHub takes 65,536 characters; a project may be of any size, and its names of any kind."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine import reported
from tests.engine.markdown_tables import PARSER
from tests.engine.reported import checks, comparison

from mergeworthy.files import REPORT
from mergeworthy.report import sections
from mergeworthy.text import Section, fit
from mergeworthy.verdict import Check

HOSTILE = "🛫 <b>|`@all`\n" * 8


def test_thousands_of_everything_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = reported.make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    for number in range(10_000):
        project.write(f"src/{number % 100}/{'very_' * 12}{number}.py", "one line\n")
    project.write("params.yaml", {f"{'key_' * 9}{number}": HOSTILE for number in range(3_000)})
    project.data({f"{number:05}{HOSTILE}": number for number in range(2_000)})
    project.commit("Everything at once")
    slices = [
        comparison("log_loss", n / 1e6, column=f"column {n}", value=f"{n}{HOSTILE}", margin=0.03) for n in range(5_000)
    ]
    blocked = [Check(name=f"{n} {HOSTILE}", result="block", why=HOSTILE * 50) for n in range(400)]
    project.judge(checks(*blocked), [comparison("auc", 0.02), *slices], project.champion)
    sections.run()
    text = REPORT.read_text()
    assert len(text.encode()) <= 65_536 - 1_024
    assert re.search(r"\n- … and 3\d\d more in `reports/verdict.json`", text)
    for part in ("### Metrics", "### What changed", "### Slices", "<sub>commit"):
        assert part in text
    assert text.count("<details>") == text.count("</details>")
    assert not re.search(r"<b>|@all", re.sub(r"<code>.*?</code>", "", PARSER.render(text), flags=re.DOTALL))


SECTIONS = st.builds(
    Section, st.text("abc", min_size=1), st.text(max_size=400), st.integers(1, 9), st.none() | st.just("s")
)


@given(st.lists(SECTIONS, max_size=8), st.integers(300, 3_000))
def test_the_least_important_section_is_left_out_first_and_named(middle: list[Section], limit: int) -> None:
    first, last = Section("verdict", "may be merged", 0), Section("origin", "commit", 0)
    text = fit([first, *middle, last], limit)
    assert len(text.encode()) <= limit
    assert text.startswith("may be merged")
    assert text.endswith("commit\n")
    whole = "\n\n".join(section.text for section in (first, *middle, last)) + "\n"
    assert (text == whole) == ("_Left out" not in text)


def test_details_go_before_their_section_and_the_higher_rank_before_the_lower() -> None:
    sections = [
        Section("verdict", "v", 0),
        Section("metrics", "m" * 50, 1),
        Section("plots", "p" * 500, 4, short="few"),
        Section("origin", "o", 0),
    ]
    assert "details of plots" in fit(sections, 200)
    assert "few" in fit(sections, 200)
    assert "few" not in fit(sections, 130)
    assert "m" * 50 in fit(sections, 130)
    assert "metrics" in fit(sections, 100)
