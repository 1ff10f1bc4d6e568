"""`tagstream rollout shadow`: lets another bundle decide past or live events of the stream, without publishing its decisions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tagstream.stream.cli.exits import EXIT_USAGE, fail
from tagstream.stream.cli.options import (
    Brokers,
    ContentTopic,
    Json,
    finite,
    given_of,
    not_empty,
    of_content,
    path,
    settings,
    verb,
)

# Marks of options that apply only to the past, and of options that apply only to the running stream.
PAST, BESIDE = "past", "beside"
# The default share of events beside the running stream. It is small, because a challenger's decision costs as much as a worker's.
SAMPLE_BESIDE = 0.1
METRICS_PORT = 9109


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowOptions:
    """The options of `tagstream rollout shadow`."""

    bundle: Annotated[
        str,
        typer.Argument(
            help="The other bundle: its folder, or its digest in rollout.bundles.", metavar="BUNDLE", callback=not_empty
        ),
    ]
    sample: Annotated[
        float | None,
        typer.Option(
            help=f"Share of the events, drawn by a hash of the id; {SAMPLE_BESIDE:g} beside the stream and 1 over the past unless given.",
            min=0.000001,
            max=1,
            callback=finite,
        ),
    ] = None
    since: Annotated[
        str | None,
        PAST,
        typer.Option(
            help="Over the past: begin at this time, such as 2026-01-31T12:00Z, at an offset of each partition, as 0:1200,1:1350, or at the "
            "`beginning`, which is the default.",
            metavar="TIME|OFFSETS|beginning",
            callback=not_empty,
        ),
    ] = None
    until: Annotated[
        str | None,
        PAST,
        typer.Option(
            help="Over the past: end before this time or these offsets; the present ends unless given.",
            metavar="TIME|OFFSETS",
            callback=not_empty,
        ),
    ] = None
    against: Annotated[
        str | None,
        PAST,
        typer.Option(
            help="Over the past: compare with this bundle, a folder or a digest, or `recorded` for the published decisions; the "
            "settings' bundle unless given.",
            metavar="FOLDER|DIGEST|recorded",
            callback=not_empty,
        ),
    ] = None
    rate: Annotated[
        float | None,
        PAST,
        typer.Option(help="Over the past: most events a second; no bound unless given.", min=0.1, callback=finite),
    ] = None
    rows: Annotated[
        Path | None,
        PAST,
        typer.Option(
            help="Over the past: file for the events that differ in tag or door, JSON Lines.", metavar="FILE", parser=path
        ),
    ] = None
    with_text: Annotated[
        bool, PAST, typer.Option("--with-text", help="Over the past: put titles and descriptions into --rows.")
    ] = False
    state: Annotated[
        Path | None,
        PAST,
        typer.Option(
            help="Over the past: file for counts and positions; after a stop, the same command goes on.",
            metavar="FILE",
            parser=path,
        ),
    ] = None
    html: Annotated[
        Path | None,
        PAST,
        typer.Option(help="Over the past: file to write the comparison to, as a page.", metavar="FILE", parser=path),
    ] = None
    topic: Annotated[ContentTopic, PAST] = None
    ask: Annotated[
        float | None,
        BESIDE,
        typer.Option(
            help="Beside the stream: share of the disagreements about which people are asked, by audit, 0 unless given; with a "
            "canary, at least the share of its plan.",
            min=0,
            max=1,
            callback=finite,
        ),
    ] = None
    from_beginning: Annotated[
        bool,
        BESIDE,
        typer.Option(
            "--from-beginning",
            help="Beside the stream: at the first start, begin with the oldest event, not after the newest.",
        ),
    ] = False
    max: Annotated[
        int | None, BESIDE, typer.Option(help="Beside the stream: end after this number of drawn events.", min=1)
    ] = None
    metrics_port: Annotated[
        int | None,
        BESIDE,
        typer.Option(
            help=f"Beside the stream: port of the command's own /metrics, {METRICS_PORT} unless given; 0 takes a free one.",
            min=0,
            max=65535,
        ),
    ] = None
    brokers: Brokers = None
    json: Json = False


@verb(ShadowOptions)
def shadow(options: ShadowOptions) -> None:
    """
    Let another bundle decide the live events, or with --since or --until past events, without publishing its decisions.

    Beside the stream, the command runs until it is stopped, in its own consumer group, and writes the decisions of both bundles to the
    topic shadow, without texts. People may be asked about disagreements of the two bundles. Over the past, the command reads one topic of
    events without a group, writes to no topic, and shows which decisions would differ. With the same bundle, no decision differs.
    """
    if options.since is not None or options.until is not None:
        _past(options)
    else:
        _beside(options)


def _past(options: ShadowOptions) -> None:
    from tagstream.stream.cli.show import shadow as shown
    from tagstream.stream.shadow.past import PastOrder

    if wrong := given_of(options, BESIDE):
        fail(
            f"{', '.join(wrong)}: only for a follower beside the running stream, and --since and --until are about the past. "
            "Next: leave one or the other out.",
            EXIT_USAGE,
        )
    if options.with_text and options.rows is None:
        fail("--with-text is about the file of rows. Next: name one by --rows, or leave it out.", EXIT_USAGE)
    order = PastOrder(
        bundle=options.bundle,
        against=options.against,
        since=options.since,
        until=options.until,
        sample=1.0 if options.sample is None else options.sample,
        rate=options.rate,
        rows=options.rows,
        state=options.state,
        with_text=options.with_text,
    )
    shown.past(of_content(settings(brokers=options.brokers), options.topic), order, html=options.html, as_json=options.json)


def _beside(options: ShadowOptions) -> None:
    from tagstream.stream.cli.show import shadow as shown
    from tagstream.stream.shadow.live_shadow import ShadowOrder

    if wrong := given_of(options, PAST):
        fail(
            f"{', '.join(wrong)}: only for a comparison over the past. Next: name its part by --since or --until (all of it: --since beginning), "
            "or leave this out.",
            EXIT_USAGE,
        )
    order = ShadowOrder(
        sample=SAMPLE_BESIDE if options.sample is None else options.sample,
        ask=options.ask or 0.0,
        most=options.max,
        from_beginning=options.from_beginning,
    )
    port = METRICS_PORT if options.metrics_port is None else options.metrics_port
    shown.beside(settings(brokers=options.brokers), options.bundle, order, metrics_port=port, as_json=options.json)
