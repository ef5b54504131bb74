"""`make sweep`: a search over params.yaml on one machine, each trial in MLflow, and the best one offered as a change.

The sampler is the tree-structured Parzen estimator (Bergstra et al. 2011, NeurIPS 24), as Optuna has it.
"""

import hashlib
from pathlib import Path

import optuna
from optuna.trial import Trial, TrialState

from ... import ml, settings, strict_yaml
from ...settings import PARAMS, Sweep
from ..tracking.reach import reach
from . import offer, space
from .trial import Split, fit, record, split

STUDIES = Path(".cache/sweep.db")


def run(*, apply: bool) -> None:
    """Try what is left to try, show the best, and write it into params.yaml if `apply`.

    Raises `UserError` for a key or value that params.yaml cannot hold, and where MLflow does not answer.
    """
    sweep, before = settings.sweep(), strict_yaml.read(PARAMS)
    space.check(sweep.search, before)
    address = settings.infra().tracking.address
    reach(address)
    data = split()
    study = _study(sweep, data)
    left = sweep.trials - len(_complete(study))
    print(f"{sweep.metric} on {data.measured.stem}: {max(left, 0)} of {sweep.trials} trials to go", flush=True)
    for _ in range(left):
        trial = _ask(study, sweep, before)
        chosen = space.suggest(trial, sweep.search, before)
        figures, model_seconds = fit(space.changed(before, chosen), data)
        record(address, study.study_name, chosen, figures, model_seconds)
        study.tell(trial, figures[sweep.metric])
        print(f"trial {len(_complete(study))}/{sweep.trials}: {offer.told(sweep, figures, chosen)}", flush=True)
    offer.show(_complete(study), sweep, before)
    if apply:
        offer.write(study.best_params)


def _study(sweep: Sweep, data: Split) -> optuna.Study:
    """The search that is going on, or a new one: only trials on the same rows, code and space can be compared."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    STUDIES.parent.mkdir(exist_ok=True)
    same = sweep.model_dump_json(exclude={"trials"}) + data.digest
    return optuna.create_study(
        study_name=f"sweep-{hashlib.sha256(same.encode()).hexdigest()[:8]}",
        storage=f"sqlite:///{STUDIES}",
        direction="maximize" if ml.METRICS[sweep.metric].greater_is_better else "minimize",
        load_if_exists=True,
    )


def _ask(study: optuna.Study, sweep: Sweep, before: space.Tree) -> Trial:
    """The next trial, the same one after a stop as without it; the first is params.yaml as it stands."""
    done = len(_complete(study))
    study.sampler = optuna.samplers.TPESampler(seed=sweep.seed + done)
    if not done:
        study.enqueue_trial(space.current(sweep.search, before))
    return study.ask()


def _complete(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
