"""The commands that a README tells people to run."""

from pathlib import Path

from markdown_it import MarkdownIt

SHOWN = {"yaml", "text", "json"}  # what a fence may hold beside commands


def commands(readme: Path) -> list[str]:
    """The lines of every `sh` fence, in order; a line that ends in a backslash goes on in the next one."""
    lines: list[str] = []
    for token in MarkdownIt().parse(readme.read_text()):
        if token.type == "fence" and token.info == "sh":
            lines += token.content.replace("\\\n", "").splitlines()
        elif token.type == "code_block" or (token.type == "fence" and token.info not in SHOWN):
            message = f"{readme}: say what the fence {token.content!r} is: sh, or one of {sorted(SHOWN)}"
            raise ValueError(message)
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
