"""Tables of a Markdown text as a reader sees them."""

from markdown_it import MarkdownIt
from markdown_it.token import Token

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def tables(text: str) -> list[list[dict[str, str]]]:
    """Every table, its rows as mappings from header to plain text."""
    found: list[list[list[str]]] = []
    for token in PARSER.parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and found and token.level > 2:
            found[-1][-1].append(plain(token))
    return [[dict(zip(rows[0], row, strict=True)) for row in rows[1:]] for rows in found]


def plain(token: Token) -> str:
    """Text of an inline token, with no markup and ordinary spaces."""
    parts = [child.content for child in token.children or [] if child.type in ("text", "code_inline", "text_special")]
    return "".join(parts).replace("\u00a0", " ").strip()
