"""Text from data, people or servers, made safe for its place (a log, an annotation, Markdown, Mermaid), and Markdown.

Whatever the text contains, it becomes one line that starts no workflow command of GitHub's runner and has no markup.
Tables, folded parts, figures and sections are made of cells and lines that are safe already.
"""

import math
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TextIO

DASH, MINUS = "\u2013", "\u2212"
COMMENT_BYTES = 65_536 - 1_024  # what GitHub accepts in a comment, which counts characters, less what CML adds
NAME, SENTENCE, LINE = 80, 600, 4_000  # maximum length of a name, of a sentence, of a line in a log, in characters
# Characters with a meaning in Markdown or on GitHub; an underscore within a word and a colon before no slash have none.
SPECIAL = re.compile(r"[^\w .,:;()%=+→…\u2212\u2013'/-]|(?<![^\W_])_|_(?![^\W_])|:(?=/)|(?<=www)\.", re.IGNORECASE)
BLOCK_START = re.compile(r"^(?=[-+=]+(?: |$)|\d+[.)](?: |$))(\d*)(.)")  # of a list, a rule or a heading
ZERO_WIDTH_SPACE = "\u200b"  # after @, # and : it makes a mention, a reference or an address plain text
# The runner reads `::name::` at the start of a line, after blanks too, as a command, and `##[name]` anywhere in a line.
WORKFLOW_COMMAND = re.compile(r"^(\s*):(?=:)|##(?=\[)")


def clean(text: object, longest: int = LINE) -> str:
    """Return one line of at most `longest` characters; invisible characters (control, direction) become �."""
    return _shown(" ".join(str(text).split()), longest)


def _shown(line: str, longest: int) -> str:
    shown = "".join("�" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co") else c for c in line[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 1].rstrip() + "…"


def inert(line: str) -> str:
    """Return a line in which the runner finds no workflow command; the rest is unchanged."""
    return WORKFLOW_COMMAND.sub(lambda match: f"{match.group()} ", line)


def logged(text: object) -> str:
    """Return text as one line of a log; blanks are kept, because they align columns of figures."""
    return inert(_shown(re.sub(r"[^\S ]+", " ", str(text).strip("\r\n")).rstrip(), LINE))


def say(text: object, file: TextIO | None = None) -> None:
    """Print text as one line of a log, and flush."""
    print(logged(text), file=file or sys.stdout, flush=True)


def annotation(level: Literal["error", "warning"], text: object, file: Path | None = None) -> str:
    """Return the workflow command that shows text on the page of a run, beside `file` if it is given."""
    place = f" file={file}" if file else ""
    return f"::{level}{place}::{clean(text).replace('%', '%25')}"


def code(text: object, longest: int = NAME) -> str:
    """Return text as a code span of Markdown, in which no character is special, not even in the cell of a table."""
    line = clean(text, longest)
    if not line:
        return "(empty)"
    if not re.search(r"[`|\\]", line):
        return f"`{line}`"
    quoted = re.sub(r"[^\w ]|_", _entity, line)
    return f"<code>{quoted}</code>"


def prose(text: str, longest: int = SENTENCE) -> str:
    """Return a sentence as plain text of Markdown; parts between backticks become code."""
    parts = re.split(r"`([^`]+)`", clean(text, longest))
    line = "".join(code(part) if odd % 2 else _plain(part) for odd, part in enumerate(parts))
    return BLOCK_START.sub(lambda match: f"{match[1]}&#{ord(match[2])};", line)


def label(text: object, longest: int = 14) -> str:
    """Return text for a label in double quotes in a Mermaid chart, or in HTML: letters, digits and plain signs."""
    shown = clean(text, longest).replace("<", "\u2039").replace(">", "\u203a")
    return re.sub(r"[^\w .,:+%()≤\u2039\u203a…\u2212/-]", " ", shown).strip() or "(empty)"


def _plain(text: str) -> str:
    return re.sub(r"\b(GH-)(?=\d)", rf"\1{ZERO_WIDTH_SPACE}", SPECIAL.sub(_entity, text), flags=re.IGNORECASE)


def _entity(match: re.Match[str]) -> str:
    character = match.group()
    return f"&#{ord(character)};{ZERO_WIDTH_SPACE if character in '@#:.' else ''}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are Markdown already; a column whose header ends in ":" is aligned for numbers."""
    rules = ["---:" if name.endswith(":") else "---" for name in header]
    lines = [[name.removesuffix(":") for name in header], rules, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def details(summary: str, body: str) -> str:
    """Return a body that is shown after a click on the summary."""
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: 1 row, 2 rows."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def figure(value: float | None, *, sign: bool = False) -> str:
    """Return a number with four decimals, or five figures from 10 on, and a real minus sign; a dash for None."""
    if value is None:
        return DASH
    before_point = len(f"{abs(value):.0f}") if math.isfinite(value) else 1
    decimals = 0 if before_point > 1 and float(value).is_integer() else max(5 - before_point, 0)
    return f"{value:{'+' if sign else ''},.{decimals}f}".replace("-", MINUS)


def within(budget: int, lines: Iterable[str]) -> list[str]:
    """Return the first lines that fit `budget` bytes. Escaped text can be ten times as long as it looks."""
    taken: list[str] = []
    for line in lines:
        budget -= len(line.encode())
        if budget < 0:
            break
        taken.append(line)
    return taken


def unbroken(text: str) -> str:
    """Return the text of a cell with spaces that do not break the line."""
    return text.replace(" ", "\u00a0")


@dataclass(frozen=True)
class Section:
    """A part of the report. The highest `rank` is left out first, 0 never; `short` is the text without details."""

    title: str
    text: str
    rank: int
    short: str | None = None


def fit(sections: Sequence[Section], limit: int = COMMENT_BYTES) -> str:
    """Join sections; shorten, then drop the least important ones until the text fits `limit` bytes, and say so."""
    kept, omitted = list(sections), list[str]()
    while len(_joined(kept, omitted).encode()) > limit and any(section.rank for section in kept):
        weakest = max(kept, key=lambda section: section.rank)
        if weakest.short is not None:
            kept[kept.index(weakest)] = replace(weakest, text=weakest.short, short=None)
            omitted.append(f"the details of {weakest.title}")
        else:
            kept.remove(weakest)
            omitted = [title for title in omitted if title != f"the details of {weakest.title}"] + [weakest.title]
    return _joined(kept, omitted)


def folded_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], visible: int, folded: int, summary: str = "{} more"
) -> str:
    """Return a table of the first `visible` rows and, behind a click, one of at most `folded` more."""
    text, more = table(header, rows[:visible]), rows[visible : visible + folded]
    return f"{text}\n\n{details(summary.format(len(more)), table(header, more))}" if more else text


def _joined(kept: Sequence[Section], omitted: Sequence[str]) -> str:
    texts = [section.text for section in kept]
    if omitted:
        texts.insert(-1, f"_Left out, because GitHub limits the length of a comment: {', '.join(omitted)}._")
    return "\n\n".join(texts) + "\n"
