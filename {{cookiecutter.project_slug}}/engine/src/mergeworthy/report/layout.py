"""How sections become one comment: whatever the size of a project, GitHub accepts the report."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..render import details, table

LIMIT = 65_536 - 1_024  # what GitHub accepts in a comment, less what CML adds; in bytes, never fewer than characters


@dataclass(frozen=True)
class Section:
    """A part of the report. The highest `rank` is left out first, 0 never; `short` is the text without details."""

    title: str
    text: str
    rank: int
    short: str | None = None


def fit(sections: Sequence[Section], limit: int = LIMIT) -> str:
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
