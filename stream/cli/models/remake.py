"""Verbs that make a bundle of an existing network: `tagstream model export`, `calibrate` and `adapt`."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tagstream.model_export.bundle.limits import MOST_WINDOWS
from tagstream.stream.cli.exits import EXIT_USAGE, fail
from tagstream.stream.cli.models.options import (
    BundleArgument,
    ColumnOptions,
    DataFolder,
    DataVersion,
    NameOptions,
    OutFolder,
    PromiseOptions,
)
from tagstream.stream.cli.options import Brokers, Json, finite, not_empty, path, settings, verb
from tagstream.stream.terminal import console
from tagstream.stream.terminal.text import counted

if TYPE_CHECKING:
    from tagstream.model_export.bundle.bundle import Bundle
    from tagstream.model_export.bundle.manifest import Threshold
    from tagstream.model_export.bundle.promise.promise import Promise
    from tagstream.model_export.data.own.read import OwnColumns
    from tagstream.model_export.data.splits import Splits
    from tagstream.model_export.make.steps import Made
    from tagstream.stream.settings.settings import Settings

# The value of --reviewed that reads answers from the topic and not from a file.
TOPIC = "topic"
Windows = Annotated[
    int | None,
    typer.Option(
        help="Most windows of the network's length in which a long text is read; the mean of their logits counts. The "
        "bundle's number unless given.",
        min=1,
        max=MOST_WINDOWS,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """The options of `tagstream model export`."""

    checkpoint: Annotated[Path, typer.Argument(help="Network that `train --checkpoint` kept.", metavar="FILE", parser=path)]
    folder: OutFolder
    data: DataFolder = None
    promise: PromiseOptions = field(default_factory=PromiseOptions)
    named: NameOptions = field(default_factory=NameOptions)


@verb(ExportOptions)
def export(options: ExportOptions) -> None:
    """Make a bundle of a trained network. Needs the extra `export`."""
    from tagstream.stream.cli.models import needs

    needs.note_replaced(options.folder)
    needs.require_export(level="info")
    from tagstream.model_export.data import splits
    from tagstream.model_export.make import recipe, steps, strangers

    chosen = settings(data=options.data)
    rows = splits.load(needs.data_folder(chosen), real_folder=chosen.real)
    gate = strangers.of_shipped(rows, chosen.real)
    of = recipe.exported(options.checkpoint, rows, options.promise.asked(), gate)
    made = steps.make(options.folder, options.named.on(of))
    console.show(made.as_text())


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateOptions:
    """The options of `tagstream model calibrate`."""

    out: Annotated[Path, typer.Option(help="Folder to write the new bundle to.", metavar="FOLDER", parser=path)]
    folder: BundleArgument = None
    data: DataFolder = None
    promise: PromiseOptions = field(default_factory=PromiseOptions)
    reviewed: Annotated[
        str | None,
        typer.Option(
            help="Compute the thresholds from people's answers: a file of `tagstream review --export`, or `topic`.",
            metavar="FILE|topic",
            parser=not_empty,
        ),
    ] = None
    brokers: Brokers = None
    windows: Windows = None
    version: Annotated[
        str | None,
        typer.Option(help="Version of the new bundle; the old version with -calibrated unless given.", parser=not_empty),
    ] = None
    json: Json = False


@verb(CalibrateOptions)
def calibrate(options: CalibrateOptions) -> None:
    """
    Make a bundle with the network of an existing bundle and new thresholds. Needs the extra `export`.

    The temperature, the drift reference and the metrics are computed again too. The gate for texts of none of the labels is computed again
    if the setting `real` names a folder with such texts. With --reviewed, the thresholds come from people's answers, and the temperature
    and the drift reference do not change.
    """
    from tagstream.model_export.bundle import bundle
    from tagstream.model_export.calibrate.priced_promise import PricedPromise
    from tagstream.stream.cli.models import needs

    chosen = settings(data=options.data, bundle=options.folder, brokers=options.brokers)
    kept = bundle.read(chosen.bundle)
    needs.note_replaced(options.out)
    if options.json and options.reviewed is None:
        fail("--json prints the effect of answers on the thresholds. Next: give --reviewed, or leave --json out.", EXIT_USAGE)
    if options.windows is not None and options.reviewed is not None:
        fail(
            "answers are about decisions with the bundle's windows, so they certify nothing for other windows. Next: give "
            "--windows alone, and collect answers on the new bundle.",
            EXIT_USAGE,
        )
    promise = options.promise.asked()
    if isinstance(promise, PricedPromise):
        # Before rows and network are read: a label without a price is said at once.
        promise.costs.of_mistakes(kept.manifest.labels)
    needs.require_export(level="info")
    made = _on_rows(options, chosen, kept, promise) if options.reviewed is None else _on_answers(options, chosen, kept, promise)
    if made.gain is not None and options.json:
        console.show_json({"digest": made.bundle.digest, "version": made.bundle.manifest.version, **made.gain.as_record()})
    else:
        console.show(made.as_text())


def _on_rows(options: CalibrateOptions, chosen: "Settings", kept: "Bundle", promise: "Promise") -> "Made":
    """Calibrate on the shipped rows. Refuse a bundle with other labels than the shipped rows before the rows are downloaded."""
    from tagstream.model_export.data import madewithml, splits
    from tagstream.model_export.make import recipe, steps, strangers
    from tagstream.stream.cli.models import needs

    recipe.refuse_other_labels(madewithml.LABELS, kept.manifest.labels)
    rows = splits.load(needs.data_folder(chosen), real_folder=chosen.real)
    # Without real texts, a new gate would be weaker than a gate that the bundle may have.
    gate = None if chosen.real is None else strangers.of_shipped(rows, chosen.real)
    of = recipe.calibrated(
        kept,
        rows,
        promise,
        version=options.version,
        windows=options.windows,
        strangers=gate,
    )
    return steps.make(options.out, of)


def _on_answers(options: CalibrateOptions, chosen: "Settings", kept: "Bundle", promise: "Promise") -> "Made":
    """
    Compute the thresholds from the answers on the topic `reviewed`, or in a file of its records.

    Raises:
        ExchangeError: A line of the file is not an answer.
        BrokerUnreachableError: No broker answered in time, or one refused us.
        CalibrationError: The answers change no threshold.
        CostsError: A label, a confusion or an item has no price.
    """
    from tagstream.model_export.calibrate.priced_promise import PricedPromise
    from tagstream.model_export.data import splits
    from tagstream.model_export.make import recipe, steps
    from tagstream.model_export.make.earn import lineage
    from tagstream.stream.cli.people.exchange import on_topics
    from tagstream.stream.review.exchange import evidence, lines

    reviewed = options.reviewed or TOPIC
    answered, asked = on_topics(chosen) if reviewed == TOPIC else (lines.answers_in_file(Path(reviewed)), [])
    priced = evidence.Priced(costs=promise.costs, labels=kept.manifest.labels) if isinstance(promise, PricedPromise) else None
    gathered = evidence.gather(answered, digests=lineage(kept.manifest, kept.digest), asked=asked, priced=priced)
    for why, count in gathered.left_out.items():
        console.talk(f"left out: answers on {counted(count, 'event')} {why}")
    rows = splits.load(chosen.data, real_folder=chosen.real)
    if not set(rows.labels) <= set(kept.manifest.labels):
        console.talk("the manifest keeps its figures, which are of the old thresholds: tagstream has no rows with these labels")
    elif chosen.data is None:
        console.talk("the manifest will have no figures on the holdout: TAGSTREAM_DATA names no folder")
    return steps.make(options.out, recipe.earned(kept, rows, gathered.evidence, promise.precision))


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptOptions:
    """The options of `tagstream model adapt`."""

    folder: Annotated[Path, typer.Argument(help="Folder of the bundle.", metavar="FOLDER", parser=path)]
    out: Annotated[Path, typer.Argument(help="Folder to write the new bundle to.", metavar="OUT", parser=path)]
    prior: Annotated[
        Path | None, typer.Option(help="Shares of the labels: TOML or JSON, a number a label.", metavar="FILE", parser=path)
    ] = None
    from_labels: Annotated[
        Path | None,
        typer.Option(help="Labelled rows of the stream, which say how often each label comes.", metavar="FILE", parser=path),
    ] = None
    from_decisions: Annotated[
        Path | None,
        typer.Option(
            help="The bundle's decisions on the stream, as `classify --json` prints them.", metavar="FILE", parser=path
        ),
    ] = None
    data: Annotated[
        Path | None,
        typer.Option(
            help="Rows to calibrate on, which the network has not seen: a file of labelled rows, or the folder with dataset.csv.",
            metavar="FILE|FOLDER",
            parser=path,
        ),
    ] = None
    columns: ColumnOptions = field(default_factory=ColumnOptions)
    data_version: DataVersion = None
    precision: Annotated[
        float | None,
        typer.Option(
            help="Share of published decisions that must be right; the bundle's promise unless given.",
            min=0.5,
            max=1.0,
            callback=finite,
        ),
    ] = None
    windows: Windows = None
    json: Json = False


@verb(AdaptOptions)
def adapt(options: AdaptOptions) -> None:
    """
    Make a bundle for a stream with other shares of the labels. Needs the extra `export`.

    Give the shares, labelled rows of the stream, or the bundle's decisions on the stream. Temperature and thresholds are computed again,
    and the precision is certified on rows weighted to the new shares. The promise is the bundle's, unless --precision sets another
    precision. The options of columns apply to the files of labelled rows.
    """
    from tagstream.stream.cli.models import needs

    if sum(given is not None for given in (options.prior, options.from_labels, options.from_decisions)) != 1:
        fail("one source of shares is needed. Next: give --prior, --from-labels or --from-decisions, one of them.", EXIT_USAGE)
    data = options.data
    if options.columns != ColumnOptions() and options.from_labels is None and (data is None or data.is_dir()):
        fail("the options of columns are about a file of rows. Next: give --data FILE, or leave them out.", EXIT_USAGE)
    needs.require_export()
    needs.note_replaced(options.out)
    from tagstream.model_export.bundle import bundle
    from tagstream.model_export.data.decisions import read_shares
    from tagstream.model_export.make import recipe, steps
    from tagstream.model_export.make.shares import KnownStream

    kept, columns = bundle.read(options.folder), options.columns.of_file()
    stream = KnownStream(
        given=None if options.prior is None else read_shares(options.prior),
        tags=None if options.from_labels is None else _tags(options.from_labels, columns, kept),
        decisions=options.from_decisions,
    )
    rows = _rows(data if data is not None else settings().data, columns, kept)
    rows = replace(rows, version=options.data_version or "")
    promise = promise_of(kept.manifest.threshold, options.precision)
    made = steps.make(options.out, recipe.adapted(kept, rows, promise, stream, windows=options.windows)).bundle
    new = made.manifest
    if options.json:
        console.show_json({"digest": made.digest, "version": new.version, "prior": new.prior, "threshold": new.threshold})
        return
    console.show(f"{new.name} {new.version}, digest {made.digest[:12]}, in {options.out}")
    if new.prior is not None:
        shares = ", ".join(f"{label} {share:.1%}" for label, share in new.prior.shares.items())
        console.show(f"expects {shares}")
    console.show(new.threshold.sentence())
    for label, each in new.thresholds.items():
        console.show(each.sentence(label))
    if new.multilabel is not None and not new.multilabel.metrics:
        console.talk(
            "the thresholds of further labels stay and are not measured: no row carries several labels (column `tags`)"
        )


def promise_of(threshold: "Threshold", precision: float | None) -> "Promise":
    """Return a bundle's promise. A given `precision` replaces the bundle's precision and its review budget."""
    from tagstream.model_export.bundle.promise.promise import FLOOR, Promise

    return Promise(
        kind=threshold.promise or "per-label",
        precision=threshold.target_precision if precision is None else precision,
        floor=FLOOR if threshold.floor is None else threshold.floor,
        review_budget=threshold.review_budget if precision is None else None,
    )


def _tags(file: Path, named: "OwnColumns", bundle: "Bundle") -> list[str]:
    """Return the labels of the stream's labelled rows."""
    from tagstream.model_export.data.own.read import read_own
    from tagstream.model_export.data.own.rows import refuse_unknown

    rows = read_own(file, named.of_gold())
    labelled = [own for own in rows.rows if own.is_labelled]
    if bare := [own for own in rows.rows if not own.is_labelled]:
        console.talk(f"{rows.at(bare)}: no label, so not counted.")
    refuse_unknown(rows, labelled, bundle.manifest.labels, str(bundle.path))
    return [own.row.tag for own in labelled]


def _rows(data: Path | None, named: "OwnColumns", bundle: "Bundle") -> "Splits":
    """Return the rows to calibrate on: the user's file, or the project's own rows."""
    from tagstream.model_export.data import splits
    from tagstream.model_export.data.own.read import read_own
    from tagstream.model_export.data.own.rows import refuse_learned, refuse_unusable
    from tagstream.model_export.data.own.split import divide
    from tagstream.model_export.make.recipe import unseen

    if data is None or data.is_dir():
        return splits.load(data, real_folder=settings().real)
    if bundle.manifest.multilabel is not None:
        named = replace(named, tags="tags", optional=("tags",))
    rows = read_own(data, named)
    refuse_unusable(rows, bundle.manifest.labels, str(bundle.path))
    refuse_learned(rows, bundle.manifest, str(bundle.path))
    division = divide(rows)
    for why, left_out in division.left_out.items():
        console.talk(f"{rows.at(left_out)}: {why}, so not calibrated on.")
    return unseen(division.splits)
