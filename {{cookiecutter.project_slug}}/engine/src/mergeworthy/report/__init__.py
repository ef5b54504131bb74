"""Write `reports/report.md`: what a reviewer decides on, from `reports/`, the gate's verdict and git."""

from collections.abc import Callable

from ..errors import UserError
from ..paths import REPORT
from ..render.markdown import prose
from ..text import say
from . import changes, cost, metrics, origin, plots, slices, verdict
from .facts import Facts, read
from .fit import Section, fit

__all__ = ["compose", "run"]

SECTIONS: dict[str, Callable[[Facts], Section | None]] = {
    "metrics": metrics.section,
    "slices": slices.section,
    "what changed": changes.section,
    "plots": plots.section,
    "cost": cost.section,
}


def run() -> None:
    """Write the report; raise `UserError` where there is no verdict, or a file behind a good one is missing."""
    REPORT.write_text(compose(read()))
    say(f"the report is in {REPORT}")


def compose(facts: Facts) -> str:
    """Give the report's Markdown; a section that cannot be told says why, and the others stand."""
    sections = [verdict.section(facts)]
    for title, make in SECTIONS.items():
        try:
            made = make(facts)
        except UserError as error:
            made = Section(title, f"### {title.capitalize()}\n\nNot to be told: {prose(str(error))}", rank=2)
        if made:
            sections.append(made)
    return fit([*sections, origin.section(facts)])
