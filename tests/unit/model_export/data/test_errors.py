"""Errors of making a model are sentences for the person at the terminal, not traces."""

import re
import sys
from pathlib import Path

import pytest

from tagstream.model_export.bundle.bundle import BundleError
from tagstream.model_export.bundle.invariance import ParityError
from tagstream.model_export.calibrate.errors import CalibrationError
from tagstream.model_export.data.madewithml import DataError
from tagstream.model_export.onnx.export import ExportError
from tagstream.model_export.train import base_model
from tagstream.model_export.train.base_model import BaseModelError
from tagstream.model_export.train.checkpoint import CheckpointError


@pytest.mark.parametrize(
    "error", [BaseModelError, BundleError, CalibrationError, CheckpointError, DataError, ExportError, ParityError]
)
def test_every_refusal_has_an_exit_code(error: type[Exception]) -> None:
    """The command prints the message of every error with an exit code, and ends with that code."""
    assert error("why").exit_code == 1  # type: ignore[attr-defined]


def test_a_base_model_that_is_not_there_says_how_to_have_it_in_a_checkout(tmp_path: Path) -> None:
    """The error names the running interpreter, since the project is on no package index."""
    install = re.escape(f"Next: in the project's folder {sys.executable} -m pip install -e '.[export]', which brings ")
    with pytest.raises(BaseModelError, match=install):
        base_model.verify(tmp_path)
