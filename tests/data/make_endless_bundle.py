"""Makes a bundle that passes every check of its files, and whose network computes for an hour at each text."""

from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tagstream.model_export.bundle import bundle as bundles
from tagstream.model_export.bundle.bundle import Bundle

# A product of two such matrices takes seconds.
WIDTH, PRODUCTS = 4096, 1000


def endless(bundle: Bundle, folder: Path) -> Path:
    """
    The tiny bundle behind a long chain of products of large matrices. It gives the same logits in the end.

    Args:
        bundle: The tiny bundle.
        folder: Is made.
    """
    model = onnx.load_from_string(bundle.model)
    *_, last = model.graph.node
    last.output[0] = "votes"
    chain = [
        helper.make_node("ReduceMax", ["mask"], ["one"], keepdims=0),
        helper.make_node("Mul", ["one", "small"], ["scaled"]),
        # Of the input, or else the runtime would compute it while it loads.
        helper.make_node("Expand", ["scaled", "wide"], ["x0"]),
        *(helper.make_node("MatMul", [f"x{at}", f"x{at}"], [f"x{at + 1}"]) for at in range(PRODUCTS)),
        helper.make_node("ReduceMax", [f"x{PRODUCTS}"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "nothing"], ["zero"]),
        helper.make_node("Add", ["votes", "zero"], ["logits"]),
    ]
    model.graph.node.extend(chain)
    constants = {
        "small": np.array(1 / WIDTH, dtype=np.float32),
        "wide": np.array([WIDTH, WIDTH], dtype=np.int64),
        "nothing": np.array(0, dtype=np.float32),
    }
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    assert model.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    manifest = msgspec.structs.replace(bundle.manifest, version="endless")
    return bundles.write(folder, manifest=manifest, model=model.SerializeToString(), tokenizer=bundle.tokenizer).path
