"""Errors of making a model are sentences for the person at the terminal, not traces."""

import pytest

from model_export.base_model import BaseModelError
from model_export.bundle import BundleError
from model_export.calibrate import CalibrationError
from model_export.checkpoint import CheckpointError
from model_export.export import ExportError
from model_export.invariance import ParityError
from model_export.madewithml import DataError


@pytest.mark.parametrize(
    "error", [BaseModelError, BundleError, CalibrationError, CheckpointError, DataError, ExportError, ParityError]
)
def test_every_refusal_has_an_exit_code(error: type[Exception]) -> None:
    """The command prints the message of whatever carries one, and ends with it."""
    assert error("why").exit_code == 1  # type: ignore[attr-defined]
