"""Helpers for training a model in PyTorch, which a team's `train` may use.

- `Encoding` learns vocabularies and quantiles, and turns columns into tensors;
- `Run` sets up seeds, device and processes, and loops over epochs with checkpoints;
- `Batches` yields shuffled batches, from memory or from several parts in turn;
- `Dropout` is faster than PyTorch's on a CPU;
- `to_onnx` exports one ONNX file that takes the feature columns by name.

If torch.distributed is initialised, each process takes its share of every batch and gradients are averaged: the batches
are those of a single process, and only the dropout differs.

No other module of the engine imports this one, because it imports PyTorch.
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import onnx
import polars as pl
import torch
from onnx import TensorProto, compose, helper
from torch import Tensor, distributed, nn
from torch.nn.functional import dropout

from .project import Compute, Dataset

Tensors = tuple[Tensor, ...]  # of N rows each

BYTE_LEVELS = 256
QUANTILE_ROWS = 500_000  # at most, from which quantiles are computed
OPSET, ML_OPSET = 20, 4


class Dropout(nn.Module):
    """Set a share of the values to 0 in training, and scale the others up to keep the mean (Srivastava et al. 2014).

    On a CPU it draws one byte per value, so the share is rounded to a multiple of 1/256. PyTorch draws 64 bits per
    value, one after the other, which takes a fifth of a training.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share, self.dropped = share, round(share * BYTE_LEVELS)

    def forward(self, values: Tensor) -> Tensor:
        """Return `values` with dropout; on a CPU in place, so no earlier operation may need them for its gradient."""
        if not (self.training and self.dropped):
            return values
        if not values.is_cpu:
            return dropout(values, self.share)
        random = torch.empty(-(-values.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        random = random.view(torch.uint8)[: values.numel()].view(values.shape)
        kept = torch.ge(random, self.dropped, out=torch.empty_like(values))  # as floats: Booleans take 8 times as long
        return values.mul_(kept.mul_(BYTE_LEVELS / (BYTE_LEVELS - self.dropped)))


@dataclass(frozen=True)
class Encoding:
    """Names and order of the inputs: the vocabulary of each category, and the numbers with their quantiles.

    A word is encoded as its index in the vocabulary, counted from 1; 0 is unknown. `edges` has the shape (F, bins + 1).
    """

    vocabularies: dict[str, list[str]]
    numbers: list[str]
    edges: Tensor

    @classmethod
    def learn(cls, data: Dataset, *, bins: int, minimum_category_rows: int) -> "Encoding":
        """Return the encoding of the rows with a target; values in fewer than `minimum_category_rows` rows are unknown.

        Quantiles are computed from every n-th row, from `QUANTILE_ROWS` rows at most.
        """
        (categories, numbers), table = data.inputs, data.rows
        vocabularies = {}
        for name in categories:
            counted = table.select(pl.col(name).drop_nulls()).group_by(name).len().collect(engine="streaming")
            vocabularies[name] = sorted(counted.filter(pl.col("len") >= minimum_category_rows)[name])
        rows = table.select(pl.len()).collect(engine="streaming").item()
        sample = table.select(numbers).gather_every(max(-(-rows // QUANTILE_ROWS), 1)).collect(engine="streaming")
        edges = np.zeros((len(numbers), bins + 1), np.float32)
        for row, name in enumerate(numbers):
            edges[row] = quantiles(sample[name].drop_nulls().to_numpy(), bins)
        return cls(vocabularies, numbers, torch.from_numpy(edges))

    @property
    def sizes(self) -> list[int]:
        """Number of values of each category, the unknown one included."""
        return [len(words) + 1 for words in self.vocabularies.values()]

    def categories(self, table: pl.DataFrame) -> Tensor:
        """Return indices in the vocabularies, shape (N, C)."""
        return matrix(
            table,
            [
                pl.col(name).replace_strict(words, range(1, len(words) + 1), default=0, return_dtype=pl.Int32)
                for name, words in self.vocabularies.items()
            ],
            np.int32,
        )

    def values(self, table: pl.DataFrame) -> Tensor:
        """Return numbers, shape (N, F); NaN if missing."""
        return matrix(
            table, [pl.col(name).cast(pl.Float32).fill_null(float("nan")) for name in self.numbers], np.float32
        )


def matrix(table: pl.DataFrame, columns: list[pl.Expr], dtype: type[np.generic]) -> Tensor:
    """Return columns side by side, shape (N, columns); there may be no column."""
    values = table.select(columns).to_numpy(writable=True).astype(dtype, order="C", copy=False)
    return torch.from_numpy(values.reshape(table.height, len(columns)))


def quantiles(values: np.ndarray, bins: int) -> np.ndarray:
    """Return `bins + 1` increasing edges; if values repeat, the distinct quantiles are spread over all bins."""
    values = values[np.isfinite(values)]
    if len(values) == 0:
        values = np.zeros(1)
    distinct = np.unique(np.quantile(values.astype(np.float64), np.linspace(0, 1, bins + 1)))
    if len(distinct) == 1:
        distinct = np.array([distinct[0], distinct[0] + 1])
    return np.interp(np.linspace(0, len(distinct) - 1, bins + 1), np.arange(len(distinct)), distinct)


class Stateful(Protocol):
    """A network, optimiser or schedule."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that training changes."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Restore a state."""


@dataclass
class Epoch:
    """One pass over the rows, counted from 1; call `add` with the loss of each batch."""

    number: int
    _total: Tensor
    _batches: int = field(default=0)

    def add(self, loss: Tensor) -> None:
        """Add the loss of a batch."""
        self._total += loss.detach()
        self._batches += 1

    def loss(self, processes: int) -> float:
        """Return the mean loss over the batches of all processes."""
        if processes > 1:
            distributed.all_reduce(self._total.div_(processes))
        return float(self._total.item() / max(self._batches, 1))


class Run:
    """One training: device, rank among the processes, random generators, and the state after each epoch.

    The generator `shuffle` is the same in all processes, unlike that of the dropout. A training that resumes from a
    checkpoint ends with the same result as one that was never stopped.
    """

    def __init__(self, compute: Compute, seed: int) -> None:
        torch.manual_seed(seed)
        torch.set_num_threads(compute.threads)
        several = distributed.is_initialized()
        self.rank, self.processes = (distributed.get_rank(), distributed.get_world_size()) if several else (0, 1)
        self.device = _device(compute.device)
        self.shuffle = torch.Generator().manual_seed(seed)
        self._compute, self._seed = compute, seed
        # The module with the generator that dropout draws from.
        self._random: Any = torch if self.device.type == "cpu" else torch.get_device_module(self.device)

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return the network; with several processes, wrapped so that their gradients are averaged."""
        if self.processes == 1:
            return network
        return nn.parallel.DistributedDataParallel(network, forward_sync_buffers=False, gradient_as_bucket_view=True)

    def autocast(self) -> torch.autocast:
        """Return the context of the precision that infra.yaml sets."""
        enabled = self._compute.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def epochs(self, count: int, **parts: Stateful) -> Iterator[Epoch]:
        """Yield each epoch that is not done yet; after each, report its mean loss and save a checkpoint.

        `parts` are the network, the optimiser and whatever else training changes. They are restored from the checkpoint
        first.
        """
        torch.manual_seed(self._seed + self.rank)
        done = self._load(parts)
        for figures in done:
            self._compute.progress(figures)
        for number in range(len(done) + 1, count + 1):
            epoch = Epoch(number, torch.zeros((), device=self.device))
            yield epoch
            done.append({"epoch": number, "epochs": count, "train_loss": epoch.loss(self.processes)})
            self._compute.progress(done[-1])
            self._save(done, parts)

    def _load(self, parts: Mapping[str, Stateful]) -> list[dict[str, float]]:
        """Restore the state from the checkpoint, and return the figures of the epochs that are done."""
        checkpoint = self._compute.checkpoint
        saved = [checkpoint.load() if checkpoint and self.rank == 0 else None]
        if self.processes > 1:
            distributed.broadcast_object_list(saved)
        if saved[0] is None:
            return []
        state = torch.load(io.BytesIO(saved[0]), weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        self.shuffle.set_state(state["shuffle"])
        self._random.set_rng_state(state["random"][self.rank])
        figures: list[dict[str, float]] = state["figures"]
        return figures

    def _save(self, figures: list[dict[str, float]], parts: Mapping[str, Stateful]) -> None:
        """Save the state, with the generators of all processes; the first process writes it."""
        if self._compute.checkpoint is None:
            return
        random = [self._random.get_rng_state()] * self.processes
        if self.processes > 1:
            distributed.all_gather_object(random, random[0])
        if self.rank > 0:
            return
        state: Mapping[str, Any] = {name: part.state_dict() for name, part in parts.items()}
        buffer = io.BytesIO()
        torch.save({**state, "shuffle": self.shuffle.get_state(), "random": random, "figures": figures}, buffer)
        self._compute.checkpoint.save(buffer.getvalue())


def _device(name: str) -> torch.device:
    """Return the device of that name; `auto` is an accelerator if there is one."""
    if name != "auto":
        return torch.device(name)
    accelerator = torch.accelerator.current_accelerator()
    return accelerator if accelerator and torch.accelerator.is_available() else torch.device("cpu")


class Batches:
    """The rows with a target as batches of tensors; each iteration over them is one epoch.

    `encode` returns the tensors of a table. A batch holds these tensors and the target, shape (rows,): float32, or
    int64 for classes. A batch of `rows` rows is divided among the processes. A dataset of one part stays in memory;
    several parts are read in turn.
    """

    def __init__(self, data: Dataset, encode: Callable[[pl.DataFrame], Tensors], run: Run, rows: int) -> None:
        self._data, self._encode, self._run = data, encode, run
        self.rows = min(rows, data.count) // run.processes * run.processes
        self._in_memory = self._read(data.parts[0]) if len(data.parts) == 1 else None

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return self._data.count // self.rows

    def __iter__(self) -> Iterator[Tensors]:
        """Yield one shuffled epoch; rows that do not fill the last batch are dropped."""
        share, shuffle = slice(self._run.rank, None, self._run.processes), self._run.shuffle
        rest: Tensors | None = None  # rows of the parts before, which filled no batch
        for part in self._parts():
            columns = part if rest is None else tuple(torch.cat(pair) for pair in zip(rest, part, strict=True))
            count = len(columns[-1])
            order = torch.randperm(count, generator=shuffle).to(self._run.device)
            whole = count // self.rows * self.rows
            for batch in order[:whole].view(-1, self.rows)[:, share]:
                yield tuple(column.index_select(0, batch) for column in columns)
            rest = tuple(column[order[whole:]] for column in columns)

    def _parts(self) -> Iterator[Tensors]:
        if self._in_memory:
            yield self._in_memory
            return
        for number in torch.randperm(len(self._data.parts), generator=self._run.shuffle).tolist():
            yield self._read(self._data.parts[number])

    def _read(self, part: pl.LazyFrame) -> Tensors:
        target, (categories, numbers) = self._data.target, self._data.inputs
        rows = part.select(*categories, *numbers, target).filter(pl.col(target).is_not_null()).collect()
        columns = *self._encode(rows), torch.from_numpy(self._data.targets(rows[target]))
        return tuple(column.to(self._run.device) for column in columns)


def to_onnx(network: nn.Module, encoding: Encoding) -> bytes:
    """Return the bytes of an ONNX file that encodes columns as `encoding` does, and feeds them to the network.

    The network takes categories (N, C), integers, and numbers (N, F), NaN if missing, and returns scores: shape (N,),
    or (N, width) if the task predicts several numbers. Each input of the file is a feature column by name, shape
    (N, 1); its one output has the shape of the scores.

    A column may have any name, because all other names in the graph get a prefix with which no column begins. The
    output is named `score`, unless a column has that name.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it logs optional packages that are not installed
    rows = torch.export.Dim("rows", min=1)
    example = (torch.zeros(2, len(encoding.vocabularies), dtype=torch.int64), torch.zeros(2, len(encoding.numbers)))
    with warnings.catch_warnings(
        category=UserWarning, action="ignore"
    ):  # of two inputs that share a dimension, as intended
        program = torch.onnx.export(
            network.eval(),
            example,
            input_names=["categories", "numbers"],
            output_names=["score"],
            dynamic_shapes=({0: rows}, {0: rows}),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:  # only with options that are not used here
        raise RuntimeError("torch exported no program")
    core = program.model_proto
    clean(core)
    own = prefix([*encoding.vocabularies, *encoding.numbers])
    compose.add_prefix(core, own, inplace=True)
    edges = [(f"{own}{name}",) * 2 for name in ("categories", "numbers")]
    joined = compose.merge_models(columns(encoding, core.ir_version, own), core, edges)
    if "score" not in (*encoding.vocabularies, *encoding.numbers):
        rename_output(joined, "score")
    onnx.checker.check_model(joined, full_check=True)
    return bytes(joined.SerializeToString(deterministic=True))


def prefix(columns: Sequence[str]) -> str:
    """Return "graph_", with as many more underscores as it takes that no column begins with it."""
    start = "graph_"
    while any(name.startswith(start) for name in columns):
        start += "_"
    return start


def rename_output(model: onnx.ModelProto, name: str) -> None:
    """Rename the one output, wherever the graph refers to it."""
    (output,) = model.graph.output
    for node in model.graph.node:
        node.input[:] = [name if edge == output.name else edge for edge in node.input]
        node.output[:] = [name if edge == output.name else edge for edge in node.output]
    output.name = name


def columns(encoding: Encoding, ir_version: int, own: str) -> onnx.ModelProto:
    """Return the graph that turns columns into `categories` and `numbers`; all its own names begin with `own`."""
    inputs, nodes = [], []
    for name, words in encoding.vocabularies.items():
        inputs.append(helper.make_tensor_value_info(name, TensorProto.STRING, ["rows", 1]))
        # The operator needs at least one key: the empty string, which is an unknown value in any case.
        keys, values = ["", *words], list(range(len(words) + 1))
        nodes.append(
            helper.make_node(
                "LabelEncoder",
                [name],
                [f"{own}place_{name}"],
                domain="ai.onnx.ml",
                keys_strings=keys,
                values_int64s=values,
                default_int64=0,
            )
        )
    inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 1]) for name in encoding.numbers]
    places = [f"{own}place_{name}" for name in encoding.vocabularies]
    categories, numbers = f"{own}categories", f"{own}numbers"
    matrices = [(places, categories, TensorProto.INT64), (encoding.numbers, numbers, TensorProto.FLOAT)]
    matrices.sort(key=lambda matrix: not matrix[0])
    for names, joined, dtype in matrices:
        nodes += side_by_side(names, joined, dtype, like=matrices[0][1], own=own)
    outputs = [
        helper.make_tensor_value_info(categories, TensorProto.INT64, ["rows", len(encoding.vocabularies)]),
        helper.make_tensor_value_info(numbers, TensorProto.FLOAT, ["rows", len(encoding.numbers)]),
    ]
    graph = helper.make_graph(nodes, "columns", inputs, outputs)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def side_by_side(names: list[str], joined: str, dtype: int, *, like: str, own: str) -> list[onnx.NodeProto]:
    """Return nodes that join columns to a matrix (rows, names); without columns, an empty one as long as `like`."""
    if names:
        return [helper.make_node("Concat", names, [joined], axis=1)]
    nothing, none = f"{own}nothing", f"{own}none"
    return [
        helper.make_node("Constant", [], [nothing], value=helper.make_tensor(nothing, TensorProto.INT64, [0], [])),
        helper.make_node("Gather", [like, nothing], [none], axis=1),
        helper.make_node("Cast", [none], [joined], to=dtype),
    ]


def clean(model: onnx.ModelProto) -> None:
    """Remove stack traces and paths, so that the same training gives the same bytes wherever it runs."""
    del model.metadata_props[:]
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
