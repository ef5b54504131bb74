"""Projects of other tasks than yes or no, with bad models of each, and which check must report it.

Both predict from the same flights as the project of `tests.engine.gate.project`: `MULTI_CLASS` one of three kinds of
flight, the last of which is rare, and `REGRESSION` the delay in minutes with the quantiles 0.1 and 0.9.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import polars as pl
from tests.engine.gate.bad_models import FLOAT, Bad, graph, node
from tests.engine.gate.project import MONTHS, PER_DAY, Project, flights

Content = Mapping[str, Any]
LENIENT = {"margins": {"log_loss": 0.5}}  # so that only the check in question can block it
WIDE = {"margins": {"mae": 10.0}}


@dataclass(frozen=True)
class Sample:
    """A task: its registration and label as code, rows of a month, rules, and the weights of a good model."""

    name: str
    task: str
    label: str
    target: str
    flights: Callable[[str, int], pl.DataFrame]
    gates: Content
    good: Content
    activation: str = ""

    def code(self, name: str, source: str) -> str:
        """Return the code of a file of `tests/engine/gate/ml` for this task."""
        replaced = {
            "Binary(TARGET, label)": self.task,
            "import Binary, Project": f"import {self.task.partition('(')[0]}, Project",
            'TARGET = "late"': f'TARGET = "{self.target}"',
            'pl.col("arr_delay") > params.features.late_minutes': self.label,
        }
        for old, new in replaced.items():
            source = source.replace(old, new)
        return source

    def model(self, **weights: Any) -> bytes:
        """Return the model of linear terms: `bias` and each column's weights hold a number for each output."""
        return linear(self.activation, **(dict(self.good) | weights))


def linear(activation: str, *extra: onnx.NodeProto, bias: Any, **weights: Any) -> bytes:
    """Return activation(bias + sum of weight x column) as ONNX, shape (N, outputs); `extra` nodes turn z into score."""
    constants = {"bias": bias} | {f"w_{name}": weight for name, weight in weights.items()}
    nodes, last = [], "bias"
    for name in weights:
        nodes += [node("Mul", f"{name} w_{name}", f"t_{name}"), node("Add", f"{last} t_{name}", f"s_{name}")]
        last = f"s_{name}"
    if extra:
        nodes += [node("Identity", last, "z"), *extra]
    else:
        nodes.append(node(activation, last, "score", axis=1) if activation else node("Identity", last, "score"))
    tensors = [
        onnx.numpy_helper.from_array(np.asarray(value, np.float32).reshape(1, -1), name)
        for name, value in constants.items()
    ]
    values = [graph.make_tensor_value_info(name, FLOAT, [None, 1]) for name in weights]
    score = graph.make_tensor_value_info("score", FLOAT, None)
    whole = graph.make_graph(nodes, "linear", values, [score], tensors)
    proto = graph.make_model(whole, opset_imports=[graph.make_opsetid("", 17)], ir_version=9)
    return bytes(proto.SerializeToString())


W, B = np.array([-1.4, 0.2, 1.2]), np.array([0.4, 0.6, -1.0])
KINDS = ("early", "on time", "long")


def kinds(month: str, seed: int = 0) -> pl.DataFrame:
    """Return flights whose `arr_delay` is the number of their kind, drawn by the softmax of weights of the signal."""
    table, rng = flights(month, seed), np.random.default_rng(seed + 50)
    shift = rng.normal(scale=0.2, size=MONTHS[month])[np.arange(table.height) // PER_DAY]
    logits = np.outer(table["signal"].to_numpy() + shift, W) + B
    kind = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return table.with_columns(arr_delay=pl.Series(kind, dtype=pl.Int16))


def minutes(month: str, seed: int = 0) -> pl.DataFrame:
    """Return flights whose delay is linear in the signal, with errors of 10 minutes, partly shared by a day."""
    table, rng = flights(month, seed), np.random.default_rng(seed + 50)
    shift = rng.normal(scale=2, size=MONTHS[month])[np.arange(table.height) // PER_DAY]
    delay = 30 + 20 * table["signal"].to_numpy() + shift + rng.normal(scale=10, size=table.height)
    return table.with_columns(arr_delay=pl.Series(delay.round(), dtype=pl.Int16))


RULES: Content = {"bootstrap": {"block": "date"}, "cost": {"model_mb": 1, "latency_p95_ms": 50}}
MULTI_CLASS = Sample(
    name="multi-class",
    task=f"MultiClass(TARGET, label, classes={KINDS})",
    label=f'pl.col("arr_delay").replace_strict([0, 1, 2], {list(KINDS)}, return_dtype=pl.String)',
    target="kind",
    flights=kinds,
    gates=RULES
    | {
        "floors": {"accuracy": {"min": 0.45}, "ece": {"max": 0.1}},
        "beats_baseline": ["log_loss"],
        "champion": {"margins": {"log_loss": 0.02, "macro_f1": 0.04}},
        "slices": {
            "columns": ["carrier", "origin"],
            "metric": "log_loss",
            "margin": 0.05,
            "minimum_rows": 300,
            "target": {"metric": "balanced_accuracy", "margin": 0.1},
        },
        "plausibility": {"jump": {"log_loss": 0.1}},
    },
    good={"signal": W, "bias": B},
    activation="Softmax",
)
SPREAD = 1.2816 * np.sqrt(10**2 + 2**2)  # of the 0.1 and 0.9 quantiles
REGRESSION = Sample(
    name="regression",
    task='Regression(TARGET, label, unit="minutes", quantiles=(0.1, 0.9))',
    label='pl.col("arr_delay")',
    target="minutes",
    flights=minutes,
    gates=RULES
    | {
        "floors": {"skill": {"min": 0.3}, "bias": {"min": -3, "max": 3}, "interval_coverage": {"min": 0.7, "max": 0.9}},
        "beats_baseline": ["mae", "pinball"],
        "champion": {"margins": {"mae": "5%", "pinball": "5%"}},
        "slices": {"columns": ["carrier", "origin"], "metric": "mae", "margin": "10%", "minimum_rows": 300},
        "plausibility": {"jump": {"mae": 3.0}},
    },
    good={"signal": [20, 20, 20], "bias": [30, 30 - SPREAD, 30 + SPREAD]},
)
SAMPLES = (MULTI_CLASS, REGRESSION)


def weights(sample: Sample, **values: Any) -> Callable[[Project], None]:
    """Ship the good model with other weights."""
    return lambda project: project.ship_file(sample.model(**values))


def content(sample: Sample, *nodes: onnx.NodeProto, **values: Any) -> Callable[[Project], None]:
    """Ship the linear terms of the good model, `z`, followed by other nodes that end in `score`."""
    return lambda project: project.ship_file(linear("", *nodes, **(dict(sample.good) | values)))


def with_gates(ship: Callable[[Project], None], **sections: Any) -> Callable[[Project], None]:
    """Do the same with other sections in gates.yaml."""

    def deliver(project: Project) -> None:
        project.gates(**sections)
        ship(project)

    return deliver


def outliers(project: Project) -> None:
    """Ship a model whose number is 500 minutes too large where the signal is strongest, one row in two hundred."""
    model = linear(
        "",
        node("Greater", "signal high", "far"),
        node("Cast", "far", "is_far", to=FLOAT),
        node("Mul", "is_far factor", "extra"),
        node("Add", "z extra", "score"),
        **dict(REGRESSION.good),
    )
    project.ship_file(_with_constants(model, high=2.6, factor=500.0))


def in_hours(project: Project) -> None:
    """Ship a model whose numbers are hours, where the target is minutes."""
    hours = linear("", node("Mul", "z hour", "score"), **dict(REGRESSION.good))
    project.ship_file(_with_constants(hours, hour=1 / 60))


def _with_constants(model: bytes, **values: float) -> bytes:
    proto = onnx.ModelProto.FromString(model)
    for name, value in values.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.float32([[value]]), name))
    return bytes(proto.SerializeToString())


def without_a_class(project: Project) -> None:
    """Deliver a holdout without the rare class."""
    project.deliver("2013-06", kinds("2013-06").filter(pl.col("arr_delay") < 2))
    project.ship_file(MULTI_CLASS.model())


def leak(sample: Sample, noise: float, **weights_: Any) -> Callable[[Project], None]:
    """Add a column that is the target's number with noise, and ship a model that reads it."""

    def ship(project: Project) -> None:
        rng = np.random.default_rng(3)

        def with_leak(table: pl.DataFrame) -> pl.DataFrame:
            target = table[sample.target]
            number = target.replace_strict(list(KINDS), [0, 1, 2]) if target.dtype == pl.String else target
            value = number.to_numpy() + rng.normal(scale=noise, size=table.height)
            return table.with_columns(arr_time=pl.Series(value, dtype=pl.Float32))

        project.rewrite(with_leak)
        project.ship_file(sample.model(**weights_))

    return ship


def ship_wrong_target(sample: Sample, wrong: pl.Expr) -> Callable[[Project], None]:
    """Build features with a target of another kind, and ship the good model."""

    def ship(project: Project) -> None:
        project.rewrite(lambda table: table.with_columns(wrong.alias(sample.target)))
        project.ship_file(sample.model())

    return ship


M, R = MULTI_CLASS, REGRESSION
BAD: dict[str, tuple[Bad, ...]] = {
    M.name: (
        Bad("worse", "noise outweighs the signal", weights(M, signal=0.3 * W, noise=-W), "champion: log_loss", "worse"),
        Bad("constant", "the shares for all", weights(M, signal=0 * W), "sanity", "does not look at its inputs"),
        Bad("upside down", "takes the first for the last", weights(M, signal=-W), "baseline: log_loss", "no better"),
        Bad("NaN", "no score is a number", weights(M, signal=W * np.nan), "sanity", "other scores than"),
        Bad("logits", "not normalised", content(M, node("Identity", "z", "score")), "sanity", "other scores than"),
        Bad("sigmoids", "sums differ", content(M, node("Sigmoid", "z", "score")), "sanity", "other scores than"),
        Bad(
            "two of three classes",
            "gives two numbers a row",
            weights(M, signal=W[:2], bias=B[:2]),
            "prerequisites",
            "MultiClass expects 3 for each",
        ),
        Bad("overconfident", "odds to the power 4", weights(M, signal=4 * W, bias=4 * B), "floor: ece", "above the"),
        Bad(
            "one class swallowed",
            "never says `long`",
            with_gates(weights(M, bias=[*B[:2], -9]), champion=LENIENT),
            "slices: kind",
            "long by",
        ),
        Bad(
            "one airline worse",
            "carrier C upside down",
            with_gates(weights(M, signal_c=-1.6 * W), champion=LENIENT),
            "slices: carrier",
            "C by",
        ),
        Bad(
            "mean of the batch",
            "subtracts it",
            content(
                M,
                node("ReduceMean", "z", "mean", axes=[0]),
                node("Sub", "z mean", "logit"),
                node("Softmax", "logit", "score", axis=1),
            ),
            "batch",
            "rows alone",
        ),
        Bad("a class is missing", "in the holdout", without_a_class, "targets", "kind = long", "warn"),
        Bad(
            "leak",
            "a column is the class, nearly",
            leak(M, 0.1, arr_time=[-9, 0, 9], bias=[6, 2, -12]),
            "plausible: inputs",
            "arr_time (mean AUC of the classes",
            "warn",
        ),
        Bad(
            "unknown class",
            "the label has a name that is no class",
            ship_wrong_target(M, pl.lit("lost")),
            "prerequisites",
            "e.g. 'lost': MultiClass expects one of the classes",
        ),
    ),
    R.name: (
        Bad("worse", "noise outweighs the signal", weights(R, signal=[9] * 3, noise=[9] * 3), "champion: mae", "worse"),
        Bad("constant", "the median for all", weights(R, signal=[0] * 3), "sanity", "does not look at its inputs"),
        Bad("upside down", "sorts backwards", weights(R, signal=[-20] * 3), "baseline: mae", "no better than"),
        Bad("shifted", "twelve minutes late", weights(R, bias=[42, 42 - SPREAD, 42 + SPREAD]), "floor: bias", "above"),
        Bad("in hours", "a sixtieth of the number", in_hours, "baseline: mae", "no better than"),
        Bad("NaN", "no score is a number", weights(R, signal=[np.nan] * 3), "sanity", "other scores than"),
        Bad("infinite", "too large for a float", weights(R, signal=[3e38] * 3, bias=[3e38] * 3), "sanity", "other"),
        Bad("crossed", "the 0.9 quantile is below 0.1", weights(R, bias=[30, 43, 17]), "sanity", "do not cross"),
        Bad(
            "too narrow", "a third of the interval", weights(R, bias=[30, 26, 34]), "floor: interval_coverage", "below"
        ),
        Bad(
            "too wide",
            "three times the interval",
            weights(R, bias=[30, -9, 69]),
            "floor: interval_coverage",
            "above",
        ),
        Bad("outliers", "one row in two hundred is far off", outliers, "champion: mae", "worse"),
        Bad(
            "one airline worse",
            "carrier C upside down",
            with_gates(weights(R, signal_c=[-35] * 3), champion=WIDE),
            "slices: carrier",
            "C by",
        ),
        Bad(
            "mean of the batch",
            "subtracts it",
            content(R, node("ReduceMean", "z", "mean", axes=[0]), node("Sub", "z mean", "score")),
            "batch",
            "rows alone",
        ),
        Bad(
            "one number of three",
            "no quantiles",
            weights(R, signal=[20], bias=[30]),
            "prerequisites",
            "Regression expects 3 for each",
        ),
        Bad(
            "leak",
            "a column is the target, nearly",
            leak(R, 2.0, signal=[0] * 3, arr_time=[1, 1, 1], bias=[0, -2.6, 2.6]),
            "plausible: inputs",
            "arr_time (R²",
            "warn",
        ),
        Bad(
            "text",
            "the label is a text",
            ship_wrong_target(R, pl.lit("late")),
            "prerequisites",
            "e.g. 'late': Regression expects a finite number",
        ),
        Bad(
            "infinite label",
            "one target is infinite",
            ship_wrong_target(R, pl.lit(float("inf"))),
            "prerequisites",
            "e.g. inf: Regression expects a finite number",
        ),
    ),
}
