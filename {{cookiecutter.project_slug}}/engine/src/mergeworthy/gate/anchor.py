"""Against many small losses, each within its margin: the best of the last champions is not forgotten."""

from collections.abc import Iterator

from ..errors import UserError
from ..project import registered
from ..verdict import Check
from .champion import Champion, earlier
from .duel import Arena, Duel
from .scoring import Judge


def judge(arena: Arena, champion: Champion, judges: Judge) -> Iterator[Check]:
    """Compare with the best of the champions before this one, metric by metric, each scored as its commit would.

    One that cannot be scored is a warning; raise `UserError` if none of them can.
    """
    settings = arena.rules.anchor
    formers, unreadable = earlier(champion, settings)
    formers = [one for one in formers if not one.newest or one.newest <= arena.holdout.partition]  # else trained on it
    duels, reasons = dict[str, Duel](), [f"{unreadable} hold no readable dvc.lock"] if unreadable else []
    for former in formers:
        try:
            duels[former.name], _ = arena.duel(judges.score(former).rows)
        except UserError as error:
            reasons.append(str(error))
    if reasons:
        way = "lower anchor.champions in gates.yaml, or name the commit as anchor.after"
        if formers and not duels:
            raise UserError(f"none of the earlier champions can be scored ({reasons[0]}): {way}")
        all_, lost = len(formers) + unreadable, len(formers) + unreadable - len(duels)
        why = f"{lost} of {all_} earlier champions cannot be scored ({reasons[0]}): if that is to stay so, {way}."
        yield Check(name="anchor", result="warn", why=why)
    if duels:
        margins = settings.margins or {name: 2 * margin for name, margin in arena.rules.champion.margins.items()}
        for metric, margin in margins.items():
            yield _check(arena, duels, metric, margin)


def _check(arena: Arena, duels: dict[str, Duel], metric: str, margin: float) -> Check:
    """Check that the challenger is shown to be at most `margin` worse than the best of them."""
    measure, confidence, name = registered().all_metrics[metric], arena.rules.champion.confidence, f"anchor: {metric}"
    sign = 1 if measure.greater_is_better else -1
    worth = {commit: sign * measure(duel.label, duel.champion) for commit, duel in duels.items()}
    told = {commit: value for commit, value in worth.items() if value == value}  # not NaN
    best = max(told, key=told.__getitem__, default=None)
    found = duels[best].difference(metric) if best else None
    if found is None:
        why = f"{metric} cannot be compared with earlier champions: the holdout has too few days, or one class alone."
        return Check(name=name, result="block", limit=margin, why=why)
    high = found.at_most(confidence)
    change = f"{abs(found.worse_by):.4f} {'worse' if found.worse_by > 0 else 'better'}"
    why = (
        f"{metric} is {change} ({found.champion:.4f} → {found.challenger:.4f}) than that of {best}, the best of the "
        f"last {len(duels)} champions before main's, with {confidence:.0%} confidence at most {high:.4f} worse"
    )
    if high <= margin:
        return Check(name=name, result="pass", figure=high, limit=margin, why=f"{why}.")
    why += ": small losses add up; find what lost it, or decide on it with anchor.after in gates.yaml."
    return Check(name=name, result="block", figure=high, limit=margin, why=why)
