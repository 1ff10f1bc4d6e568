"""`tagstream model adapt`: the same network for a stream whose labels come more or less often."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli.exits import EXIT_USAGE, fail
from stream.cli.models.options import note_replaced
from stream.cli.models.own import GroupColumn, SourceColumn, SplitColumn, TagColumn, columns
from stream.cli.options import DescriptionColumn, Json, TitleColumn, finite, path, settings
from stream.terminal import console

if TYPE_CHECKING:
    from model_export.bundle.bundle import Bundle
    from model_export.bundle.manifest import Threshold
    from model_export.bundle.promise.promise import Promise
    from model_export.data.own.columns import OwnColumns
    from model_export.data.splits import Splits


def adapt(
    folder: Annotated[Path, typer.Argument(help="Folder of the bundle.", metavar="FOLDER", parser=path)],
    out: Annotated[Path, typer.Argument(help="Folder to write the new bundle to.", metavar="OUT", parser=path)],
    prior: Annotated[
        Path | None, typer.Option(help="Shares of the labels: TOML or JSON, a number a label.", metavar="FILE", parser=path)
    ] = None,
    from_labels: Annotated[
        Path | None,
        typer.Option(help="Labelled rows of the stream, which say how often each label comes.", metavar="FILE", parser=path),
    ] = None,
    from_decisions: Annotated[
        Path | None,
        typer.Option(
            help="The bundle's decisions on the stream, as `classify --json` prints them.", metavar="FILE", parser=path
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Rows to calibrate on, which the network has not seen: a file of labelled rows, or the folder with dataset.csv.",
            metavar="FILE|FOLDER",
            parser=path,
        ),
    ] = None,
    title: TitleColumn = None,
    description: DescriptionColumn = None,
    tag: TagColumn = None,
    split: SplitColumn = None,
    group: GroupColumn = None,
    source: SourceColumn = None,
    precision: Annotated[
        float | None,
        typer.Option(
            help="Share of published decisions that must be right; what the bundle promises unless given.",
            min=0.5,
            max=1.0,
            callback=finite,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """
    Make a bundle for a stream whose labels come with other shares. Needs the extra `export`.

    Give the shares, or labelled rows of the stream, or the bundle's decisions on it. Temperature and thresholds are computed
    again, and the certificate is earned on rows weighted to the new shares. The promise is the bundle's, unless --precision
    asks for another. The options of columns are about the files of labelled rows.
    """
    from stream.cli import making

    if sum(given is not None for given in (prior, from_labels, from_decisions)) != 1:
        fail("one source of shares is needed. Next: give --prior, --from-labels or --from-decisions, one of them.", EXIT_USAGE)
    names = {"title": title, "description": description, "tag": tag, "split": split, "group": group, "source": source}
    if any(names.values()) and from_labels is None and (data is None or data.is_dir()):
        fail("the options of columns are about a file of rows. Next: give --data FILE, or leave them out.", EXIT_USAGE)
    making.require_export()
    note_replaced(out)
    from model_export.bundle import bundle as bundles
    from model_export.data.decisions import read_shares
    from model_export.make.recalibrate import Stream, adapt_bundle

    bundle, named = bundles.read(folder), columns(**names)
    found = Stream(
        given=None if prior is None else read_shares(prior),
        tags=None if from_labels is None else _tags(from_labels, named, bundle),
        decisions=from_decisions,
    )
    built = adapt_bundle(
        out,
        bundle=bundle,
        stream=found,
        splits=_rows(data if data is not None else settings().data, named, bundle),
        asked=promise_of(bundle.manifest.threshold, precision),
    )
    new = built.bundle.manifest
    if json:
        console.show_json(
            {"digest": built.bundle.digest, "version": new.version, "prior": new.prior, "threshold": new.threshold}
        )
        return
    console.show(f"{new.name} {new.version}, digest {built.bundle.digest[:12]}, in {out}")
    if new.prior is not None:
        shares = ", ".join(f"{label} {share:.1%}" for label, share in new.prior.shares.items())
        console.show(f"expects {shares}")
    console.show(new.threshold.sentence())
    for label, each in new.thresholds.items():
        console.show(each.sentence(label))


def promise_of(threshold: "Threshold", precision: float | None) -> "Promise":
    """The promise that a bundle makes; with a precision, that one in place of its own or of its budget of reviews."""
    from model_export.bundle.promise.promise import FLOOR, Promise

    return Promise(
        kind=threshold.promise or "per-label",
        precision=threshold.target_precision if precision is None else precision,
        floor=FLOOR if threshold.floor is None else threshold.floor,
        review_budget=threshold.review_budget if precision is None else None,
    )


def _tags(file: Path, named: "OwnColumns", bundle: "Bundle") -> list[str]:
    """The labels of labelled rows of the stream."""
    from model_export.data.own.read import read_own
    from model_export.data.own.rows import refuse_unknown

    rows = read_own(file, named.of_gold())
    labelled = [own for own in rows.rows if own.row.tag]
    if bare := [own for own in rows.rows if not own.row.tag]:
        console.talk(f"{rows.at(bare)}: no label, so not counted.")
    refuse_unknown(rows, labelled, bundle.manifest.labels, str(bundle.path))
    return [own.row.tag for own in labelled]


def _rows(data: Path | None, named: "OwnColumns", bundle: "Bundle") -> "Splits":
    """The rows to calibrate on: a file of the user's, or the project's own."""
    from model_export.data import splits
    from model_export.data.own.read import read_own
    from model_export.data.own.rows import refuse_learned, refuse_unusable
    from model_export.data.own.split import divide
    from model_export.make.recalibrate import unseen

    if data is None or data.is_dir():
        return splits.load(data)
    rows = read_own(data, named)
    refuse_unusable(rows, bundle.manifest.labels, str(bundle.path))
    refuse_learned(rows, bundle.manifest, str(bundle.path))
    division = divide(rows)
    for why, left_out in division.left_out.items():
        console.talk(f"{rows.at(left_out)}: {why}, so not calibrated on.")
    return unseen(division.splits)
