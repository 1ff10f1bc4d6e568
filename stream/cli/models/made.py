"""`tagstream model rules`, `reference`, `sign`, `verify` and `inspect`: what one does with a bundle that is made."""

from pathlib import Path
from typing import Annotated

import typer

from tagstream.stream.cli.exits import EXIT_USAGE, fail
from tagstream.stream.cli.models.options import BundleArgument
from tagstream.stream.cli.options import BundleFolder, Json, not_empty, path, settings
from tagstream.stream.terminal import console


def rules(
    folder: BundleArgument = None,
    file: Annotated[
        Path | None, typer.Option("--rules", help="Check this file of keyword rules.", metavar="FILE", parser=path)
    ] = None,
    json: Json = False,
) -> None:
    """Check keyword rules for a bundle's labels; without --rules, print an empty file of rules to fill in."""
    from tagstream.model_export.bundle import bundle
    from tagstream.model_export.bundle.rules import draft
    from tagstream.monitoring.vocabulary import few
    from tagstream.stream.decide.from_settings import rules_of

    chosen = settings(bundle=folder, rules=file)
    read = bundle.read(chosen.bundle)
    if file is None:
        if json:
            fail("--json shows what a file of rules has. Next: give --rules FILE, or leave --json out.", EXIT_USAGE)
        console.show(draft(read.manifest.labels).removesuffix("\n"))
        return
    found = rules_of(chosen, read)
    if json:
        console.show_json({"version": found.version, "digest": found.digest, "words": found.words})
        return
    console.show(
        f"{found.path}: rules version {found.version}, digest {found.digest[:12]}, for the {len(found.labels)} labels of {chosen.bundle}"
    )
    silent = [label for label, words in found.words.items() if not words]
    if silent:
        console.talk(f"no words, so never guessed but as `otherwise`: {few(silent)}")
    console.talk(f"to put them to use: TAGSTREAM_DECIDER=rules TAGSTREAM_RULES={file}; every event then goes to people")


def reference(
    events: Annotated[
        str,
        typer.Argument(
            help="JSON Lines of events, tagged or review records; - for standard input.", metavar="FILE|-", callback=not_empty
        ),
    ],
    out: Annotated[Path, typer.Option(help="File to write the reference to.", metavar="FILE", parser=path)],
    bundle: BundleFolder = None,
    allow_few: Annotated[bool, typer.Option("--allow-few", help="Accept fewer than 5,000 events.")] = False,
    run: Annotated[
        int | None,
        typer.Option(
            help="Print drift thresholds too, as lines for tagstream.toml: at most one false alarm of a detector in so many events.",
            min=1000,
            max=1_000_000,
        ),
    ] = None,
) -> None:
    """Make a drift reference, and with --run drift thresholds, from events of a healthy time."""
    from tagstream.stream.batch import drift

    drift.reference(settings(bundle=bundle), events, out=out, allow_few=allow_few, run_events=run)


def sign(
    key: Annotated[Path, typer.Option(help="File with a private key, PEM, on an elliptic curve.", metavar="FILE", parser=path)],
    folder: BundleArgument = None,
) -> None:
    """Sign a bundle, in the format of OpenSSF Model Signing; the signature lies beside its folder."""
    from tagstream.model_export.bundle import signature

    chosen = settings(bundle=folder)
    console.show(f"{chosen.bundle}: signed, {signature.sign(chosen.bundle, key)}")


def verify(
    folder: BundleArgument = None,
    key: Annotated[
        Path | None,
        typer.Option(
            help="Its signature must be that of this public key, or of one in this folder.", metavar="FILE", parser=path
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Check a bundle: its files, its known predictions, that no prediction depends on its batch, and its signature."""
    from tagstream.model_export import verify as verifying
    from tagstream.model_export.bundle import bundle, signature
    from tagstream.monitoring.vocabulary import few

    chosen = settings(bundle=folder)
    verified = verifying.verify(chosen.bundle)
    if key is not None:
        read = bundle.read(chosen.bundle)
        signature.require_signed(read, signature.read_signature(chosen.bundle), signature.keys_in(key))
    if json:
        console.show_json(verified)
        return
    console.show(f"{chosen.bundle}: verified, digest {verified.digest}")
    console.show(
        f"{verified.model_bytes / 1e6:.1f} MB, labels {few(verified.labels)}; {verified.golden_texts} golden texts agree; "
        "no prediction depends on its batch"
    )


def inspect(
    folder: BundleArgument = None,
    events_a_day: Annotated[int, typer.Option(help="Count the reviews of a stream of so many events.", min=1)] = 10_000,
    json: Json = False,
) -> None:
    """Show a bundle: labels, training data, thresholds, limits and their price; with --json the whole manifest."""
    import msgspec

    from tagstream.model_export.bundle import bundle
    from tagstream.stream.cli.show.bundle import print_bundle

    read = bundle.read(settings(bundle=folder).bundle)
    if not json:
        print_bundle(read, events_a_day)
        return
    console.show_json({"digest": read.digest, **msgspec.to_builtins(read.manifest)})
    for label, threshold in read.manifest.thresholds.items():
        console.talk(threshold.sentence(label))
