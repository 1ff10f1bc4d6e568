"""
Checks an ONNX file before the runtime loads it: for references to other files, operators outside the standard, and operators of control
flow.

The worker does not import `onnx`, a package with a history of path-traversal advisories. The few fields that matter are read with protobuf
by a schema that declares only these fields; the rest of the file is skipped as unknown. Field numbers: onnx/onnx.proto, IR version 3 and
later.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

STANDARD_DOMAINS = frozenset({"", "ai.onnx"})
# Operators that run a graph of their own, perhaps without end. A network for tagging needs none of them.
CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})

_STRING, _MESSAGE, _INT32 = 9, 11, 5
# message -> (field, number, repeated, type or message name)
_SCHEMA: dict[str, tuple[tuple[str, int, bool, int | str], ...]] = {
    "Entry": (("key", 1, False, _STRING), ("value", 2, False, _STRING)),
    "OperatorSet": (("domain", 1, False, _STRING),),
    "Tensor": (("name", 8, False, _STRING), ("external_data", 13, True, "Entry"), ("data_location", 14, False, _INT32)),
    "SparseTensor": (("values", 1, False, "Tensor"), ("indices", 2, False, "Tensor")),
    "Attribute": (
        ("t", 5, False, "Tensor"),
        ("g", 6, False, "Graph"),
        ("tensors", 10, True, "Tensor"),
        ("graphs", 11, True, "Graph"),
        ("sparse_tensor", 22, False, "SparseTensor"),
        ("sparse_tensors", 23, True, "SparseTensor"),
    ),
    "Node": (("op_type", 4, False, _STRING), ("attribute", 5, True, "Attribute"), ("domain", 7, False, _STRING)),
    "Graph": (
        ("node", 1, True, "Node"),
        ("initializer", 5, True, "Tensor"),
        ("sparse_initializer", 15, True, "SparseTensor"),
    ),
    "Function": (("node", 7, True, "Node"), ("opset_import", 9, True, "OperatorSet")),
    "Model": (
        ("graph", 7, False, "Graph"),
        ("opset_import", 8, True, "OperatorSet"),
        ("metadata_props", 14, True, "Entry"),
        ("functions", 25, True, "Function"),
    ),
}


def _model_class() -> type[Any]:
    file = descriptor_pb2.FileDescriptorProto(name="tagstream_onnx.proto", package="tagstream_onnx", syntax="proto2")
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, number, repeated, kind in fields:
            added = message.field.add(name=field, number=number, label=3 if repeated else 1)
            if isinstance(kind, str):
                added.type, added.type_name = _MESSAGE, f".tagstream_onnx.{kind}"
            else:
                added.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    model: type[Any] = message_factory.GetMessageClass(pool.FindMessageTypeByName("tagstream_onnx.Model"))
    return model


_Model = _model_class()


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSummary:
    """The metadata, operators, their domains and external tensors of one ONNX file, and its number of nodes."""

    metadata: dict[str, str]
    operators: frozenset[str]
    domains: frozenset[str]
    external_tensors: tuple[str, ...]
    nodes: int


def summarise(data: bytes) -> GraphSummary:
    """
    Read the operators, their domains, external tensors and metadata of a serialised ONNX model.

    Raises:
        ValueError: The bytes are not an ONNX model.
    """
    try:
        model = _Model.FromString(data)
    except DecodeError as error:
        msg = f"not an ONNX model: {error}"
        raise ValueError(msg) from error
    nodes = list(_nodes(model))
    if not nodes:
        msg = "not an ONNX model: it holds no operator"
        raise ValueError(msg)
    imported = {entry.domain for entry in model.opset_import}
    return GraphSummary(
        metadata={entry.key: entry.value for entry in model.metadata_props},
        operators=frozenset(node.op_type for node in nodes),
        domains=frozenset(imported | {node.domain for node in nodes}),
        external_tensors=tuple(tensor.name for tensor in _tensors(model) if tensor.external_data or tensor.data_location),
        nodes=len(nodes),
    )


def _graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        yield from _subgraphs(node)


def _subgraphs(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            yield from _graphs(graph)


def _nodes(model: Any) -> Iterator[Any]:
    for graph in _graphs(model.graph):
        yield from graph.node
    for function in model.functions:
        for node in function.node:
            yield node
            for graph in _subgraphs(node):
                yield from graph.node


def _tensors(model: Any) -> Iterator[Any]:
    function_graphs = [graph for function in model.functions for node in function.node for graph in _subgraphs(node)]
    for graph in (*_graphs(model.graph), *function_graphs):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in _nodes(model):
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
