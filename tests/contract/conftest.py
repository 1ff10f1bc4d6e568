"""A tiny bundle with the option `multilabel`."""

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

from tagstream.model_export.bundle import bundle
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.manifest import Multilabel
from tagstream.model_export.bundle.model import sigmoid


@pytest.fixture(scope="session")
def tiny_multilabel(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle with the option; a label with at least one vote is among the tags."""
    labels = tiny_bundle.manifest.labels
    network = with_second_output(tiny_bundle.model, len(labels))
    texts = [text.text for text in tiny_bundle.manifest.golden]
    option = Multilabel(
        thresholds=dict.fromkeys(labels, 0.5),
        golden=tuple(label_scores(network, Tokenizer.from_buffer(tiny_bundle.tokenizer), text) for text in texts),
        metrics={},
        training={},
    )
    return bundle.write(
        tmp_path_factory.mktemp("tiny-multilabel"),
        manifest=msgspec.structs.replace(tiny_bundle.manifest, multilabel=option),
        model=network,
        tokenizer=tiny_bundle.tokenizer,
    )


def with_second_output(model: bytes, labels: int) -> bytes:
    """The tiny network with the output `label_logits`: each label's votes minus one."""
    graph = onnx.load_model_from_string(model)
    graph.graph.initializer.append(numpy_helper.from_array(np.array(1.0, dtype=np.float32), "one"))
    graph.graph.node.append(helper.make_node("Sub", ["logits", "one"], ["label_logits"]))
    graph.graph.output.append(helper.make_tensor_value_info("label_logits", TensorProto.FLOAT, ["batch", labels]))
    return bytes(graph.SerializeToString(deterministic=True))


def label_scores(network: bytes, tokenizer: Tokenizer, text: str) -> tuple[float, ...]:
    """The second output of the network for a text."""
    ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
    running = ort.InferenceSession(network, providers=["CPUExecutionProvider"])
    (logits,) = running.run(["label_logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    return tuple(map(sigmoid, logits[0].tolist()))
