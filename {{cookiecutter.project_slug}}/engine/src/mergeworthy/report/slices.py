"""Where the model lost against the champion: the worst parts of the holdout first."""

from ..render.markdown import code, counted, details, figure, table
from ..verdict import Comparison
from .facts import Facts
from .fit import Section
from .metrics import cells, interval

FIRST, MORE = 10, 90  # slices shown, and behind a click


def section(facts: Facts) -> Section | None:
    """Put the worst ten in sight, the next behind a click, the rest counted."""
    found = [comparison for comparison in facts.verdict.comparisons if comparison.column is not None]
    if not found:
        return None
    found.sort(key=lambda comparison: comparison.worse_by, reverse=True)
    worse = sum(comparison.low > 0 for comparison in found)
    intro = (
        f"{code(found[0].metric)} on {counted(len(found), 'slice')}, worst first; margin {found[0].margin:g}. "
        f"Taken one by one, {worse} {'is' if worse == 1 else 'are'} shown worse; the checks above judge all together."
    )
    text = f"### Slices\n\n{intro}\n\n{_table(found[:FIRST])}"
    more, rest = found[FIRST : FIRST + MORE], len(found) - FIRST - MORE
    if not more:
        return Section("slices", text, rank=3)
    tail = f"\n\n… and {rest:,} more in `reports/verdict.json`" if rest > 0 else ""
    short = f"{text}\n\n… and {len(found) - FIRST:,} more in `reports/verdict.json`"
    return Section("slices", f"{text}\n\n{details(f'The next {len(more)}', _table(more))}{tail}", rank=3, short=short)


def _table(found: list[Comparison]) -> str:
    header = ["Slice", "Rows:", "This model:", "Champion:", "Change:", f"{interval()} interval:"]
    return table(header, [[_name(one), f"{one.rows:,}", figure(one.challenger), *cells(one)] for one in found])


def _name(one: Comparison) -> str:
    return f"{code(one.column)} {code(one.value)}"
