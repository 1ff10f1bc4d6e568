"""`tagstream model train --data FILE`: a bundle of labelled rows of the user's own."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model_export.bundle.promise.promise import Promise
from model_export.data.own.columns import OwnColumns
from stream import logs
from stream.cli import making
from stream.cli.exits import EXIT_USAGE, fail
from stream.terminal import console, progress

if TYPE_CHECKING:
    from model_export.data.splits import Splits


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnOptions:
    """
    The options of a training on the user's own rows.

    Attributes:
        data: The rows.
        gold: Rows that are only measured on.
        columns: The file's names for the fields.
        quick: Fit a head to the base encoder, in minutes; else tune the whole network.
        strict: Refuse rows with warnings too.
        allowed: Kinds of warnings that pass nevertheless.
        base_corpus: Add tagstream's own rows of those labels that are its own.
        work: Where a stopped training is kept; beside the bundle unless given.
    """

    data: Path
    gold: Path | None
    columns: OwnColumns
    quick: bool
    strict: bool
    allowed: Sequence[str]
    base_corpus: bool
    work: Path | None


def refuse_foreign_options(given: Mapping[str, object], *, of_a_file: bool) -> None:
    """End with the usage error if an option was given that the other kind of training alone has."""
    wrong = [name for name, value in given.items() if value]
    if wrong:
        whose, other = ("the shipped model", "a file") if of_a_file else ("a file of your own rows", "no such file")
        next_step = "leave it out" if of_a_file else "give --data FILE, or leave it out"
        fail(f"{', '.join(wrong)} is for {whose}, and --data names {other}. Next: {next_step}.", EXIT_USAGE)


def train(options: OwnOptions, *, folder: Path, promise: Promise) -> None:
    """
    Look at the rows, train, write the bundle, and print its figures.

    Raises:
        ExtraMissingError: PyTorch or scikit-learn is not installed.
        OwnDataError: The rows cannot be read or learned from; nothing is written.
        DoubtfulDataError: They have warnings, and `strict` asks for none; nothing is written.
    """
    making.require_export()
    logs.configure(level="warning", form="console")
    for chatty in ("onnx_ir", "torch.onnx", "torch.onnx._internal.exporter._registration"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    # The bundle's name is that of its folder, and `.` has none.
    folder = folder.resolve()
    splits = _rows(options, promise)
    from model_export import commands
    from model_export.make import own
    from model_export.train.work import Work

    work = options.work or folder.with_name(f"{folder.name}.work")
    if work.is_dir():
        console.talk(f"{work} keeps a training that was stopped: what it has of these rows is not computed again")
    started = time.monotonic()
    with progress.stages() as tell:
        built = own.own_bundle(folder, splits=splits, promise=promise, fast=options.quick, work=Work(work, tell))
    made = commands.Made(bundle=built.bundle, metrics=built.metrics, seconds=time.monotonic() - started)
    console.show(made.as_text())


def _rows(options: OwnOptions, promise: Promise) -> "Splits":
    """The rows in their parts, after everything that is wrong with them was said."""
    from model_export.data import splits
    from model_export.data.own.read import read_own
    from model_export.measure.own import look_at

    rows = read_own(options.data, options.columns)
    gold = None if options.gold is None else read_own(options.gold, options.columns.of_gold())
    base = splits.load(None) if options.base_corpus else None
    found = look_at(rows, gold, base=base, promise=promise)
    console.talk(found.as_text())
    found.refuse(strict=options.strict, allowed=options.allowed)
    if not found.division.splits.holdout:
        console.talk("there is no gold set and no test part: no figure will be of rows that the model has not seen")
    return found.division.splits
