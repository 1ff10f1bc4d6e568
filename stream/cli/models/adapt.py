"""`tagstream model adapt`: the same network for a stream whose labels come more or less often."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli.exits import EXIT_USAGE, fail
from stream.cli.options import Json, path, settings
from stream.terminal import console

if TYPE_CHECKING:
    from model_export.bundle.manifest import Manifest
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
    precision: Annotated[float, typer.Option(help="Share of published decisions that must be right.", min=0.5, max=1.0)] = 0.95,
    json: Json = False,
) -> None:
    """
    Make a bundle for a stream whose labels come with other shares. Needs the extra `export`.

    Give the shares, or labelled rows of the stream, or the bundle's decisions on it. Temperature and thresholds are computed
    again, and the certificate is earned on rows weighted to the new shares.
    """
    from stream.cli import making

    if sum(given is not None for given in (prior, from_labels, from_decisions)) != 1:
        fail("one source of shares is needed. Next: give --prior, --from-labels or --from-decisions, one of them.", EXIT_USAGE)
    making.require_export()
    from model_export.bundle import bundle as bundles
    from model_export.bundle.promise.promise import Promise
    from model_export.data.decisions import read_shares
    from model_export.data.own.read import read_own
    from model_export.make.recalibrate import Stream, adapt_bundle

    source = bundles.read(folder)
    threshold = source.manifest.threshold
    found = Stream(
        given=None if prior is None else read_shares(prior),
        tags=None if from_labels is None else [own.row.tag for own in read_own(from_labels).rows if own.row.tag],
        decisions=from_decisions,
    )
    built = adapt_bundle(
        out,
        bundle=source,
        stream=found,
        splits=_rows(data if data is not None else settings().data, source.manifest),
        asked=Promise(
            kind=threshold.promise or "per-label",
            precision=precision,
            floor=0.9 if threshold.floor is None else threshold.floor,
        ),
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


def _rows(data: Path | None, manifest: "Manifest") -> "Splits":
    """The rows to calibrate on: a file of the user's, or the project's own."""
    from model_export.data import splits
    from model_export.data.own.read import read_own
    from model_export.data.own.split import split_own
    from model_export.make.recalibrate import unseen

    if data is None or data.is_dir():
        return splits.load(data)
    return unseen(split_own(read_own(data)), manifest)
