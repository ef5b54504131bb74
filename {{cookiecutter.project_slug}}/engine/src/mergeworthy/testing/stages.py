"""Whether dvc.yaml names, for every stage, the team's files that the stage uses: else a change of one runs nothing."""

import ast
from collections.abc import Iterator
from pathlib import Path

from ..errors import UserError
from ..files import read_toml, read_yaml
from ..paths import DVC_YAML
from ..project import PYPROJECT, registered

SOURCE = Path("src")
USES = {  # what a stage uses of the registration beside what importing it runs
    "validate": ("tables",),
    "features": (),
    "train": ("train",),
    "evaluate": ("tables",),
    "reference": (),
}


def check_stages() -> None:
    """Raise `UserError` naming the first stage and the file of the team's that its `deps` lack, or a file not there."""
    for name, stage in read_yaml(DVC_YAML)["stages"].items():
        uses = USES.get(str(stage.get("cmd", "")).removeprefix("python -m mergeworthy.stages."))
        if uses is None:
            continue  # a stage of the team's own
        deps = [Path(dep) for dep in stage.get("deps", [])]
        for file in used(uses):
            if not any(dep == file or dep in file.parents for dep in deps):
                raise UserError(
                    f"{DVC_YAML}: the stage {name} uses {file.as_posix()}: add it to its deps, or a change of it would "
                    "not run the stage again"
                )
        if gone := [dep for dep in deps if SOURCE in dep.parents and not dep.exists()]:
            raise UserError(f"{DVC_YAML}: the stage {name} depends on {gone[0].as_posix()}, which does not exist")


def used(arguments: tuple[str, ...]) -> list[Path]:
    """Return the team's files that are run for the registration, and for those of its `arguments` given by name."""
    root = read_toml(PYPROJECT)["tool"]["mergeworthy"]["project"].partition(":")[0]
    references = [getattr(registered(), argument) for argument in arguments]
    waiting = [root, *(each.partition(":")[0] for each in references if isinstance(each, str))]
    found: dict[str, Path] = {}
    while waiting:
        module = waiting.pop()
        file = _file(module)
        if module in found or file is None:
            continue
        found[module] = file
        waiting += [module.rpartition(".")[0], *_imports(module, file)]
    return sorted(found.values())


def _file(module: str) -> Path | None:
    path = SOURCE.joinpath(*module.split("."))
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if module and file.is_file()), None)


def _imports(module: str, file: Path) -> Iterator[str]:
    """Yield every name that a file imports, in a function too, and what it may import from there."""
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
