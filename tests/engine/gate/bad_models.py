"""Bad models, what is wrong with each, and which check must report it.

`python -m tests.engine.gate.bad_models`, with PYTHONPATH as for the tests, prints the table. Each model is
shipped in a project under real git and DVC whose main has a good model, and goes through the whole gate.
"""

import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper as graph
import polars as pl
from tests.engine.gate.ml.features import TARGET
from tests.engine.gate.project import GATES, GOOD, Project, copy, create_project, flights, merge, model

from mergeworthy.verdict import Check, Result

FLOAT = onnx.TensorProto.FLOAT
LENIENT = {"margins": {"auc": 0.3, "log_loss": 0.3}}  # so that only the check in question can block it


@dataclass(frozen=True)
class Bad:
    """One line of the table: `ship` delivers the model; `check` must have `result`, and `words` in its sentence."""

    name: str
    wrong: str
    ship: Callable[[Project], None]
    check: str
    words: str
    result: Result = "block"


def weights(**values: float) -> Callable[[Project], None]:
    """Ship a model that is sigmoid(bias + sum of weight x column)."""
    return lambda project: project.ship(**values)


def content(*nodes: onnx.NodeProto, inputs: str = "signal", **constants: Any) -> Callable[[Project], None]:
    """Ship a model of any nodes, from its inputs, shape (N, 1), to `score`."""
    return lambda project: project.ship_file(serialised(*nodes, inputs=inputs, **constants))


def serialised(*nodes: onnx.NodeProto, inputs: str = "signal", external: str = "", **constants: Any) -> bytes:
    """Return a serialised graph; the constant named `external` is kept in a file beside the model."""
    tensors = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    for tensor in (tensor for tensor in tensors if tensor.name == external):
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights.bin")
    values = [graph.make_tensor_value_info(name, FLOAT, [None, 1]) for name in inputs.split()]
    score = graph.make_tensor_value_info("score", FLOAT, None)
    whole = graph.make_graph(nodes, "bad", values, [score], tensors)
    proto = graph.make_model(whole, opset_imports=[graph.make_opsetid("", 17)], ir_version=9)
    return bytes(proto.SerializeToString())


def node(operator: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    """Return a node; its inputs are names separated by blanks."""
    return graph.make_node(operator, inputs.split(), [output], **attributes)


ONE = np.float32(1)
SIGMOID = node("Sigmoid", "logit", "score")


def airlines(edit: pl.Expr) -> Callable[[Project], None]:
    """Add a column of airlines made from carriers; the new model ranks the airlines from carrier C upside down."""

    def ship(project: Project) -> None:
        project.rewrite(
            lambda table: table.with_columns(airline=edit).with_columns(
                signal_c=pl.when(pl.col("airline") < "C").then(0).otherwise(pl.col("signal")).cast(pl.Float32)
            )
        )
        project.gates(champion=LENIENT, slices=GATES["slices"] | {"columns": ["airline"]})
        project.ship(**GOOD, signal_c=-2.0)

    return ship


C = pl.col("carrier") == "C"
SMALL = pl.when(C & (pl.col("flight") % 5 < 2)).then(pl.lit("C")).when(C).then(pl.lit("A")).otherwise("carrier")
FIVE = pl.when(C & (pl.col("flight") % 10 < 5)).then(pl.lit("C") + (pl.col("flight") % 5).cast(pl.String))
FIVE = FIVE.when(C).then(pl.lit("A")).otherwise("carrier")


def leak(noise: float) -> Callable[[Project], None]:
    """Add a column that is the label with noise, and ship a model that reads it."""

    def ship(project: Project) -> None:
        rng = np.random.default_rng(3)

        def with_leak(table: pl.DataFrame) -> pl.DataFrame:
            value = table[TARGET].to_numpy() + rng.normal(scale=noise, size=table.height)
            return table.with_columns(arr_time=pl.Series(value, dtype=pl.Float32))

        project.rewrite(with_leak)
        project.gates(floors={"auc": {"min": 0.6}}, plausibility={"jump": {"auc": 0.05}})
        project.ship(signal=1.0, arr_time=2.0 / noise, bias=-1.0 - 1.0 / noise)

    return ship


def peek(project: Project) -> None:
    """Ship a model whose input is the label itself."""
    project.rewrite(lambda table: table.with_columns(pl.col(TARGET).cast(pl.Float32)))
    project.ship_file(model(bias=-3.0, **{TARGET: 6.0}))


def minutes(project: Project) -> None:
    """Make the label a number of minutes."""
    project.rewrite(lambda table: table.with_columns(pl.col(TARGET).cast(pl.Int32) * 60))
    project.ship(**GOOD)


def late_weather(project: Project) -> None:
    """Build features with old weather, and ship the best model for them."""
    project.build(weather_lag_hours=20)
    project.ship(signal=0.25, bias=-0.85)


def late_weather_in_july(project: Project) -> None:
    """Do the same on a new month without recorded predictions, so that main's own code runs."""
    project.deliver("2013-07", flights("2013-07", seed=7))
    late_weather(project)


def vanished(project: Project) -> None:
    """Drop from the features the rows that are hard to predict."""
    project.rewrite(lambda table: table.filter(pl.col("signal").abs() > 0.5))
    project.ship(**GOOD)


def relabelled(project: Project) -> None:
    """Call a flight late only from one hour on."""
    project.build(late_minutes=60)
    project.ship(**GOOD)


def creeping(project: Project) -> None:
    """Ship the fifth model that is a little worse, each within the margin."""
    for noise in (0.3, 0.45, 0.57, 0.68):
        project.ship(**GOOD, noise=noise)
        merge(project, f"A little worse: {noise}")
    project.ship(**GOOD, noise=0.78)


def handmade(project: Project) -> None:
    """Commit a model that CI did not train, although gates.yaml requires that: a warning outside of CI."""
    project.gates(provenance={"trained_by": "ci"})
    project.ship(**GOOD, noise=0.02)
    project.commit("A better model")


def swapped(project: Project) -> None:
    """Replace the model file after training."""
    path = project.root / "models/model.onnx"
    path.unlink()
    path.write_bytes(model(**GOOD, noise=0.001))


def doctored(project: Project) -> None:
    """Record predictions that are not the model's, with which any later model would look good."""
    project.ship(**GOOD, noise=0.02)
    path = project.root / "reports/predictions.parquet"
    table = pl.read_parquet(path).with_columns(score=pl.lit(0.3, pl.Float32))
    path.unlink()
    table.write_parquet(path)
    project.dvc("commit", "--force")


def pruned(project: Project) -> None:
    """Deliver data without the rows that are hard to predict."""
    project.deliver("2013-06", flights("2013-06").filter(pl.col("signal").abs() > 0.5))
    project.ship(**GOOD)


def turned(project: Project) -> None:
    """Deliver data whose delays are what the model predicts."""
    predicted = pl.when(pl.col("signal") > 1).then(60).otherwise(0).cast(pl.Int16)
    project.deliver("2013-06", flights("2013-06").with_columns(arr_delay=predicted))
    project.gates(floors={"auc": {"min": 0.6}})
    project.ship(**GOOD)


def limits(**sections: Any) -> Callable[[Project], None]:
    """Ship an equal model with other sections in gates.yaml."""

    def ship(project: Project) -> None:
        project.gates(**sections)
        project.ship(**GOOD, noise=0.02)

    return ship


def lenient(ship: Callable[[Project], None], **sections: Any) -> Callable[[Project], None]:
    """Do the same with a wide margin for the champion comparison."""

    def deliver(project: Project) -> None:
        project.gates(champion=LENIENT, **sections)
        ship(project)

    return deliver


SHIFTED = {"signal": 1.0, "bias": 0.5}
MODELS = [
    Bad("worse", "noise outweighs the signal", weights(signal=0.4, noise=0.8, bias=-0.9), "champion: auc", "worse"),
    Bad("upside down", "sorts backwards", weights(signal=-1.0, bias=-1.0), "baseline: auc", "no better than"),
    Bad("constant", "one score for all", weights(signal=0.0, bias=-0.8), "sanity", "does not look at its inputs"),
    Bad("NaN", "no score is a number", weights(signal=float("nan")), "sanity", "other scores than probabilities"),
    Bad(
        "NaN for some",
        "the logarithm of a negative number",
        content(node("Log", "signal", "logit"), SIGMOID),
        "sanity",
        "other scores than probabilities",
    ),
    Bad(
        "logits",
        "scores are no probabilities",
        content(node("Mul", "signal one", "score"), one=ONE),
        "sanity",
        "other scores than probabilities",
    ),
    Bad("overconfident", "odds cubed", weights(signal=3.0, bias=-3.0), "floor: calibration_slope", "below the 0.7"),
    Bad("timid", "odds to the power 0.3", weights(signal=0.3, bias=-1.0), "floor: calibration_slope", "above the 1.4"),
    Bad("too high", "all scores shifted", weights(**SHIFTED), "baseline: log_loss", "no better than"),
    Bad(
        "miscalibrated",
        "the same, held to a calibration error",
        lenient(weights(**SHIFTED), floors={"ece": {"max": 0.05}}),
        "floor: ece",
        "above the 0.05",
    ),
    Bad(
        "one airline worse",
        "carrier C upside down, 606 rows",
        lenient(weights(**GOOD, signal_c=-1.5)),
        "slices: carrier",
        "C by",
    ),
    Bad("small airline worse", "carrier C upside down, about 240 rows", airlines(SMALL), "slices: airline", "C by"),
    Bad(
        "five small ones worse",
        "carriers C0 to C4 upside down, about 60 rows each",
        airlines(FIVE),
        "slices: airline",
        "C0, C1, C2, C3, C4",
    ),
    Bad(
        "mean of the batch",
        "subtracts it from the signal",
        content(node("ReduceMean", "signal", "mean", axes=[0]), node("Sub", "signal mean", "logit"), SIGMOID),
        "batch",
        "rows alone",
    ),
    Bad(
        "order of the batch",
        "adds up the rows before each row",
        content(
            node("CumSum", "signal axis", "sum"),
            node("Mul", "sum small", "drift"),
            node("Add", "signal drift", "logit"),
            SIGMOID,
            axis=np.int64(0),
            small=np.float32(0.01),
        ),
        "batch",
        "in another batch and order",
    ),
    Bad(
        "chance",
        "dropout left on: other scores each time",
        content(node("RandomNormalLike", "signal", "luck", scale=0.3), node("Add", "signal luck", "logit"), SIGMOID),
        "batch",
        "the same each time",
    ),
    Bad(
        "batches of one size",
        "takes 6,000 rows and no other number",
        content(node("Reshape", "signal shape", "logit"), SIGMOID, shape=np.array([6000, 1])),
        "batch",
        "not a row alone",
    ),
    Bad(
        "one score for a batch",
        "answers with the mean",
        content(node("ReduceMean", "signal", "logit", keepdims=0), SIGMOID),
        "prerequisites",
        "1 numbers for 6,000 rows",
    ),
    Bad("reads the label", "its input is `late`", peek, "prerequisites", f"reads {TARGET}, which is the label"),
    Bad("leak", "a column that is the label, nearly", leak(0.2), "plausible: inputs", "arr_time (AUC 0.9", "warn"),
    Bad("leak, better at once", "the same, against the champion", leak(0.2), "plausible: auc", "on arr_time", "warn"),
    Bad("weak leak", "a column that depends on the label", leak(1.0), "plausible: auc", "on arr_time", "warn"),
    Bad("label in minutes", "the label is 0 or 60", minutes, "prerequisites", "the label late has type Int"),
    Bad("not a model", "a file of another kind", lambda p: p.ship_file(b"PK\3\4"), "prerequisites", "cannot be run"),
    Bad(
        "weights elsewhere",
        "in a file beside the model, which no digest covers",
        content(node("Mul", "signal w", "logit"), SIGMOID, w=ONE, external="w"),
        "prerequisites",
        "in a file beside it",
    ),
    Bad(
        "unknown feature",
        "reads a column that features/ lacks",
        weights(strength=1.0),
        "prerequisites",
        "reads the feature 'strength'",
    ),
    Bad("swapped", "not the file that dvc.lock names", swapped, "evaluation", "not the file that dvc.lock records"),
    Bad(
        "predictions",
        "the recorded ones are not its own",
        doctored,
        "predictions",
        "not hold what the model itself predicts",
    ),
    Bad("rows leave the data", "the holdout was delivered without hard rows", pruned, "data", "269 are gone", "warn"),
    Bad("labels in the data", "delays were rewritten", turned, "data", "have another label in the data", "warn"),
    Bad("worse features", "they know the weather 19 hours later", late_weather, "champion: auc", "worse"),
    Bad("worse features, new month", "the same on a new holdout", late_weather_in_july, "champion: auc", "worse"),
    Bad(
        "rows vanish",
        "features leave out what is hard",
        vanished,
        "coverage",
        "labelled rows of 2013-06 have no features",
    ),
    Bad("another label", "late is an hour late", relabelled, "label", "late_minutes (15 → 60)", "warn"),
    Bad("creep", "the fifth small loss", creeping, "anchor: auc", "worse"),
    Bad("by hand", "no CI run trained it", handmade, "provenance", "no training of CI made what it names", "warn"),
    Bad("heavy", "larger than the limit", limits(cost=GATES["cost"] | {"model_mb": 1e-6}), "model MB", "too heavy"),
    Bad(
        "slow",
        "slower than the limit",
        limits(cost=GATES["cost"] | {"latency_p95_ms": 1e-6}),
        "p95 ms",
        "more than 1e-06",
    ),
    Bad(
        "equal, unproven",
        "the margin is too narrow for 30 days",
        limits(champion={"margins": {"auc": 0.0002}}),
        "champion: auc",
        "values of date) are too few",
    ),
]


def gate_check(bad: Bad, project: Project) -> Check | None:
    """Ship the model and return the check in question; None if the gate has no such check."""
    bad.ship(project)
    return next((check for check in project.gate().checks if check.name == bad.check), None)


def lines(folder: Path) -> Iterator[str]:
    """Yield the table line by line, as the models are judged."""
    yield "| Model | What is wrong | Result | Check | Its sentence |\n| --- | --- | --- | --- | --- |"
    new = create_project(folder / "new")
    champion = copy(new, folder / "champion")
    ship_champion(champion)
    for number, bad in enumerate(MODELS):
        with redirect_stdout(io.StringIO()):
            check = gate_check(bad, copy(champion, folder / str(number)))
        cells = (check.result, check.name, " ".join(check.why.split())) if check else ("missed", bad.check, "")
        expected = check is not None and check.result == bad.result and bad.words in check.why
        yield f"| {bad.name} | {bad.wrong} | {' | '.join(cells)}{'' if expected else ' **(not as expected)**'} |"


def ship_champion(project: Project) -> None:
    """Commit a good model on main, push it, and create a branch."""
    project.ship(**GOOD)
    project.commit("The first model")
    project.dvc("push")
    project.sh("git", "switch", "--quiet", "--create", "work")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        unexpected = 0
        for line in lines(Path(home)):
            print(line, flush=True)
            unexpected += "**(not as expected)**" in line
    print(f"\n{len(MODELS)} bad models, {len(MODELS) - unexpected} reported by the check for them")
    sys.exit(bool(unexpected))
