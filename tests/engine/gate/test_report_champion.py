"""Gate and report together, under real git and DVC: the champion is in the figures and in the plot."""

from tests.engine.gate.project import Project

from mergeworthy.files import CHAMPION, REPORT
from mergeworthy.report import sections


def reported(project: Project) -> str:
    """Write the report and return its text."""
    with project.inside():
        sections.run()
        return REPORT.read_text()


def count_lines(text: str) -> int:
    """Return the number of lines in the ROC chart."""
    return text.partition("**ROC**")[2].partition("\n```\n")[0].count("\n  line [")


def test_the_champions_value_is_reported_for_metrics_without_a_gate(project: Project) -> None:
    project.ship(signal=0.9, noise=0.3, bias=-1.0)
    assert project.gate().champion
    text = reported(project)
    (brier,) = (line for line in text.splitlines() if line.startswith("| `brier`"))
    cells = brier.split(" | ")
    assert cells[1].startswith("+0.0")
    assert float(cells[2]) > float(cells[3]) > 0  # noise makes it worse than the champion
    assert count_lines(text) == 3
    assert "🟠 champion" in text


def test_without_the_champions_scores_only_its_line_is_absent(project: Project) -> None:
    project.ship(signal=0.9, bias=-1.0)
    project.gate()
    (project.root / CHAMPION).unlink()
    text = reported(project)
    assert count_lines(text) == 2
    assert "| `auc` ↑ |" in text.replace("\u00a0", " ")
