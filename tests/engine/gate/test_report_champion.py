"""Gate and report together, under real git and DVC: the champion stands in the figures and in the plot."""

from tests.engine.gate.project import Project

from mergeworthy.paths import CHAMPION, REPORT
from mergeworthy.report import build


def reported(project: Project) -> str:
    """Write the report."""
    with project.inside():
        build.run()
        return REPORT.read_text()


def lines(text: str) -> int:
    """Count the lines in the ROC chart."""
    return text.partition("**ROC**")[2].partition("\n```\n")[0].count("\n  line [")


def test_the_champion_stands_beside_what_the_gate_did_not_judge(project: Project) -> None:
    project.ship(signal=0.9, noise=0.3, bias=-1.0)
    assert project.gate().champion
    text = reported(project)
    (brier,) = (line for line in text.splitlines() if line.startswith("| `brier`"))
    cells = brier.split(" | ")
    assert float(cells[1]) > float(cells[2]) > 0  # noise makes it worse than the champion
    assert cells[3].startswith("+0.0")
    assert lines(text) == 3
    assert "🟠 the champion" in text


def test_a_champion_whose_scores_are_lost_costs_its_line_and_no_more(project: Project) -> None:
    project.ship(signal=0.9, bias=-1.0)
    project.gate()
    (project.root / CHAMPION).unlink()
    text = reported(project)
    assert lines(text) == 2
    assert "| `auc` ↑ |" in text.replace("\u00a0", " ")
