"""What a project's own tests and checks use of the engine: `check_project`, and the contract of its imports."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .project import CHECKS, check_project

__all__ = ["CHECKS", "check_project"]

if not TYPE_CHECKING:  # a type checker knows the names above, and no others

    def __getattr__(name: str) -> Any:
        """Import a public name when it is asked for: import-linter, which reads this package too, needs neither."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        return getattr(import_module(".project", __name__), name)
