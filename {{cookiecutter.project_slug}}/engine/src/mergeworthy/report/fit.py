"""What GitHub takes as one comment, whatever the size of the project."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

LIMIT = 65_536 - 1_024  # of a comment, less what CML adds; as bytes, which are never fewer than characters


@dataclass(frozen=True)
class Section:
    """A part of the report; the highest `rank` is left out first, 0 never. `short` is the text without its details."""

    title: str
    text: str
    rank: int
    short: str | None = None


def fit(sections: Sequence[Section], limit: int = LIMIT) -> str:
    """Join sections; shorten, then drop the least important ones until `limit` bytes hold the rest, and say so."""
    kept, lost = list(sections), list[str]()
    while len(_joined(kept, lost).encode()) > limit and any(section.rank for section in kept):
        weakest = max(kept, key=lambda section: section.rank)
        if weakest.short is not None:
            kept[kept.index(weakest)] = replace(weakest, text=weakest.short, short=None)
            lost.append(f"the details of {weakest.title}")
        else:
            kept.remove(weakest)
            lost = [name for name in lost if name != f"the details of {weakest.title}"] + [weakest.title]
    return _joined(kept, lost)


def _joined(kept: Sequence[Section], lost: Sequence[str]) -> str:
    texts = [section.text for section in kept]
    if lost:
        texts.insert(-1, f"_Left out, as GitHub takes only so much in a comment: {', '.join(lost)}._")
    return "\n\n".join(texts) + "\n"
