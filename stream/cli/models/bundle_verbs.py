"""`tagstream model verify` and `inspect`: check and show a finished bundle."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tagstream.stream.cli.exits import EXIT_USAGE, fail
from tagstream.stream.cli.models.options import BundleArgument
from tagstream.stream.cli.options import Json, path, settings
from tagstream.stream.terminal import console

if TYPE_CHECKING:
    from tagstream.model_export.bundle.rules import RulesClassifier


def verify(
    folder: BundleArgument = None,
    sign: Annotated[
        Path | None,
        typer.Option(
            help="Then sign the bundle with this private key (PEM, elliptic curve); the signature is written beside the folder.",
            metavar="FILE",
            parser=path,
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            help="Require a signature that this public key, or a public key in this folder, verifies.",
            metavar="FILE",
            parser=path,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """
    Check a bundle: its files, its golden predictions, that no prediction depends on its batch, and its signature; or sign the bundle.

    Signatures have the format of OpenSSF Model Signing.
    """
    from tagstream.model_export import verify as verifying
    from tagstream.model_export.bundle import bundle, signature
    from tagstream.monitoring.vocabulary import few

    chosen = settings(bundle=folder)
    verified = verifying.verify(chosen.bundle)
    if sign is not None:
        console.talk(f"{chosen.bundle}: signed, {signature.sign(chosen.bundle, sign)}")
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
    events_a_day: Annotated[int, typer.Option(help="Events a day of the stream, to count its reviews a day.", min=1)] = 10_000,
    file: Annotated[
        Path | None,
        typer.Option(
            "--rules",
            help="Check this file of keyword rules for the bundle's labels, and show it instead.",
            metavar="FILE",
            parser=path,
        ),
    ] = None,
    draft_rules: Annotated[
        bool,
        typer.Option("--draft-rules", help="Print an empty file of keyword rules for the bundle's labels instead, to fill in."),
    ] = False,
    json: Json = False,
) -> None:
    """
    Show a bundle: labels, training data, thresholds, and limits with their cost; with --json the whole manifest.

    With --rules or --draft-rules, show keyword rules for the bundle's labels instead. Such rules guess tags while no model can be used.
    """
    import msgspec

    from tagstream.model_export.bundle import bundle

    if draft_rules and (json or file is not None):
        fail("--draft-rules prints an empty file of rules. Next: leave out --rules and --json, or --draft-rules.", EXIT_USAGE)
    chosen = settings(bundle=folder, rules=file)
    read = bundle.read(chosen.bundle)
    if draft_rules:
        from tagstream.model_export.bundle.rules import draft

        console.show(draft(read.manifest.labels).removesuffix("\n"))
    elif file is not None:
        from tagstream.stream.decide.from_settings import rules_of

        _show_rules(rules_of(chosen, read), chosen.bundle, as_json=json)
    elif json:
        console.show_json({"digest": read.digest, **msgspec.to_builtins(read.manifest)})
        for label, threshold in read.manifest.thresholds.items():
            console.talk(threshold.sentence(label))
    else:
        from tagstream.stream.cli.show.bundle import print_bundle

        print_bundle(read, events_a_day)


def _show_rules(found: "RulesClassifier", folder: Path, *, as_json: bool) -> None:
    from tagstream.monitoring.vocabulary import few

    if as_json:
        console.show_json({"version": found.version, "digest": found.digest, "words": found.words})
        return
    console.show(
        f"{found.path}: rules version {found.version}, digest {found.digest[:12]}, for the {len(found.labels)} labels of {folder}"
    )
    silent = [label for label, words in found.words.items() if not words]
    if silent:
        console.talk(f"no words, so never guessed but as `otherwise`: {few(silent)}")
    console.talk(f"to use these rules: TAGSTREAM_DECIDER=rules TAGSTREAM_RULES={found.path}; every event then goes to people")
