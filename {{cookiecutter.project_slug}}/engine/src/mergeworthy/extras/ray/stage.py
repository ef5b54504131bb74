"""The stage `train`, handed to a Ray cluster. Nothing here imports Ray before an address answers."""

from ...config.infra import Infra, Ray
from .reach import reach


def train(infra: Infra, wanted: Ray) -> None:
    """Run the stage there, and write here what it writes."""
    reach(wanted.head)
    from .training import train

    train(infra, wanted)
