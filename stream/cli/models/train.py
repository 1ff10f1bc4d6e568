"""`tagstream model train`: the verb with its options."""

from pathlib import Path
from typing import Annotated

import typer

from stream.cli.exits import EXIT_USAGE, fail
from stream.cli.models.options import Answers, Checkpoint, MultilabelOption, Precision, TrainFolder, note_replaced
from stream.cli.models.own import (
    Allow,
    BaseCorpus,
    Gold,
    GroupColumn,
    Quick,
    SourceColumn,
    SplitColumn,
    Strict,
    TagColumn,
    WorkFolder,
    columns,
)
from stream.cli.models.promise import Budget, Floor, PromiseOption, promise_of
from stream.cli.options import DescriptionColumn, TitleColumn, path, settings

DEFAULT_FOLDER = "trained"


def train(
    folder: TrainFolder = Path(DEFAULT_FOLDER),
    everything: Annotated[
        bool,
        typer.Option("--all", help="Keep the teacher and the student, train simpler models too, and report on all of them."),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Labelled rows of your own (CSV, JSON Lines or Parquet), or the folder with dataset.csv and holdout.csv.",
            metavar="FILE|FOLDER",
            parser=path,
        ),
    ] = None,
    gold: Gold = None,
    quick: Quick = False,
    title: TitleColumn = None,
    description: DescriptionColumn = None,
    tag: TagColumn = None,
    split: SplitColumn = None,
    group: GroupColumn = None,
    source: SourceColumn = None,
    strict: Strict = False,
    allow: Allow = None,
    base_corpus: BaseCorpus = False,
    work: WorkFolder = None,
    checkpoint: Checkpoint = None,
    precision: Precision = 0.95,
    promise: PromiseOption = "overall",
    floor: Floor = 0.9,
    review_budget: Budget = None,
    corpus_only: Annotated[bool, typer.Option("--corpus-only", help="Train on the authored corpus alone.")] = False,
    multilabel: MultilabelOption = False,
    seed: Annotated[int | None, typer.Option(help="Random seed; the shipped bundle's unless given.", min=0)] = None,
    answers: Answers = None,
) -> None:
    """
    Train a model, check it, and write its bundle. Needs the extra `export`.

    With a file of labelled rows it learns your labels: --quick in minutes, else the whole network. A training that was
    stopped goes on with the same command. With a folder, or without --data, it is the shipped model again.
    """
    from stream.cli import making
    from stream.cli.models import training as own

    own_only = {
        "--gold": gold, "--quick": quick, "--title": title, "--description": description, "--tag": tag, "--split": split,
        "--group": group, "--source": source, "--strict": strict, "--allow": allow, "--base-corpus": base_corpus, "--work": work,
    }  # fmt: skip
    shipped_only = {
        "--all": everything, "--checkpoint": checkpoint, "--corpus-only": corpus_only, "--multilabel": multilabel,
        "--seed": seed is not None, "--answers": answers,
    }  # fmt: skip
    of_a_file = data is not None and not data.is_dir()
    own.refuse_foreign_options(shipped_only if of_a_file else own_only, of_a_file=of_a_file)
    note_replaced(folder / "bundle" if everything else folder)
    if data is not None and of_a_file:
        options = own.OwnOptions(
            data=data,
            gold=gold,
            columns=columns(title=title, description=description, tag=tag, split=split, group=group, source=source),
            quick=quick,
            strict=strict,
            allowed=allow or (),
            base_corpus=base_corpus,
            work=work,
        )
        own.train(options, folder=folder, promise=promise_of(promise, precision, floor, review_budget))
        return
    chosen = settings(data=data)
    if chosen.data is None and folder != Path(DEFAULT_FOLDER) and not any(shipped_only.values()):
        fail(
            f"without --data, `model train {folder}` would train the shipped model again, for some hours, and write it into the folder "
            f"{folder}. Its base encoder, all-MiniLM-L6-v2, cannot be chosen. Next: give labelled rows of your own, --data FILE; or, for "
            f"the shipped model, --data with the folder of Made With ML's rows, or --corpus-only.",
            EXIT_USAGE,
        )
    making.train(
        chosen,
        folder=folder,
        everything=everything,
        checkpoint=checkpoint,
        promise=promise_of(promise, precision, floor, review_budget),
        corpus_only=corpus_only,
        multilabel=multilabel,
        seed=seed,
        answers=answers,
    )
