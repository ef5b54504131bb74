"""YAML in which a key that stands twice is a mistake: the second would silently switch the first one off."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from .errors import UserError


class Loader(yaml.SafeLoader):
    """Refuses what YAML itself forbids and its library lets pass."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping; raise `yaml.YAMLError` for a key that stands twice."""
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"{key.value} stands there twice"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read(path: Path) -> Any:
    """Give the file's content; raise `UserError` naming the file, and the line of a mistake."""
    try:
        return yaml.load(path.read_text(), Loader)  # noqa: S506 (it is a SafeLoader)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run this in the project's folder") from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path}{line}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
