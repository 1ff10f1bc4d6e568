"""`tagstream replay`: a bundle decides a part of the stream again, beside another one or beside what was published."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tagstream.stream.cli.exits import EXIT_USAGE, fail
from tagstream.stream.cli.options import Brokers, ContentTopic, Json, finite, not_empty, of_content, path, settings, verb


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """The options of `tagstream replay`."""

    bundle: Annotated[
        str,
        typer.Option(
            help="The new bundle: its folder, or its digest in rollout.bundles.", metavar="FOLDER|DIGEST", callback=not_empty
        ),
    ]
    against: Annotated[
        str | None,
        typer.Option(
            help="The old end: a folder or a digest, or `recorded` for what was published; the bundle of the settings unless given.",
            metavar="FOLDER|DIGEST|recorded",
            callback=not_empty,
        ),
    ] = None
    begin: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Begin at this time, such as 2026-01-31T12:00Z, or at an offset of each partition, as 0:1200,1:1350; the beginning unless given.",
            metavar="TIME|OFFSETS",
            callback=not_empty,
        ),
    ] = None
    end: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="End before this time or these offsets; the ends of now unless given.",
            metavar="TIME|OFFSETS",
            callback=not_empty,
        ),
    ] = None
    sample: Annotated[
        float, typer.Option(help="Share of the events, drawn by a hash of the id.", min=0.000001, max=1, callback=finite)
    ] = 1.0
    rate: Annotated[
        float | None, typer.Option(help="Most events a second; no bound unless given.", min=0.1, callback=finite)
    ] = None
    rows: Annotated[
        Path | None,
        typer.Option(help="Write each event that differs in tag or door there, JSON Lines.", metavar="FILE", parser=path),
    ] = None
    with_text: Annotated[bool, typer.Option("--with-text", help="Put titles and descriptions into --rows.")] = False
    state: Annotated[
        Path | None,
        typer.Option(
            help="Keep counts and positions there: the same command goes on after it was stopped.", metavar="FILE", parser=path
        ),
    ] = None
    html: Annotated[Path | None, typer.Option(help="Write the comparison there, as a page.", metavar="FILE", parser=path)] = (
        None
    )
    topic: ContentTopic = None
    brokers: Brokers = None
    json: Json = False


@verb(ReplayOptions)
def replay(options: ReplayOptions) -> None:
    """
    Decide a part of the stream again with another bundle, and show what would differ.

    It reads one topic of events in no group and publishes nothing. With the same bundle no event differs.
    """
    from tagstream.stream.cli.show import replay as shown
    from tagstream.stream.replay.run import ReplayOrder

    if options.with_text and options.rows is None:
        fail("--with-text is about the file of rows. Next: name one by --rows, or leave it out.", EXIT_USAGE)
    order = ReplayOrder(
        bundle=options.bundle,
        against=options.against,
        begin=options.begin,
        end=options.end,
        sample=options.sample,
        rate=options.rate,
        rows=options.rows,
        state=options.state,
        with_text=options.with_text,
    )
    chosen = of_content(settings(brokers=options.brokers), options.topic)
    shown.replay(chosen, order, html=options.html, as_json=options.json)
