"""`tagstream model train`: trains a model on the user's own labelled rows, or the shipped model again."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tagstream.stream.cli.exits import EXIT_FAILED, EXIT_USAGE, fail
from tagstream.stream.cli.models.options import MULTILINGUAL
from tagstream.stream.cli.models.train_options import DEFAULT_FOLDER, FURTHER, OWN, SHIPPED, TrainOptions
from tagstream.stream.cli.options import given_of, settings, verb
from tagstream.stream.terminal import console

if TYPE_CHECKING:
    from tagstream.model_export.bundle.bundle import Bundle
    from tagstream.model_export.bundle.promise.promise import Promise
    from tagstream.model_export.data.own.look import RowsReport
    from tagstream.model_export.data.own.none_texts import NoneTexts
    from tagstream.model_export.data.own.row_list import ListedRow, Moves
    from tagstream.model_export.data.own.rows import OwnRows
    from tagstream.model_export.data.splits import Folders, Splits

# The name of the shipped bundle in tables.
IN_TABLES = "shipped"


@verb(TrainOptions)
def train(options: TrainOptions) -> None:
    """
    Train a model, check it, and write its bundle. Needs the extra `export`.

    With a file of labelled rows, the model learns your labels: in minutes with --quick, else by tuning the whole network. First the command
    lists the faults of the rows; with --dry-run it does nothing more. The exit code is 2 if no model can be made of the rows. After a stop,
    the same command goes on with the training. With a folder, or without --data, the command trains the shipped model again. With --from,
    it fits the head of that bundle again. The model also learns from people's answers (--answers); no figure and no threshold is computed from these answers.
    """
    from tagstream.stream.cli.models.needs import note_replaced

    of_a_file = options.data is not None and not options.data.is_dir()
    _refuse_options_of_others(options, of_a_file=of_a_file)
    _refuse_contradictions(options)
    if options.begun is not None:
        from tagstream.stream.cli.models.further_training import train_further

        train_further(options, options.begun)
    elif options.data is None or not of_a_file:
        note_replaced(options.folder / "bundle" if options.all else options.folder)
        train_shipped(options)
    elif options.dry_run:
        look(options, options.data)
    else:
        note_replaced(options.folder)
        train_own(options, options.data)


def _refuse_options_of_others(options: TrainOptions, *, of_a_file: bool) -> None:
    """Refuse options of another kind of training."""
    wrong = given_of(options, SHIPPED if of_a_file else OWN)
    if wrong:
        whose, other = (SHIPPED, "a file") if of_a_file else (OWN, "no such file")
        next_step = "leave it out" if of_a_file else "give --data FILE, or leave it out"
        fail(f"{', '.join(wrong)} is for {whose}, and --data names {other}. Next: {next_step}.", EXIT_USAGE)
    of_shipped = given_of(options, SHIPPED)
    if options.begun is not None and (of_a_file or of_shipped):
        fail(
            f"--from is for {FURTHER} and the shipped labels' rows, so {', '.join(of_shipped) or '--data FILE'} does not go with it. "
            "Next: leave one or the other out.",
            EXIT_USAGE,
        )
    if options.begun is None and (further := given_of(options, FURTHER)):
        fail(f"{', '.join(further)} is for {FURTHER}. Next: name that bundle by --from, or leave it out.", EXIT_USAGE)


def _refuse_contradictions(options: TrainOptions) -> None:
    """Refuse options that contradict each other."""
    if options.tags is not None and not options.multilabel:
        fail(
            "--tags names the column of all labels of a text, which --multilabel learns from. Next: give both or none.",
            EXIT_USAGE,
        )
    if options.quick and options.layers is not None:
        fail("--quick keeps all layers of the base encoder. Next: leave out --layers, or --quick.", EXIT_USAGE)
    if options.base == MULTILINGUAL and not options.quick:
        fail(
            "--base multilingual learns with --quick alone: the whole network is tuned from the English encoder. Next: add --quick.",
            EXIT_USAGE,
        )
    if options.json and not options.dry_run:
        fail("--json shows what --dry-run finds. Next: give both, or leave --json out.", EXIT_USAGE)


def train_own(options: TrainOptions, file: Path) -> None:
    """
    Check the rows of a file, train, write the bundle, and print its figures.

    Raises:
        ExtraMissingError: PyTorch or scikit-learn is not installed.
        RowsError: The rows cannot be read or learned from; nothing is written.
        EncoderFileError: The multilingual base's file differs from the file with which the project was measured.
        DoubtfulDataError: The rows have warnings, and `strict` forbids them; nothing is written.
        ParityError: A gate refuses the trained network.
    """
    from tagstream.stream.cli.models.needs import require_export, require_multilingual
    from tagstream.stream.terminal import progress

    require_export(level="warning")
    multilingual = options.base == MULTILINGUAL
    if multilingual:
        require_multilingual()
    # The bundle has its folder's name, so the path is resolved: `.` has no name.
    folder, promise = options.folder.resolve(), options.promise.asked()
    read = _read(options, file, promise)
    rows, none = _rows(options, read)
    from tagstream.model_export.bundle.invariance import ParityError
    from tagstream.model_export.data.own import row_list
    from tagstream.model_export.make import recipe, steps, strangers
    from tagstream.model_export.make.parent import Predecessor
    from tagstream.model_export.train.work import Work

    lose = strangers.MOST_LOST if options.lose is None else options.lose
    gate = strangers.of_own(none.rows, none.digests, neighbours=options.quick, most_lost=lose)
    of = recipe.own(
        replace(rows, listed=row_list.digest(read.listed)),
        promise,
        name=folder.name,
        quick=options.quick,
        layers=options.layers,
        multilingual=multilingual,
        multilabel=options.multilabel,
        strangers=gate,
    )
    if read.old is not None:
        of = replace(of, before=Predecessor(bundle=read.old, moves=read.moves))
    work = _work(options, folder)
    try:
        with progress.stages() as tell:
            made = steps.make(folder, options.named.on(of), Work(work, tell))
    except ParityError as error:
        if options.quick:
            raise
        msg = f"{error} Or train with --quick, or on more rows. The trained network is in {work}."
        raise ParityError(msg) from error
    console.show(made.as_text())
    try:
        row_list.write(folder, read.listed)
    except OSError as error:
        why = f"the bundle is made, but not the list of its rows beside it, {error.filename}: {error.strerror}"
        fail(f"{why}. Next: make the file writable and train again, or go on without `--against` this bundle.", EXIT_FAILED)


def _work(options: TrainOptions, folder: Path) -> Path:
    """Return the folder that keeps a stopped training, and say so if there is one."""
    work = options.work or folder.with_name(f"{folder.name}.work")
    if work.is_dir():
        console.talk(f"{work} holds a stopped training: its results on these rows are not computed again")
    return work


def look(options: TrainOptions, file: Path) -> None:
    """
    List the faults of a file's rows, and train nothing.

    Raises:
        ExtraMissingError: scikit-learn is not installed.
        RowsError: The rows cannot be read or learned from.
        EncoderFileError: The multilingual base's file differs from the file with which the project was measured.
        DoubtfulDataError: The rows have warnings, and `strict` forbids them.
    """
    from tagstream.stream.cli.models.needs import require_multilingual, require_scikit_learn

    require_scikit_learn()
    if options.base == MULTILINGUAL:
        require_multilingual()
    found = _read(options, file, options.promise.asked()).report
    if options.json:
        for record in found.records():
            console.show_json(record)
    else:
        console.show(found.as_text())
    found.refuse(strict=options.strict, allowed=options.allow or ())


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReadRows:
    """
    The rows of a training as read from their files, and a report on their faults.

    Attributes:
        own: The rows.
        answered: People's answers; None without a file of answers.
        none: Texts of none of the labels; None without a file of such texts.
        report: The faults.
        listed: The list of the labelled rows, with people's answers applied.
        old: The older bundle whose rows these are compared with; None without one.
        moves: What became of the rows of the older bundle; None if this is not known.
    """

    own: "OwnRows"
    answered: "OwnRows | None"
    none: "OwnRows | None"
    report: "RowsReport"
    listed: "tuple[ListedRow, ...]"
    old: "Bundle | None"
    moves: "Moves | None"


def _read(options: TrainOptions, file: Path, promise: "Promise") -> _ReadRows:
    """Read the rows and check them."""
    from tagstream.model_export.bundle import bundle
    from tagstream.model_export.data import splits
    from tagstream.model_export.data.own import against, answers, row_list
    from tagstream.model_export.data.own.none_texts import read_none
    from tagstream.model_export.data.own.read import read_own
    from tagstream.model_export.data.own.texts import multilingual_encoder
    from tagstream.model_export.measure.own import look_at

    old = None if options.against is None else bundle.read(options.against).without_files()
    columns = options.columns.of_file(options.id)
    if options.multilabel:
        columns = replace(columns, tags=options.tags or "tags")
    own = read_own(file, columns)
    gold = None if options.gold is None else read_own(options.gold, columns.of_gold())
    base = splits.load(None) if options.base_corpus else None
    answered = None if options.answers is None else answers.read(options.answers)
    none = None if options.none is None else read_none(options.none, columns)
    report = look_at(
        own,
        gold,
        base=base,
        answers=answered,
        multilabel=options.multilabel,
        promise=promise,
        encoder=multilingual_encoder() if options.base == MULTILINGUAL else None,
    )
    files = [own]
    if answered is not None:
        standing = answers.stand(own, answered)
        files = [standing.rows, standing.fresh]
    listed, moves = row_list.of(*files), None
    if old is not None:
        before = row_list.find(old.path, old.manifest)
        moves = None if before is None else row_list.compare(before, listed)
        report = replace(report, findings=(*report.findings, *against.findings(files, moves, old)))
    return _ReadRows(own=own, answered=answered, none=none, report=report, listed=listed, old=old, moves=moves)


def _rows(options: TrainOptions, read: _ReadRows) -> "tuple[Splits, NoneTexts]":
    """Print the faults of a file's rows. Return the rows in their parts, and the texts of none of the labels."""
    from tagstream.model_export.data.own.none_texts import gather

    found, given = read.report, read.none
    console.talk(found.as_text())
    found.refuse(strict=options.strict, allowed=options.allow or ())
    if not found.division.splits.holdout:
        console.talk("there is no gold set and no test part: no figure will be measured on unseen rows")
    parts = found.division.splits
    said = [own for own in (*read.own.rows, *(read.answered.rows if read.answered else ())) if own.is_off_subject]
    none = gather(given, said, (*parts.train, *parts.calibration, *parts.holdout))
    if given is not None and none.labelled:
        console.talk(
            f"{given.at(none.labelled)}: a labelled row has this text, so it is not learned as a text of none of the labels"
        )
    if none.generic:
        console.talk("texts of none of your labels: tagstream's own texts, since --none gives no others")
    return parts, none


def train_shipped(options: TrainOptions) -> None:
    """
    Train the shipped model again, write its bundle, and print its figures.

    With `all`, the folder gets `bundle/`, the network in full precision, and `report/`. The report compares the new bundle with its
    network, simpler models and the shipped bundle, all on the same rows.

    Raises:
        ExtraMissingError: PyTorch, scikit-learn or, for the report, matplotlib is not installed.
        DataError: The data in the settings' folder cannot be read.
        ParityError: A gate refuses the trained network. The network is kept on disk.
    """
    from tagstream.stream.cli.models import needs

    chosen, folder = settings(data=options.data), options.folder
    if chosen.data is None and folder != Path(DEFAULT_FOLDER) and not given_of(options, SHIPPED):
        fail(
            f"without --data, `model train {folder}` would train the shipped model again, for some hours, and write it into the folder "
            f"{folder}. Its base encoder, all-MiniLM-L6-v2, cannot be chosen. Next: give labelled rows of your own, --data FILE; or, for "
            f"the shipped model, --data with the folder of Made With ML's rows, or --corpus-only.",
            EXIT_USAGE,
        )
    needs.require_export(level="info")
    from tagstream.model_export.data.splits import Folders

    if options.all:
        needs.require_plots()
    data = None if options.corpus_only else needs.data_folder_if_any(chosen)
    if data is None:
        console.talk(
            "training on the authored corpus alone, without Made With ML's rows; there will be no figures on the holdout"
        )
    if chosen.real is None and not options.corpus_only:
        console.talk("training without real titles: TAGSTREAM_REAL names no folder with their texts")
    kept = options.checkpoint or (folder / "network.safetensors" if options.all else None)
    folders = Folders(data=data, real=None if options.corpus_only else chosen.real)
    _make_shipped(options, folder / "bundle" if options.all else folder, folders, kept)
    if options.all and kept is not None:
        _report_on_all(folder, folders, kept)


def _make_shipped(options: TrainOptions, folder: Path, folders: "Folders", kept: Path | None) -> None:
    """
    Make the bundle. Training takes an hour, so the network is written to disk before the first gate, and is kept if a gate refuses.

    Args:
        options: The options of the command.
        folder: The folder to which the bundle is written.
        folders: The folders with rows that the project does not ship.
        kept: The file that keeps the network; None keeps it only if a gate refuses.
    """
    from tagstream.model_export.bundle.invariance import ParityError
    from tagstream.model_export.calibrate.errors import CalibrationError
    from tagstream.model_export.data import splits
    from tagstream.model_export.make import recipe, steps, strangers
    from tagstream.model_export.train.work import Work
    from tagstream.stream.terminal import progress

    rows = splits.load(folders.data, answers_file=options.answers, real_folder=folders.real)
    network = kept or folder.with_name(f"{folder.name}-refused.safetensors")
    of = recipe.shipped(
        rows,
        options.promise.asked(),
        seed=options.seed,
        layers=options.layers,
        checkpoint=network,
        multilabel=options.multilabel,
        strangers=strangers.of_shipped(rows, folders.real),
    )
    try:
        with progress.stages() as tell:
            made = steps.make(folder, options.named.on(of), Work(_work(options, folder), tell))
    except (ParityError, CalibrationError) as error:
        also = " Or train with another --seed." if isinstance(error, ParityError) else ""
        msg = f"{error}{also} The trained network is in {network}, for `tagstream model export`."
        raise type(error)(msg) from error
    if kept is None:
        network.unlink()
    console.show(made.as_text())


def _report_on_all(folder: Path, folders: "Folders", network: Path) -> None:
    """Compare the new bundle with its networks, simpler models and the shipped bundle, and write the report."""
    from tagstream.model_export.bundle import bundle
    from tagstream.model_export.compare import evaluation, reproduction
    from tagstream.model_export.compare.evaluation import Named
    from tagstream.model_export.report.report import write
    from tagstream.model_export.report.terminal import as_text

    measured = evaluation.evaluate(
        folder / "bundle",
        folders=folders,
        baselines=True,
        against=[Named(name=IN_TABLES, path=bundle.DEFAULT_BUNDLE)],
        checkpoints=[Named(name="network fp32", path=network)],
        say=console.talk,
    )
    console.show(as_text(measured))
    for file in write(measured, folder / "report"):
        console.talk(f"wrote {file}")
    if folders.data is not None:
        ours, shipped = bundle.read(folder / "bundle"), bundle.read(bundle.DEFAULT_BUNDLE)
        console.show(
            f"is it the shipped model again? {reproduction.same_file(ours.model, shipped.model, shipped.manifest.labels)}"
        )
        console.show("\n".join(f"  {part}" for part in reproduction.reproduced(measured, IN_TABLES)))
