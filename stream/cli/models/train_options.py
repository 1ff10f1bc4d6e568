"""The options of `tagstream model train`, for its three kinds of training."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from tagstream.stream.cli.models.options import (
    Allow,
    Answers,
    Base,
    ColumnOptions,
    Gold,
    Layers,
    MultilabelOption,
    NamesOptions,
    PromiseOptions,
    Strict,
)
from tagstream.stream.cli.options import IdColumn, Json, finite, not_empty, path

DEFAULT_FOLDER = "trained"
# Marks of options that apply to one kind of training. Error messages quote a mark.
OWN, SHIPPED, FURTHER = "a file of your own rows", "the shipped model", "the encoder of another bundle"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """The options of `tagstream model train`."""

    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder to write the bundle to; with --all, to write bundle, networks and report to.",
            metavar="FOLDER",
            parser=path,
        ),
    ] = Path(DEFAULT_FOLDER)
    all: Annotated[
        bool,
        typer.Option("--all", help="Keep the trained network, train simpler models too, and report on all of them."),
        SHIPPED,
    ] = False
    data: Annotated[
        Path | None,
        typer.Option(
            help="Labelled rows of your own (CSV, JSON Lines or Parquet), or the folder with dataset.csv and holdout.csv.",
            metavar="FILE|FOLDER",
            parser=path,
        ),
    ] = None
    gold: Annotated[Gold, OWN] = None
    none: Annotated[
        Path | None,
        typer.Option(
            "--none",
            help="Texts of none of your labels (CSV, JSON Lines or Parquet): new texts like these go to people at any confidence.",
            metavar="FILE",
            parser=path,
        ),
        OWN,
    ] = None
    lose: Annotated[
        float | None,
        typer.Option(
            "--lose",
            help="Share of your own texts that the limit on texts of none of your labels may send to people, 0.01 unless given: a "
            "larger share finds more such texts.",
            metavar="0..1",
            min=0.0,
            max=0.5,
            callback=finite,
        ),
        OWN,
    ] = None
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Fit a head to the base encoder, in minutes, instead of tuning the whole network."),
        OWN,
    ] = False
    base: Annotated[Base, OWN] = None
    columns: Annotated[ColumnOptions, OWN] = field(default_factory=ColumnOptions)
    id: Annotated[IdColumn, OWN] = None
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only list the faults of the rows, each with its lines; needs only scikit-learn."),
        OWN,
    ] = False
    json: Annotated[Json, OWN] = False
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            help="Say which rows came, went or changed their label since this bundle; the new bundle names it as its parent.",
            metavar="BUNDLE",
            parser=path,
        ),
        OWN,
    ] = None
    strict: Annotated[Strict, OWN] = False
    allow: Annotated[Allow, OWN] = None
    begun: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Keep the encoder of this bundle, and fit head and n-grams to the shipped labels' rows of today.",
            metavar="BUNDLE",
            parser=path,
        ),
    ] = None
    keep_head: Annotated[
        bool, typer.Option("--keep-head", help="With --from: keep the head too, and fit only the n-grams."), FURTHER
    ] = False
    base_corpus: Annotated[
        bool, typer.Option("--base-corpus", help="Also learn from tagstream's own rows that have one of your labels."), OWN
    ] = False
    work: Annotated[
        Path | None,
        typer.Option(
            "--work", help="Folder that keeps a stopped training; FOLDER.work unless given.", metavar="FOLDER", parser=path
        ),
    ] = None
    checkpoint: Annotated[
        Path | None, typer.Option(help="Keep the trained network in this file.", metavar="FILE", parser=path), SHIPPED
    ] = None
    promise: PromiseOptions = field(default_factory=PromiseOptions)
    named: NamesOptions = field(default_factory=NamesOptions)
    corpus_only: Annotated[bool, typer.Option("--corpus-only", help="Train on the authored corpus alone."), SHIPPED] = False
    multilabel: MultilabelOption = False
    layers: Layers = None
    tags: Annotated[
        str | None,
        typer.Option(
            "--tags",
            help="Column of all labels of a text, with --multilabel; `tags` unless given.",
            metavar="NAME",
            parser=not_empty,
        ),
        OWN,
    ] = None
    seed: Annotated[int | None, typer.Option(help="Random seed; the shipped bundle's unless given.", min=0), SHIPPED] = None
    answers: Answers = None
