"""Keys of params.yaml, by their dotted names, and the values that a trial gives them."""

import copy
from collections.abc import Mapping, MutableMapping
from typing import Any

from optuna.trial import Trial
from pydantic import ValidationError

from ...config import PARAMS, Range, Search
from ...errors import UserError
from ...project import registered

Tree = Mapping[str, Any]
STAGE = "features."  # what its stage reads: a trial trains on the feature files as they are


def check(search: Search, params: Tree) -> None:
    """Raise `UserError` unless params.yaml may hold every value that a trial could give it."""
    for name, where in search.items():
        if name.startswith(STAGE):
            raise UserError(
                f"sweep.yaml: search.{name}: the stage `features` reads it, a sweep only trains: leave it out"
            )
        for value in where.extremes(whole=_whole(params, name)):
            try:
                registered().params.model_validate(changed(params, {name: value}))
            except ValidationError as error:
                said = error.errors()[0]["msg"]
                raise UserError(f"sweep.yaml: search.{name}: params.yaml cannot hold {value} there: {said}") from None


def current(search: Search, params: Tree) -> dict[str, Any]:
    """What params.yaml holds now."""
    return {name: _at(params, name) for name in search}


def suggest(trial: Trial, search: Search, params: Tree) -> dict[str, Any]:
    """A value for each key."""
    chosen: dict[str, Any] = {}
    for name, where in search.items():
        if not isinstance(where, Range):
            chosen[name] = trial.suggest_categorical(name, where.choices)
        elif _whole(params, name):
            chosen[name] = trial.suggest_int(name, int(where.low), int(where.high), log=where.log)
        else:
            chosen[name] = trial.suggest_float(name, where.low, where.high, log=where.log)
    return chosen


def changed(params: Tree, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Give params.yaml's content with other values."""
    result = copy.deepcopy(dict(params))
    assign(result, chosen)
    return result


def assign(params: MutableMapping[str, Any], chosen: Mapping[str, Any]) -> None:
    """Put other values in place."""
    for name, value in chosen.items():
        *path, last = name.split(".")
        place = params
        for key in path:
            place = place[key]
        place[last] = value


def _at(params: Tree, name: str) -> Any:
    place: Any = params
    for key in name.split("."):
        if not isinstance(place, Mapping) or key not in place:
            raise UserError(f"sweep.yaml: search.{name}: {PARAMS} has no such key")
        place = place[key]
    return place


def _whole(params: Tree, name: str) -> bool:
    value = _at(params, name)
    return isinstance(value, int) and not isinstance(value, bool)
