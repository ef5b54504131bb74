"""Names of slices, files and parameters cannot put markup into the report."""

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.markdown_tables import PARSER, tables

from mergeworthy.text import clean, code, prose, table

NASTY = ["@user", "#12", "GH-7", "o/r#1", "a|b", "\\|", "``", "`", "<img src=x>", "</details>", "&lt;", "-->"]
NASTY += ["](http://x)", "www.x.y", "://", "\n\n# h", "**b**", "_i_", "__0__", "~~s~~", "$$x$$"]
NASTY += ["\u202e", "\ud800", "\x00"]
TEXT = st.one_of(st.text(), st.lists(st.sampled_from(NASTY) | st.text(max_size=4), max_size=8).map("".join))
# What GitHub makes of plain text once it is rendered: mentions, references, links.
PINGS = re.compile(r"@[\w-]|#\d|\bGH-\d|://|www\.\w", re.IGNORECASE)


def rendered(markdown: str) -> tuple[list[str], str]:
    """Return the tags of rendered Markdown, and its text outside of code."""
    html = PARSER.render(markdown)
    outside = re.sub(r"<code>.*?</code>", "", html, flags=re.DOTALL)
    return re.findall(r"<(\w+)", html), unescape(re.sub(r"<[^>]*>", "", outside))


@given(TEXT)
def test_a_name_is_code_and_nothing_else(text: str) -> None:
    tags, outside = rendered(f"x {code(text)} y")
    assert tags == (["p", "code"] if clean(text, 80) else ["p"])
    assert outside.strip() in ("x  y", "x (empty) y")


@given(TEXT)
def test_a_name_is_shown_as_it_is_written(text: str) -> None:
    shown = re.search(r"<code>(.*)</code>", PARSER.render(code(text, 999)))
    assert clean(text, 999) == (unescape(shown[1]).replace("\u200b", "") if shown else "")


@given(TEXT)
def test_a_sentence_pings_nobody_and_holds_no_markup(text: str) -> None:
    tags, outside = rendered(f"x {prose(text)}")
    assert set(tags) <= {"p", "code"}
    assert not PINGS.search(outside)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4))
def test_cells_stay_in_their_columns(rows: list[tuple[str, str]]) -> None:
    text = table(["Name", "Why"], [[code(name), prose(why)] for name, why in rows])
    (cells,) = tables(text)
    assert len(cells) == len(rows)
    assert [row["Name"].replace("\u200b", "") for row in cells] == [clean(name, 80) or "(empty)" for name, _ in rows]


@pytest.mark.parametrize("cut", [code, prose])
def test_text_that_is_too_long_is_cut(cut: object) -> None:
    assert callable(cut)
    assert cut("x" * 5_000, 10).strip("`") == "x" * 9 + "…"
