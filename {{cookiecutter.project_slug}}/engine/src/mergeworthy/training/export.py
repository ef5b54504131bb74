"""One ONNX file that takes the feature columns by name: strings are looked up and numbers normalised inside."""

import logging
import warnings
from collections.abc import Sequence

import onnx
import torch
from onnx import TensorProto, compose, helper
from torch import nn

from .encoding import Encoding

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
