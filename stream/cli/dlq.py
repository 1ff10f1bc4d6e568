"""`tagstream dlq`: lists and shows dead letters, and sends them again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from tagstream.stream.cli.exits import EXIT_FAILED, EXIT_USAGE, fail
from tagstream.stream.cli.options import Brokers, ContentTopic, Json, of_content, settings, verb

if TYPE_CHECKING:
    from tagstream.stream.contract.dead_letter import DeadLetter
    from tagstream.stream.contract.event import Record
    from tagstream.stream.dead_letters.selection import Selection

app = typer.Typer(help="Look at dead letters, correct them, and send them again.", no_args_is_help=True, rich_markup_mode=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterFilters:
    """The options that select dead letters."""

    code: Annotated[str | None, typer.Option(help="Only dead letters with this code, as `list` prints it.")] = None
    stage: Annotated[
        str | None, typer.Option("--stage", help="Only dead letters of this stage: decode, validate, infer, produce.")
    ] = None
    since: Annotated[
        str | None,
        typer.Option(help="Only dead letters since this moment: 90s, 15m, 2h, 7d ago, or an RFC 3339 time.", metavar="WHEN"),
    ] = None
    partition: Annotated[int | None, typer.Option(help="Only this partition of the dead letters' topic.", min=0)] = None
    max: Annotated[int | None, typer.Option(help="The most dead letters to take, by partition and offset.", min=1)] = None

    def selection(self, places: Sequence[str] = ()) -> "Selection":
        """
        Return the selection of these filters, limited to `places` if any are given.

        Raises:
            DeadLetterArgumentError: A code, a stage, a time or a place is wrong.
        """
        import time

        from tagstream.stream.dead_letters import selection

        selection.check_filters(code=self.code, stage=self.stage)
        return selection.Selection(
            code=self.code,
            stage=self.stage,
            since_ms=None if self.since is None else selection.since_ms(self.since, int(time.time() * 1000)),
            partition=self.partition,
            most=self.max,
            places=tuple(selection.place(text) for text in places),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """The options of `tagstream dlq list`."""

    brokers: Brokers = None
    filters: LetterFilters = field(default_factory=LetterFilters)
    count: Annotated[bool, typer.Option("--count", help="Print only the number of each code.")] = False
    events: Annotated[
        bool, typer.Option("--events", help="Write only the events of one topic, one a line: to correct, and to `send`.")
    ] = False
    topic: ContentTopic = None
    json: Json = False


@app.command("list")
@verb(ListOptions)
def list_letters(options: ListOptions) -> None:
    """List dead letters: place, origin and reason, without text; or with --events the events themselves."""
    if options.events and (options.count or options.json):
        fail("--events writes the events alone. Next: leave out --count and --json, or --events.", EXIT_USAGE)
    if options.topic is not None and not options.events:
        fail("--topic names the topic of --events. Next: give --events, or leave --topic out.", EXIT_USAGE)
    chosen = settings(brokers=options.brokers)
    if options.events:
        chosen = of_content(chosen, options.topic)
    from tagstream.stream.dead_letters import selection, show

    found = selection.select(chosen, options.filters.selection())
    if options.events:
        show.print_events(found, content=chosen.topics.content)
    else:
        (show.print_counts if options.count else show.print_list)(found, as_json=options.json)


@app.command("show")
def show_letter(
    where: Annotated[str, typer.Argument(help="Place of a dead letter, as `list` prints it.", metavar="PARTITION/OFFSET")],
    brokers: Brokers = None,
    raw: Annotated[bool, typer.Option("--raw", help="Write only the original bytes.")] = False,
    json: Json = False,
) -> None:
    """Show one dead letter: its headers, key and bytes, escaped."""
    if raw and json:
        fail("--raw writes the value's own bytes, which are not JSON. Next: give one of --raw and --json.", EXIT_USAGE)
    chosen = settings(brokers=brokers)
    from tagstream.stream.dead_letters import selection, show

    show.print_letter(selection.at(chosen, selection.place(where)), raw=raw, as_json=json)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """The options of `tagstream dlq replay`."""

    where: Annotated[
        list[str] | None,
        typer.Argument(
            help="Places of dead letters; unless given, all that pass the filters.", metavar="[PARTITION/OFFSET]..."
        ),
    ] = None
    brokers: Brokers = None
    to: Annotated[
        str | None,
        typer.Option(help="Topic to send to; unless given, each goes to the topic that it came from.", metavar="TOPIC"),
    ] = None
    filters: LetterFilters = field(default_factory=LetterFilters)
    most_replays: Annotated[
        int, typer.Option(help="Refuse a dead letter that was replayed this number of times.", min=1, max=9999)
    ] = 3
    again: Annotated[bool, typer.Option("--again", help="Send dead letters again that were replayed before; needs places.")] = (
        False
    )
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the dead letters that would be sent, and send none.")] = False
    json: Json = False


@app.command("replay")
@verb(ReplayOptions)
def replay_letters(options: ReplayOptions) -> None:
    """Send dead letters again; letters that an earlier replay sent are left out."""
    chosen = settings(brokers=options.brokers)
    from tagstream.stream.dead_letters import replay, show
    from tagstream.stream.terminal import console

    selection = options.filters.selection(options.where or ())
    if options.again and not selection.places:
        fail(
            "--again would replay everything a second time. Next: name the places, as `tagstream dlq list` prints them.",
            EXIT_USAGE,
        )
    # With --json, a real replay prints its report, and a dry run prints its records.
    is_listed = options.dry_run or not options.json
    with console.progress("replaying", shown=not (is_listed and console.out.is_terminal)) as advance:

        def sent(letter: "DeadLetter", record: "Record") -> None:
            advance()
            if is_listed:
                show.print_sent(letter, record, as_json=options.json)

        plan = replay.ReplayPlan(
            selection=selection,
            to=None if options.to is None else replay.topic_named(chosen, options.to),
            most_replays=options.most_replays,
            again=options.again,
            dry_run=options.dry_run,
            sent=sent,
            refused=show.refused,
        )
        reports = replay.replay(chosen, plan)
    for report in reports:
        show.print_report(report, dry_run=options.dry_run, as_json=options.json)
    if any(report.refusals for report in reports):
        raise typer.Exit(EXIT_FAILED)
