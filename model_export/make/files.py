"""A trained network as two files, float32 and int8, and the first one's distance from the network."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from model_export.data.row import Row
from model_export.onnx import export, operators, parity, quantize
from model_export.train import batches
from model_export.train.network import TagNetwork

logger = logging.getLogger(__name__)

QUANTISE_SEED = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """The same network three times: as trained, and as the two files."""

    trained: TagNetwork
    plain: bytes
    quantised: bytes

    def check(self, tokens: Sequence[Sequence[int]], limits: parity.Limits) -> parity.Difference:
        """
        The distance of the float32 file from the trained network on tokenised texts.

        Raises:
            ParityError: The file is another network.
        """
        trained = batches.logits(self.trained, tokens).double().numpy()
        return parity.check_export(trained, parity.run(self.plain, tokens), limits)


def two_files(network: TagNetwork, rows: Sequence[Sequence[int]], labels: Sequence[str]) -> Networks:
    """
    Export and quantise a network.

    Args:
        network: The trained network.
        rows: Tokenised texts to measure activation ranges on, as `own_rows` draws them.
        labels: The labels in the order of the logits.

    Raises:
        ExportError: The graph is not one that a bundle may hold.
    """
    final = network.for_export()
    plain = export.to_onnx(final, labels)
    logger.info("network_exported bytes=%d", len(plain))
    quantised = operators.rewrite(quantize.quantize(plain, rows, labels), labels)
    logger.info("network_quantised bytes=%d", len(quantised))
    return Networks(trained=final, plain=plain, quantised=quantised)


def own_rows(rows: Sequence[Row], tokenizer: Tokenizer) -> list[list[int]]:
    """Tokenised training texts to measure activation ranges on: the same ones each time, drawn from all rows."""
    generator = np.random.default_rng(QUANTISE_SEED)
    places = generator.permutation(len(rows))[: quantize.CALIBRATION_TEXTS]
    return batches.encode(tokenizer, [rows[place].text for place in places])
