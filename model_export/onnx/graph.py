"""An ONNX graph that is being changed: nodes are removed and replaced."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from tagstream.model_export.onnx import export


class Graph:
    """The nodes of a file in their order, and the file's constants by name."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes: list[onnx.NodeProto] = list(model.graph.node)
        self.constants = {constant.name: constant for constant in model.graph.initializer}

    def maker(self, value: str, operator: str | None = None) -> onnx.NodeProto | None:
        """Return the node that computes a value; None if there is no such node, or if it has another operator."""
        found = next((node for node in self.nodes if value in node.output), None)
        return found if found is not None and operator in (None, found.op_type) else None

    def users(self, value: str) -> list[onnx.NodeProto]:
        """Return the nodes that read a value."""
        return [node for node in self.nodes if value in node.input]

    def chain(self, start: onnx.NodeProto, *operators: str) -> list[onnx.NodeProto] | None:
        """Return the chain of nodes after `start`, one for each operator; None unless each value has exactly this one reader."""
        found, node = [], start
        for operator in operators:
            users = self.users(node.output[0])
            if [user.op_type for user in users] != [operator]:
                return None
            node = users[0]
            found.append(node)
        return found

    def of(self, operator: str) -> Iterator[onnx.NodeProto]:
        """Return the present nodes of an operator."""
        return iter([node for node in self.nodes if node.op_type == operator])

    def number(self, name: str) -> float | None:
        """Return the value of a constant that is a single number; None if it is not one."""
        constant = self.constants.get(name)
        if constant is None or len(constant.dims) > 0:
            return None
        return float(numpy_helper.to_array(constant))

    def array(self, name: str) -> npt.NDArray[Any]:
        """Return the value of a constant."""
        found: npt.NDArray[Any] = numpy_helper.to_array(self.constants[name])
        return found

    def before(self, place: onnx.NodeProto, *nodes: onnx.NodeProto) -> None:
        """Insert nodes before the node `place`."""
        self.put(place, *nodes, place)

    def put(self, place: onnx.NodeProto, *nodes: onnx.NodeProto) -> None:
        """Replace the node `place` by other nodes."""
        at = next(index for index, node in enumerate(self.nodes) if node is place)
        self.nodes[at : at + 1] = nodes

    def take_out(self, *nodes: onnx.NodeProto) -> None:
        """Remove nodes. No other node may read their values any more."""
        self.nodes = [node for node in self.nodes if not any(node is gone for gone in nodes)]

    def keep(self, name: str, value: npt.NDArray[np.generic]) -> str:
        """Add a constant under this name, and return the name."""
        self.constants[name] = numpy_helper.from_array(value, name)
        return name

    def finished(self) -> onnx.ModelProto:
        """Return the model, without unused constants."""
        used = {name for node in self.nodes for name in node.input}
        graph = self.model.graph
        del graph.node[:]
        graph.node.extend(self.nodes)
        del graph.initializer[:]
        graph.initializer.extend(constant for name, constant in self.constants.items() if name in used)
        for entry in self.model.opset_import:
            # The operators in these files have the same meaning in the opsets 18 to 20.
            entry.version = max(entry.version, export.OPSET)
        return self.model
