"""The tables of a Markdown text, as a reader sees them."""

from markdown_it import MarkdownIt
from markdown_it.token import Token

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def tables(text: str) -> list[list[dict[str, str]]]:
    """Return the rows of every table as mappings from header to plain text."""
    cells: list[list[list[str]]] = []
    in_cell = False
    for token in PARSER.parse(text):
        if token.tag in ("th", "td"):
            in_cell = token.nesting == 1
        if token.type == "table_open":
            cells.append([])
        elif token.type == "tr_open":
            cells[-1].append([])
        elif token.type == "inline" and in_cell:
            cells[-1][-1].append(plain(token))
    return [[dict(zip(rows[0], row, strict=True)) for row in rows[1:]] for rows in cells]


def plain(token: Token) -> str:
    """Return the text of an inline token without markup, with ordinary spaces."""
    parts = [child.content for child in token.children or [] if child.type in ("text", "code_inline", "text_special")]
    return "".join(parts).replace("\u00a0", " ").strip()
