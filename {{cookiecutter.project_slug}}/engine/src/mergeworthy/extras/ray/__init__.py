"""Ray, where one machine is not enough: the stage `train` and a sweep's trials on the cluster of infra.yaml.

Nothing is shared with its machines but their packages: code and inputs travel there, what comes of them travels back.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from ... import config as settings
from .reach import reach
from .stage import train

__all__ = ["reach", "train", "tried"]

if TYPE_CHECKING:
    from ..sweep.trial import Split

Key = TypeVar("Key")


def tried(
    asked: "Iterator[tuple[Key, dict[str, Any]]]", data: "Split", infra: settings.Infra, wanted: settings.Ray
) -> "Iterator[tuple[Key, tuple[dict[str, float], float]]]":
    """Try parameters there, many at once; give each key with what came of it, in the order in which they are done."""
    reach(wanted.head)
    from .trials import tried

    return tried(asked, data, infra, wanted)
