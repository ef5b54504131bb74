"""What every generated project's files have in common, as functions that tests of all kinds ask."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.bake import PRODUCT, ROOT, files

SETTINGS = json.loads((ROOT / "cookiecutter.json").read_text())


def _documents(content: str) -> list[object]:
    """Every document of a YAML file; none if one of them is empty."""
    found = list(yaml.safe_load_all(content))
    return found if all(found) else []


READERS: dict[str, Callable[[str], object]] = {
    ".toml": tomllib.loads,
    ".yaml": _documents,
    ".dvc": yaml.safe_load,
    ".json": json.loads,
}
JINJA = r"\{\{-? *cookiecutter|\{%-? "


def product(template: Path) -> dict[Path, str]:
    """The texts of the product's files as they stand, unrendered."""
    return {name: text(template / PRODUCT / name) for name in files(template / PRODUCT)}


def text(path: Path) -> str:
    """A file's text; bytes that are not UTF-8 are replaced."""
    return path.read_text(encoding="utf-8", errors="replace")


def verbatim(name: Path) -> bool:
    """Whether cookiecutter copies the file as it is: it, or a folder that it lies in, is listed."""
    return bool({str(name), *map(str, name.parents)} & set(SETTINGS["_copy_without_render"]))


def parsed(project: Path) -> int:
    """Read every TOML, YAML and JSON file below `project`; raise where one is broken; return how many there are."""
    found = [name for name in files(project) if name.suffix in READERS]
    for name in found:
        assert READERS[name.suffix]((project / name).read_text(encoding="utf-8")), name
    return len(found)


def leftovers(project: Path) -> list[str]:
    """Lines in which template language is left, in files of any kind; GitHub's own expressions do not count."""
    found = [str(name) for name in files(project) if "{" in str(name) or "cookiecutter" in str(name)]
    for name in files(project):
        brace = JINJA if verbatim(name) else r"\{\{|\}\}|\{%|%\}|\{#"  # Python of its own may hold double braces
        for number, line in enumerate(text(project / name).splitlines(), 1):
            if re.search(brace, re.sub(r"\$\{\{.*?\}\}", "", line)):
                found.append(f"{name}:{number}: {line}")
    return found
