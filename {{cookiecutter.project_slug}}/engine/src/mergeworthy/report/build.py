"""`make report`: what a reviewer decides on, in one Markdown file that fits a comment."""

from collections.abc import Callable

from ..errors import UserError
from ..paths import REPORT
from ..text import prose, say
from . import changes
from . import sections as cost
from . import sections as metrics
from . import sections as origin
from . import sections as plots
from . import sections as slices
from . import sections as verdict
from .facts import Facts, Section, fit, read

# DOC report.__init__: Write `reports/report.md`: what a reviewer decides on, from `reports/`, the gate's verdict and
# git.

SECTIONS: dict[str, Callable[[Facts], Section | None]] = {
    "metrics": metrics.metrics_section,
    "slices": slices.slices_section,
    "what changed": changes.changes_section,
    "plots": plots.plots_section,
    "cost": cost.cost_section,
}


def run() -> None:
    """Write the report; raise `UserError` where there is no verdict, or a file behind a good one is missing."""
    REPORT.write_text(compose(read()))
    say(f"the report is in {REPORT}")


def compose(facts: Facts) -> str:
    """Give the report's Markdown; a section that cannot be told says why, and the others stand."""
    sections = [verdict.verdict_section(facts)]
    for title, make in SECTIONS.items():
        try:
            made = make(facts)
        except UserError as error:
            made = Section(title, f"### {title.capitalize()}\n\nNot to be told: {prose(str(error))}", rank=2)
        if made:
            sections.append(made)
    return fit([*sections, origin.origin_section(facts)])
