"""`make report`: write `reports/report.md`, what a reviewer decides on, short enough for a comment."""

from collections.abc import Callable

from ..errors import UserError
from ..files import REPORT
from ..text import prose, say
from .changes import changes_section
from .facts import Facts, read
from .layout import Section, fit
from .sections import (
    cost_section,
    metrics_section,
    origin_section,
    plots_section,
    reading_section,
    slices_section,
    verdict_section,
)

SECTIONS: dict[str, Callable[[Facts], Section | None]] = {
    "metrics": metrics_section,
    "slices": slices_section,
    "what changed": changes_section,
    "plots": plots_section,
    "cost": cost_section,
    "how to read this": reading_section,
}


def run() -> None:
    """Write the report; raise `UserError` if there is no verdict, or a file behind a good verdict is missing."""
    REPORT.write_text(compose(read()))
    say(f"the report is in {REPORT}")


def compose(facts: Facts) -> str:
    """Return the report's Markdown; a section that fails gives the reason in its place."""
    sections = [verdict_section(facts)]
    for title, make in SECTIONS.items():
        try:
            section = make(facts)
        except UserError as error:
            section = Section(title, f"### {title.capitalize()}\n\nNot available: {prose(str(error))}", rank=2)
        if section:
            sections.append(section)
    return fit([*sections, origin_section(facts)])
