"""Text that others chose (data, people, servers), made safe for where it goes: a log, an annotation, Markdown, Mermaid.

Whatever it holds, it is one line, starts no workflow command of GitHub's runner, and has no markup.
"""

import re
import sys
import unicodedata
from pathlib import Path
from typing import Literal, TextIO

NAME, SENTENCE, LINE = 80, 600, 4_000  # characters shown of a name, of a sentence, of a line in a log
# What could mean something to Markdown or GitHub; an underscore within a word, and a colon before no slash, do not.
MEANING = re.compile(r"[^\w .,:;()%=+→…\u2212\u2013'/-]|(?<![^\W_])_|_(?![^\W_])|:(?=/)|(?<=www)\.", re.IGNORECASE)
LIST = re.compile(r"^(?=[-+=]+(?: |$)|\d+[.)](?: |$))(\d*)(.)")  # would begin a list, a rule or a heading
SPACE = "\u200b"  # zero width: behind @, # and : it makes a mention, a reference or an address plain text
# The runner reads `::name::` at the start of a line as a command, after blanks too, and `##[name]` anywhere in one.
COMMAND = re.compile(r"^(\s*):(?=:)|##(?=\[)")


def clean(text: object, longest: int = LINE) -> str:
    """Return one line of at most `longest` characters; what has no shape of its own (control, direction) becomes �."""
    return _shown(" ".join(str(text).split()), longest)


def _shown(line: str, longest: int) -> str:
    shown = "".join("�" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co") else c for c in line[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 1].rstrip() + "…"


def inert(line: str) -> str:
    """Return a line in which the runner finds no workflow command; all else stays."""
    return COMMAND.sub(lambda found: f"{found.group()} ", line)


def logged(text: object) -> str:
    """Return text as one line of a log; blanks stay, as columns of figures stand below each other by them."""
    return inert(_shown(re.sub(r"[^\S ]+", " ", str(text).strip("\r\n")).rstrip(), LINE))


def say(text: object, file: TextIO | None = None) -> None:
    """Print text as one line of a log, at once."""
    print(logged(text), file=file or sys.stdout, flush=True)


def annotation(level: Literal["error", "warning"], text: object, file: Path | None = None) -> str:
    """Return the workflow command that puts text on the page of a run, beside one of our own files."""
    where = f" file={file}" if file else ""
    return f"::{level}{where}::{clean(text).replace('%', '%25')}"


def code(text: object, longest: int = NAME) -> str:
    """Return text as a code span of Markdown, in which nothing means anything; in a table cell too."""
    line = clean(text, longest)
    if not line:
        return "(empty)"
    if not re.search(r"[`|\\]", line):
        return f"`{line}`"
    quoted = re.sub(r"[^\w ]|_", _entity, line)
    return f"<code>{quoted}</code>"


def prose(text: str, longest: int = SENTENCE) -> str:
    """Return a sentence as plain text of Markdown, but for what stands between backticks."""
    parts = re.split(r"`([^`]+)`", clean(text, longest))
    line = "".join(code(part) if odd % 2 else _plain(part) for odd, part in enumerate(parts))
    return LIST.sub(lambda found: f"{found[1]}&#{ord(found[2])};", line)


def label(text: object, longest: int = 14) -> str:
    """Return text for a label between double quotes in a Mermaid chart, or in HTML: letters, digits and plain signs."""
    shown = clean(text, longest).replace("<", "\u2039").replace(">", "\u203a")
    return re.sub(r"[^\w .,:+%()≤\u2039\u203a…\u2212/-]", " ", shown).strip() or "(empty)"


def _plain(text: str) -> str:
    return re.sub(r"\b(GH-)(?=\d)", rf"\1{SPACE}", MEANING.sub(_entity, text), flags=re.IGNORECASE)


def _entity(match: re.Match[str]) -> str:
    character = match.group()
    return f"&#{ord(character)};{SPACE if character in '@#:.' else ''}"
