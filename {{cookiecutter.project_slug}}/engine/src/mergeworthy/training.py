"""What a model in PyTorch is trained with: encodings of columns, batches, devices and processes, checkpoints, ONNX.

A team's `train` uses what it needs of it. Nothing else in the engine imports it, because it imports PyTorch.
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

from .interface import Compute, Dataset

# DOC training.dropout: Dropout (Srivastava et al. 2014) that is cheap on a CPU, where torch's own takes a fifth of a
# training.

LEVELS = 256  # of a byte


class Dropout(nn.Module):
    """Set a share of the values to 0 while training, and scale the others up to keep the mean.

    On a CPU a value costs a byte of the generator and the share is a whole number of 256ths; torch draws 64 bits for
    each, one after the other.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share, self.dropped = share, round(share * LEVELS)

    def forward(self, values: Tensor) -> Tensor:
        """Give the same tensor, changed, on a CPU; no gradient of what made it may need its values."""
        if not (self.training and self.dropped):
            return values
        if not values.is_cpu:
            return dropout(values, self.share)
        drawn = torch.empty(-(-values.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        drawn = drawn.view(torch.uint8)[: values.numel()].view(values.shape)
        kept = torch.ge(drawn, self.dropped, out=torch.empty_like(values))  # no booleans: they cost eight times that
        return values.mul_(kept.mul_(LEVELS / (LEVELS - self.dropped)))


# DOC training.encoding: How columns become tensors: vocabularies and quantiles learned from the training rows.

SAMPLE = 500_000  # rows, of a table that has more


@dataclass(frozen=True)
class Encoding:
    """Names and order of the inputs: each category's vocabulary, and the numbers with their quantiles.

    A word is encoded as its place in the vocabulary, counted from 1; 0 is unknown. `edges` has the shape (F, bins + 1).
    """

    vocabularies: dict[str, list[str]]
    numbers: list[str]
    edges: Tensor

    @classmethod
    def learn(cls, data: Dataset, *, bins: int, minimum_category_rows: int) -> "Encoding":
        """Learn vocabularies and quantiles from the rows with a target; values in fewer rows than that stay unknown.

        Quantiles are those of every n-th row, so that there are no more than `SAMPLE`.
        """
        (categories, numbers), table = data.inputs, data.rows
        vocabularies = {}
        for name in categories:
            counted = table.select(pl.col(name).drop_nulls()).group_by(name).len().collect(engine="streaming")
            vocabularies[name] = sorted(counted.filter(pl.col("len") >= minimum_category_rows)[name])
        rows = table.select(pl.len()).collect(engine="streaming").item()
        sample = table.select(numbers).gather_every(max(-(-rows // SAMPLE), 1)).collect(engine="streaming")
        edges = np.zeros((len(numbers), bins + 1), np.float32)
        for row, name in enumerate(numbers):
            edges[row] = quantiles(sample[name].drop_nulls().to_numpy(), bins)
        return cls(vocabularies, numbers, torch.from_numpy(edges))

    @property
    def sizes(self) -> list[int]:
        """How many values each category has, the unknown one included."""
        return [len(words) + 1 for words in self.vocabularies.values()]

    def categories(self, table: pl.DataFrame) -> Tensor:
        """Return places in the vocabularies, shape (N, C)."""
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
    """Return columns side by side, shape (N, columns), which may be none."""
    values = table.select(columns).to_numpy().astype(dtype, order="C", copy=False)
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


# DOC training.run: One training: its device, its place among several processes, its random generators and its state
# after each epoch. If torch.distributed was initialised each process takes its share of every batch, and gradients
# are averaged: the batches are those of a single process, and only the dropout differs. A training that goes on from
# a checkpoint ends as if nothing had happened.


class Stateful(Protocol):
    """Network, optimiser or schedule."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes in training."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take it back."""


@dataclass
class Epoch:
    """One pass over the rows, counted from 1; `add` takes the loss of each batch."""

    number: int
    _total: Tensor
    _batches: int = field(default=0)

    def add(self, loss: Tensor) -> None:
        """Count a batch."""
        self._total += loss.detach()
        self._batches += 1

    def loss(self, processes: int) -> float:
        """Return the mean loss over the batches of all processes."""
        if processes > 1:
            distributed.all_reduce(self._total.div_(processes))
        return float(self._total.item() / max(self._batches, 1))


class Run:
    """Seeds PyTorch, and knows device and processes; `shuffle` is the same in all processes, unlike the dropout."""

    def __init__(self, compute: Compute, seed: int) -> None:
        torch.manual_seed(seed)
        torch.set_num_threads(compute.threads)
        joined = distributed.is_initialized()
        self.rank, self.processes = (distributed.get_rank(), distributed.get_world_size()) if joined else (0, 1)
        self.device = _device(compute.device)
        self.shuffle = torch.Generator().manual_seed(seed)
        self._compute, self._seed = compute, seed
        # The generator that dropout draws from.
        self._random: Any = torch if self.device.type == "cpu" else torch.get_device_module(self.device)

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return the network such that the gradients of all processes are averaged, if there are several."""
        if self.processes == 1:
            return network
        return nn.parallel.DistributedDataParallel(network, forward_sync_buffers=False, gradient_as_bucket_view=True)

    def autocast(self) -> torch.autocast:
        """Return the context in which infra.yaml's precision holds."""
        enabled = self._compute.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def epochs(self, count: int, **parts: Stateful) -> Iterator[Epoch]:
        """Yield each epoch that is still to be done; report its mean loss, and save `parts`, once it is done.

        `parts` are network, optimiser and whatever else changes: they are restored from the checkpoint first.
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
        """Restore the state, and return the figures of the epochs that are done."""
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
        """Save everything, with the generators of all processes; the first process writes."""
        if self._compute.checkpoint is None:
            return
        random = [self._random.get_rng_state()] * self.processes
        if self.processes > 1:
            distributed.all_gather_object(random, random[0])
        if self.rank > 0:
            return
        state: Mapping[str, Any] = {name: part.state_dict() for name, part in parts.items()}
        written = io.BytesIO()
        torch.save({**state, "shuffle": self.shuffle.get_state(), "random": random, "figures": figures}, written)
        self._compute.checkpoint.save(written.getvalue())


def _device(name: str) -> torch.device:
    """Return the device asked for; `auto` is an accelerator if there is one."""
    if name != "auto":
        return torch.device(name)
    found = torch.accelerator.current_accelerator()
    return found if found and torch.accelerator.is_available() else torch.device("cpu")


# DOC training.batches: Training rows as tensors, batch by batch: one part of them in memory for good, or several in
# turn.

Tensors = tuple[Tensor, ...]  # of N rows each


class Batches:
    """The rows with a target, one epoch for each iteration.

    `encode` returns the tensors of a table; each batch holds these and the target, as float32 of shape (rows,). A batch
    has `rows` rows, less this process's share of a remainder; with several processes each gets its share of it.
    """

    def __init__(self, data: Dataset, encode: Callable[[pl.DataFrame], Tensors], run: Run, rows: int) -> None:
        self._data, self._encode, self._run = data, encode, run
        self.rows = min(rows, data.count) // run.processes * run.processes
        self._kept = self._read(data.parts[0]) if len(data.parts) == 1 else None

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return self._data.count // self.rows

    def __iter__(self) -> Iterator[Tensors]:
        """Yield one shuffled epoch; rows that do not fill the last batch are dropped."""
        share, shuffle = slice(self._run.rank, None, self._run.processes), self._run.shuffle
        left: Tensors | None = None
        for read in self._parts():
            columns = read if left is None else tuple(torch.cat(pair) for pair in zip(left, read, strict=True))
            count = len(columns[-1])
            order = torch.randperm(count, generator=shuffle).to(self._run.device)
            whole = count // self.rows * self.rows
            for batch in order[:whole].view(-1, self.rows)[:, share]:
                yield tuple(column.index_select(0, batch) for column in columns)
            left = tuple(column[order[whole:]] for column in columns)

    def _parts(self) -> Iterator[Tensors]:
        if self._kept:
            yield self._kept
            return
        for number in torch.randperm(len(self._data.parts), generator=self._run.shuffle).tolist():
            yield self._read(self._data.parts[number])

    def _read(self, part: pl.LazyFrame) -> Tensors:
        target, (categories, numbers) = self._data.target, self._data.inputs
        known = part.select(*categories, *numbers, target).filter(pl.col(target).is_not_null())
        rows = known.collect()
        columns = *self._encode(rows), torch.from_numpy(rows[target].to_numpy()).float()
        return tuple(column.to(self._run.device) for column in columns)


# DOC training.export: One ONNX file that takes the feature columns by name: strings are looked up and numbers
# normalised inside.

OPSET, ML_OPSET = 20, 4


def to_onnx(network: nn.Module, encoding: Encoding) -> bytes:
    """Return the ONNX file of a network that scores categories (N, C), integers, and numbers (N, F), NaN if missing.

    Every input of the file is a column, shape (N, 1); its one output has the shape (N,). A column may have any name:
    whatever else the graph names begins as no column does. The output is called `score` unless a column is.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it lists the packages that it can do without
    rows = torch.export.Dim("rows", min=1)
    example = (torch.zeros(2, len(encoding.vocabularies), dtype=torch.int64), torch.zeros(2, len(encoding.numbers)))
    with warnings.catch_warnings(category=UserWarning, action="ignore"):  # that both inputs have as many rows is meant
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
    if program is None:  # only ever with options that are not used here
        raise RuntimeError("torch exported no program")
    core = program.model_proto
    clean(core)
    own = prefix([*encoding.vocabularies, *encoding.numbers])
    compose.add_prefix(core, own, inplace=True)
    edges = [(f"{own}{name}",) * 2 for name in ("categories", "numbers")]
    joined = compose.merge_models(columns(encoding, core.ir_version, own), core, edges)
    if "score" not in (*encoding.vocabularies, *encoding.numbers):
        call_output(joined, "score")
    onnx.checker.check_model(joined, full_check=True)
    return bytes(joined.SerializeToString(deterministic=True))


def prefix(columns: Sequence[str]) -> str:
    """Return the shortest run of underscores, behind "graph", with which no column begins."""
    found = "graph_"
    while any(name.startswith(found) for name in columns):
        found += "_"
    return found


def call_output(model: onnx.ModelProto, name: str) -> None:
    """Give the one output another name, wherever the graph speaks of it."""
    (output,) = model.graph.output
    for node in model.graph.node:
        node.input[:] = [name if edge == output.name else edge for edge in node.input]
        node.output[:] = [name if edge == output.name else edge for edge in node.output]
    output.name = name


def columns(encoding: Encoding, ir_version: int, own: str) -> onnx.ModelProto:
    """Return the graph before the network, from columns to `categories` and `numbers`; `own` is before its names."""
    inputs, nodes = [], []
    for name, words in encoding.vocabularies.items():
        inputs.append(helper.make_tensor_value_info(name, TensorProto.STRING, ["rows", 1]))
        # Without any word the operator is not valid: the empty string is the unknown one anyhow.
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
    """Columns as one matrix, shape (rows, names); where there are none, an empty one as long as the matrix `like`."""
    if names:
        return [helper.make_node("Concat", names, [joined], axis=1)]
    nothing, none = f"{own}nothing", f"{own}none"
    return [
        helper.make_node("Constant", [], [nothing], value=helper.make_tensor(nothing, TensorProto.INT64, [0], [])),
        helper.make_node("Gather", [like, nothing], [none], axis=1),
        helper.make_node("Cast", [none], [joined], to=dtype),
    ]


def clean(model: onnx.ModelProto) -> None:
    """Remove stack traces and paths: the same training must give the same bytes wherever it runs."""
    del model.metadata_props[:]
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
