"""GitHub's Markdown made from text that others chose: it cannot break a table, become HTML, a link, or ping anybody."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

DASH, MINUS = "\u2013", "\u2212"
# What could mean something to Markdown or GitHub; an underscore within a word, and a colon before no slash, do not.
MEANING = re.compile(r"[^\w .,:;()%=+→…\u2212\u2013'/-]|(?<![^\W_])_|_(?![^\W_])|:(?=/)|(?<=www)\.", re.IGNORECASE)
NAME, SENTENCE = 80, 600  # characters shown of a name, of a sentence
SPACE = "\u200b"  # zero width: behind @, # and : it makes a mention, a reference or an address plain text


def clean(text: object, longest: int) -> str:
    """Make one line of at most `longest` characters; what has no shape of its own (control, direction) becomes �."""
    line = " ".join(str(text).split())
    shown = "".join("�" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co") else c for c in line[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 1].rstrip() + "…"


def code(text: object, longest: int = NAME) -> str:
    """Give text as a code span, in which nothing means anything; in a table cell too."""
    line = clean(text, longest)
    if not line:
        return "(empty)"
    if not re.search(r"[`|\\]", line):
        return f"`{line}`"
    quoted = re.sub(r"[^\w ]|_", _entity, line)
    return f"<code>{quoted}</code>"


def prose(text: str, longest: int = SENTENCE) -> str:
    """Give a sentence as plain text, but for what stands between backticks."""
    parts = re.split(r"`([^`]+)`", clean(text, longest))
    return "".join(code(part) if odd % 2 else _plain(part) for odd, part in enumerate(parts))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Make a table of cells that are Markdown already; a column whose header ends in ":" is of numbers."""
    rules = ["---:" if name.endswith(":") else "---" for name in header]
    lines = [[name.removesuffix(":") for name in header], rules, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def details(summary: str, body: str) -> str:
    """Put a body behind a click."""
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


def counted(number: int, noun: str) -> str:
    """Say 1 row, 2 rows."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def figure(value: float | None, *, sign: bool = False) -> str:
    """Show four digits behind the point, with a real minus; a dash for what is not known."""
    return DASH if value is None else f"{value:{'+' if sign else ''}.4f}".replace("-", MINUS)


def _plain(text: str) -> str:
    return re.sub(r"\b(GH-)(?=\d)", rf"\1{SPACE}", MEANING.sub(_entity, text), flags=re.IGNORECASE)


def within(budget: int, lines: Iterable[str]) -> list[str]:
    """Take lines as long as their bytes fit: escaped, a hostile one is ten times as long as it looks."""
    taken: list[str] = []
    for line in lines:
        budget -= len(line.encode())
        if budget < 0:
            break
        taken.append(line)
    return taken


def unbroken(text: str) -> str:
    """Keep the words of a cell on one line."""
    return text.replace(" ", "\u00a0")


def _entity(match: re.Match[str]) -> str:
    character = match.group()
    return f"&#{ord(character)};{SPACE if character in '@#:.' else ''}"
