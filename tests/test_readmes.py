"""Every command in a README is run as it stands, or excused with a reason."""

from pathlib import Path

import pytest

from tests.bake import PRODUCT, ROOT, outside, run
from tests.readme import commands

EXCUSED = {
    "uvx cookiecutter@2.7.1 --output-dir .. .": "asks questions; test_generation runs the same with the answers given",
    "make test": "here it would run itself; in a project, test_project runs the same tests",
    "make demo": "the fixture `project` runs it",
}
READMES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / PRODUCT / "README.md"]


def test_excuses_are_needed() -> None:
    named = {command for readme in READMES for command in commands(readme)}
    assert set(EXCUSED) <= named


def test_every_command_of_the_template_is_run_or_excused() -> None:
    for readme in READMES[:2]:
        assert set(commands(readme)) <= set(EXCUSED)


def test_a_command_is_found_in_a_readme(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(
        "# A\n```sh\n# why\nmake a \\\n  b\nmake c\n```\n1. In a list\n\n   ```sh\n   make d\n   ```\n"
    )
    assert commands(tmp_path / "README.md") == ["make a   b", "make c", "make d"]
    (tmp_path / "README.md").write_text("```console\n$ make hidden\n```\n")
    with pytest.raises(ValueError, match="say what the fence"):
        commands(tmp_path / "README.md")


@pytest.mark.dear
@pytest.mark.alone  # it works in the project that the others clone
def test_the_commands_of_a_project_run(project: Path) -> None:
    # given the project that `make demo` leaves / when its README is followed, line by line
    for command in commands(project / "README.md"):
        if command not in EXCUSED:
            result = run(["bash", "-euo", "pipefail", "-c", command], project, **outside())
            # then every line succeeds
            assert result.returncode == 0, f"{command}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
