"""Eight-bit arithmetic without a batch's memory: static QDQ, uint8 activations, int8 weights with a scale a channel.

Dynamic quantisation takes its activation scales from the batch, so a text's logits depend on its neighbours. Here the
scales are constants, measured once on real training texts: random tokens would more than double the error.
"""

import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from tagstream.model_export.onnx import export
from tagstream.model_export.train import batches

CALIBRATION_TEXTS = 128
CALIBRATION_BATCH = 8

Feed = dict[str, npt.NDArray[np.int64]]


class _CalibrationTexts(CalibrationDataReader):  # type: ignore[misc] # onnxruntime ships no types
    """The calibration texts in batches of similar length, so that padding does not colour the ranges."""

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self._feeds = _feeds(rows)

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


def quantize(model: bytes, rows: Sequence[Sequence[int]], labels: Sequence[str]) -> bytes:
    """
    Quantise the matrix products of a float32 model.

    Args:
        model: The file from `export.to_onnx`.
        rows: Token ids of real training texts, about `CALIBRATION_TEXTS` of them.
        labels: The labels, written into the new file as into the old.

    Raises:
        ExportError: The quantiser does not know the graph, or left operators outside the ONNX standard.
    """
    with tempfile.TemporaryDirectory(prefix="tagstream-quantize-") as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        plain, prepared, quantised = folder / "plain.onnx", folder / "prepared.onnx", folder / "quantised.onnx"
        plain.write_bytes(model)
        quiet = logging.getLogger().level
        try:
            _quantize_files(plain, prepared, quantised, rows)
        # The tool has no error of its own for a graph that it does not know.
        except Exception as error:
            msg = f"it cannot be quantised: {error}. Next: keep it in full precision."
            raise export.ExportError(msg) from error
        finally:
            logging.getLogger().setLevel(quiet)
        return export.finish(onnx.load_model(quantised, load_external_data=False), labels)


def _quantize_files(plain: Path, prepared: Path, quantised: Path, rows: Sequence[Sequence[int]]) -> None:
    quant_pre_process(plain, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        quantised,
        _CalibrationTexts(rows),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        # Seven bits of weight: products of eight by eight saturate on processors without VNNI, silently, and a
        # bundle would mean one thing here and another there.
        reduce_range=True,
        op_types_to_quantize=["MatMul", "Gemm"],
        calibrate_method=CalibrationMethod.MinMax,
        # The outputs of products stay float32: rounding them too, the tool's default, changes eight labels in a
        # hundred, where rounding the inputs changes two.
        extra_options={"MatMulConstBOnly": True, "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
    )


def _feeds(rows: Sequence[Sequence[int]]) -> Iterator[Feed]:
    for positions in batches.by_length(rows, CALIBRATION_BATCH):
        ids, mask = batches.pad([rows[position] for position in positions])
        yield {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
