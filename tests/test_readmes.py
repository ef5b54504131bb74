"""Every command in a README is run as it is, or excused with a reason; code on a page is the project's own."""

from pathlib import Path

import pytest
import yaml

from scripts import picture
from tests.bake import PRODUCT, ROOT, outside, run
from tests.readme import changed, commands, shown
from tests.work import clone, make

EXCUSED = {
    "uvx cookiecutter@2.7.1 --output-dir .. .": "asks questions; test_generation runs the same with the answers given",
    "make test": "here it would run itself; in a project, test_project runs the same tests",
    "make demo": "the fixture `project` runs it",
}
PEOPLE = ("data-scientist", "engineer", "operator", "reviewer")
PAGES = ["README.md", *(f"docs/{who}.md" for who in PEOPLE)]  # of a project
READMES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / PRODUCT / page for page in PAGES)]


def test_excuses_are_needed() -> None:
    named = {command for readme in READMES for command in commands(readme)}
    assert set(EXCUSED) <= named


def test_every_command_of_the_template_is_run_or_excused() -> None:
    for readme in READMES[:2]:
        assert set(commands(readme)) <= set(EXCUSED)


def test_the_registration_that_a_page_shows_is_the_samples() -> None:
    (registration,) = shown(ROOT / PRODUCT / "engine/README.md", "python")
    assert registration in (ROOT / PRODUCT / "src/ml/__init__.py").read_text()


def test_every_page_is_run() -> None:
    docs = {f"docs/{page.name}" for page in (ROOT / PRODUCT / "docs").glob("*.md")}
    assert docs - {*PAGES} <= {"docs/evidence.md", "docs/first-hour.md", "docs/cost.md"}  # test_first_hour runs its own
    assert not commands(ROOT / PRODUCT / "docs/evidence.md")


def test_the_first_verdict_is_on_the_first_screen() -> None:
    lines = (ROOT / PRODUCT / "README.md").read_text().splitlines()
    (first,) = [number for number, line in enumerate(lines, 1) if "first verdict" in line]
    assert first <= 24
    words = lines[lines.index("## Glossary") + 4 :]
    assert sum(line.startswith("| ") for line in words) == 20


def test_agents_read_little() -> None:
    assert len((ROOT / PRODUCT / "AGENTS.md").read_text().splitlines()) <= 55


def test_every_alert_has_a_runbook() -> None:
    _, rule = yaml.safe_load_all((ROOT / PRODUCT / "deploy/monitoring/alerts.yaml").read_text())
    alerts = [each["alert"] for group in rule["spec"]["groups"] for each in group["rules"]]
    page = (ROOT / PRODUCT / "docs/operator.md").read_text()
    assert [line.removeprefix("### ") for line in page.splitlines() if line.startswith("### ")] == alerts


def test_the_first_change_that_a_page_shows_fits_the_sample() -> None:
    (diff,) = shown(ROOT / PRODUCT / "docs/data-scientist.md", "diff")
    assert changed((ROOT / PRODUCT / "src/ml/features.py").read_text(), diff)


def test_a_diff_that_does_not_fit_is_refused() -> None:
    assert changed("a\nb\nc\n", " b\n+new\n") == "a\nb\nnew\nc\n"
    with pytest.raises(ValueError, match="must be in the file once"):
        changed("a\nc\n", " b\n+new\n")


def test_the_pictures_of_a_report_are_there_and_small() -> None:
    page = (ROOT / "README.md").read_text()
    for theme in picture.COLOURS:
        path = picture.PICTURES / f"report-{theme}.png"
        assert str(path.relative_to(ROOT)) in page
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size <= picture.MAX_BYTES


def test_the_picture_shows_a_report_as_github_renders_it() -> None:
    table = "| A | B |\n| --- | ---: |\n| `a` | 1 |"
    report = f"## ✅ The model may be merged\n\n<details><summary>All</summary>\n\n{table}\n\n</details>\n"
    html = picture.page(report + "\n```mermaid\n<b>\n```\n", ".markdown-body{color:red}", "#fff", "#000")
    assert ".markdown-body{color:red}" in html
    assert "<h2>✅ The model may be merged</h2>" in html
    assert "<td><code>a</code></td>" in html
    assert "&lt;b&gt;" in html


def test_a_command_is_found_in_a_readme(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(
        "# A\n```sh\n# why\nmake a \\\n  b\nmake c\n```\n1. In a list\n\n   ```sh\n   make d\n   ```\n"
    )
    assert commands(tmp_path / "README.md") == ["make a   b", "make c", "make d"]
    (tmp_path / "README.md").write_text("```console\n$ make hidden\n```\n")
    with pytest.raises(ValueError, match="name the language of the fence"):
        commands(tmp_path / "README.md")


@pytest.mark.dear
@pytest.mark.alone  # it works in the project that the others clone
def test_the_commands_of_a_project_run(project: Path) -> None:
    # given the project that `make demo` leaves / when its pages are followed, line by line
    for command in (command for page in PAGES for command in commands(project / page)):
        if command not in EXCUSED:
            result = run(["bash", "-euo", "pipefail", "-c", command], project, **outside())
            # then every line succeeds
            assert result.returncode == 0, f"{command}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"


@pytest.mark.dear
def test_the_first_change_of_the_page_keeps_the_projects_checks(project: Path, tmp_path: Path) -> None:
    # given the feature that the page adds
    (diff,) = shown(ROOT / PRODUCT / "docs/data-scientist.md", "diff")
    folder = clone(project, tmp_path / "changed")
    features = folder / "src/ml/features.py"
    features.write_text(changed(features.read_text(), diff))
    # then lint, types and the tests of src/ml pass: it looks into no future, and the service computes it too
    make(folder, "check", "test")
