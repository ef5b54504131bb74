"""Read what a README shows: the commands that people shall run, and the code in its other fences."""

from pathlib import Path

from markdown_it import MarkdownIt

OTHER_FENCES = {"diff", "json", "python", "text", "toml", "yaml"}


def commands(readme: Path) -> list[str]:
    """Return the lines of every `sh` fence, in order; a line that ends in a backslash continues on the next one.

    Raise `ValueError` naming a fence that does not say what it is.
    """
    lines: list[str] = []
    for token in MarkdownIt().parse(readme.read_text()):
        if token.type == "fence" and token.info == "sh":
            lines += token.content.replace("\\\n", "").splitlines()
        elif token.type == "code_block" or (token.type == "fence" and token.info not in OTHER_FENCES):
            message = (
                f"{readme}: name the language of the fence {token.content!r}: sh, or one of {sorted(OTHER_FENCES)}"
            )
            raise ValueError(message)
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def shown(readme: Path, language: str) -> list[str]:
    """Return the content of every fence in a language."""
    tokens = MarkdownIt().parse(readme.read_text())
    return [token.content for token in tokens if token.type == "fence" and token.info == language]


def changed(text: str, diff: str) -> str:
    """Apply a diff without headers, of lines that are kept or added; raise `ValueError` if it does not fit."""
    kept = "".join(line[1:] for line in diff.splitlines(keepends=True) if line.startswith(" "))
    if text.count(kept) != 1:
        message = f"these lines must be in the file once: {kept!r}"
        raise ValueError(message)
    return text.replace(kept, "".join(line[1:] for line in diff.splitlines(keepends=True)))
