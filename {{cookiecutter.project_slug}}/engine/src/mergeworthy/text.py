"""Text from data, people or servers, made safe for its place: a log, an annotation, Markdown or Mermaid.

Whatever the text contains, it becomes one line that starts no workflow command of GitHub's runner and has no markup.
"""

import re
import sys
import unicodedata
from pathlib import Path
from typing import Literal, TextIO

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
