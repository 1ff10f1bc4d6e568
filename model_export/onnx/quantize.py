"""Eight-bit arithmetic that does not depend on the batch: static QDQ, uint8 activations, int8 weights with a scale for each channel.

Dynamic quantisation takes the scales of activations from the batch, so a text's logits depend on the other texts. Here the scales are
constants, measured once on real training texts: random tokens would more than double the error.
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
    """The calibration texts in batches of similar length, so that padding does not distort the ranges."""

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
        labels: The labels, which are written into the new file.

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
        # The tool does not have a specific error for a graph that it does not know.
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
        # Weights have seven bits: products of eight by eight bits saturate silently on processors without VNNI, and the same bundle would
        # decide differently on different machines.
        reduce_range=True,
        op_types_to_quantize=["MatMul", "Gemm"],
        calibrate_method=CalibrationMethod.MinMax,
        # The outputs of products stay float32. Rounding outputs, too, as the tool does by default, changes 8 % of the labels; rounding only
        # the inputs changes 2 %.
        extra_options={"MatMulConstBOnly": True, "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
    )


def _feeds(rows: Sequence[Sequence[int]]) -> Iterator[Feed]:
    for positions in batches.by_length(rows, CALIBRATION_BATCH):
        ids, mask = batches.pad([rows[position] for position in positions])
        yield {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
