"""What a sweep found, as a table and as a change of params.yaml."""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial
from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML

from ... import files
from ...config import PARAMS, Sweep
from ...project import registered
from ...text import say
from .space import Tree, assign, current

SHOWN = 5


def told(sweep: Sweep, figures: Mapping[str, float], chosen: Mapping[str, Any]) -> str:
    """One trial in a line."""
    values = ", ".join(f"{name.rpartition('.')[2]} {_short(value)}" for name, value in chosen.items())
    return f"{sweep.metric} {figures[sweep.metric]:.4f} with {values}"


def show(trials: Sequence[FrozenTrial], sweep: Sweep, before: Tree) -> None:
    """Print the best trials, what params.yaml holds now among them, and the change that is offered."""
    better_first = bool(registered().all_metrics[sweep.metric].greater_is_better)
    ranked = sorted(trials, key=lambda trial: trial.value or 0.0, reverse=better_first)
    now = current(sweep.search, before)
    table = Table(sweep.metric, *(name.rpartition(".")[2] for name in sweep.search), "")
    for trial in [*ranked[:SHOWN], *(trial for trial in ranked[SHOWN:] if trial.params == now)]:
        values = [_short(trial.params[name]) for name in sweep.search]
        table.add_row(f"{trial.value:.4f}", *values, f"{PARAMS} now" if trial.params == now else "")
    Console().print(table)
    best = ranked[0].params
    differing = [f"{name}: {_short(now[name])} → {_short(best[name])}" for name in best if best[name] != now[name]]
    if differing:
        say(f"offered for {PARAMS} (`make sweep APPLY=1` writes it; the holdout has not seen any of this):")
    for line in differing or [f"nothing tried is better than what {PARAMS} holds"]:
        say(line)


def write(best: Mapping[str, Any]) -> None:
    """Change the values in params.yaml; its comments and order stay."""
    yaml = YAML()
    yaml.width = 4096  # no line is broken
    content = yaml.load(files.read_text(PARAMS, "restore it from git"))
    assign(content, {name: _rounded(value) for name, value in best.items()})
    new = PARAMS.with_suffix(".yaml.new")
    with new.open("w") as file:
        yaml.dump(content, file)
    new.replace(PARAMS)
    say(f"{PARAMS} is changed: look at it with `git diff {PARAMS}`, then `make pipeline gate`")


def _rounded(value: Any) -> Any:
    """Three digits: a search knows no more."""
    return float(f"{value:.3g}") if isinstance(value, float) else value


def _short(value: Any) -> str:
    return str(_rounded(value))
