"""`tagstream dlq`: look at dead letters, and send them again."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tagstream.stream.cli.exits import EXIT_FAILED, EXIT_USAGE, fail
from tagstream.stream.cli.options import Brokers, ContentTopic, Json, of_content, settings

if TYPE_CHECKING:
    from tagstream.stream.contract.dead_letter import DeadLetter
    from tagstream.stream.contract.event import Record
    from tagstream.stream.dead_letters.selection import Selection

app = typer.Typer(help="Look at dead letters, correct them, and send them again.", no_args_is_help=True, rich_markup_mode=None)

Code = Annotated[str | None, typer.Option(help="Only dead letters with this code, as `list` prints it.")]
StageOption = Annotated[
    str | None, typer.Option("--stage", help="Only dead letters of this stage: decode, validate, infer, produce.")
]
Since = Annotated[
    str | None, typer.Option(help="Only dead letters since then: 90s, 15m, 2h, 7d ago, or an RFC 3339 time.", metavar="WHEN")
]
Partition = Annotated[int | None, typer.Option(help="Only this partition of the dead letters' topic.", min=0)]
MaxLetters = Annotated[int | None, typer.Option("--max", help="At most so many dead letters, by partition and offset.", min=1)]


@app.command("list")
def list_letters(
    brokers: Brokers = None,
    code: Code = None,
    stage: StageOption = None,
    since: Since = None,
    partition: Partition = None,
    max_letters: MaxLetters = None,
    count: Annotated[bool, typer.Option("--count", help="Print only the number of each code.")] = False,
    json: Json = False,
) -> None:
    """List dead letters: place, origin and reason, without their text."""
    chosen = settings(brokers=brokers)
    from tagstream.stream.dead_letters import selection, show

    found = selection.select(chosen, _selection(code=code, stage=stage, since=since, partition=partition, most=max_letters))
    (show.print_counts if count else show.print_list)(found, as_json=json)


@app.command("show")
def show_letter(
    where: Annotated[str, typer.Argument(help="Place of a dead letter, as `list` prints it.", metavar="PARTITION/OFFSET")],
    brokers: Brokers = None,
    raw: Annotated[bool, typer.Option("--raw", help="Write only the original bytes.")] = False,
    json: Json = False,
) -> None:
    """Show one dead letter: its headers, key and bytes, escaped."""
    if raw and json:
        fail("--raw writes the value's own bytes, which are no JSON. Next: give one of --raw and --json.", EXIT_USAGE)
    chosen = settings(brokers=brokers)
    from tagstream.stream.dead_letters import selection, show

    show.print_letter(selection.at(chosen, selection.place(where)), raw=raw, as_json=json)


@app.command("export")
def export_letters(
    brokers: Brokers = None,
    code: Code = None,
    stage: StageOption = None,
    since: Since = None,
    partition: Partition = None,
    max_letters: MaxLetters = None,
    topic: ContentTopic = None,
) -> None:
    """
    Write events to correct: one a line, for `send`.

    Each line is the event of a dead letter of one topic of events. The dead letters stay where they are.
    """
    chosen = of_content(settings(brokers=brokers), topic)
    from tagstream.stream.dead_letters import selection, show

    found = selection.select(chosen, _selection(code=code, stage=stage, since=since, partition=partition, most=max_letters))
    show.print_events(found, content=chosen.topics.content)


@app.command("replay")
def replay_letters(
    where: Annotated[
        list[str] | None,
        typer.Argument(
            help="Places of dead letters; unless given, all that pass the filters.", metavar="[PARTITION/OFFSET]..."
        ),
    ] = None,
    brokers: Brokers = None,
    to: Annotated[
        str | None,
        typer.Option(help="Topic to send to; unless given, each goes to the topic that it came from.", metavar="TOPIC"),
    ] = None,
    code: Code = None,
    stage: StageOption = None,
    since: Since = None,
    partition: Partition = None,
    max_letters: MaxLetters = None,
    most_replays: Annotated[int, typer.Option(help="Refuse a dead letter that was replayed so often.", min=1, max=9999)] = 3,
    again: Annotated[
        bool, typer.Option("--again", help="Send dead letters again that were replayed before; needs places.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the dead letters that would be sent, and send none.")
    ] = False,
    json: Json = False,
) -> None:
    """Send dead letters again; those that an earlier replay sent are left out."""
    chosen = settings(brokers=brokers)
    from tagstream.stream.dead_letters import replay, show
    from tagstream.stream.terminal import console

    selection = _selection(code=code, stage=stage, since=since, partition=partition, most=max_letters, places=where or ())
    if again and not selection.places:
        fail(
            "--again would replay everything a second time. Next: name the places, as `tagstream dlq list` prints them.",
            EXIT_USAGE,
        )
    # A real replay has its report as its JSON, a dry run its records.
    is_listed = dry_run or not json
    with console.progress("replaying", shown=not (is_listed and console.out.is_terminal)) as advance:

        def sent(letter: "DeadLetter", record: "Record") -> None:
            advance()
            if is_listed:
                show.print_sent(letter, record, as_json=json)

        plan = replay.ReplayPlan(
            selection=selection,
            to=None if to is None else replay.topic_named(chosen, to),
            most_replays=most_replays,
            again=again,
            dry_run=dry_run,
            sent=sent,
            refused=show.refused,
        )
        reports = replay.replay(chosen, plan)
    for report in reports:
        show.print_report(report, dry_run=dry_run, as_json=json)
    if any(report.refusals for report in reports):
        raise typer.Exit(EXIT_FAILED)


def _selection(*, since: str | None, places: Sequence[str] = (), **filters: Any) -> "Selection":
    import time

    from tagstream.stream.dead_letters import selection

    selection.check_filters(code=filters["code"], stage=filters["stage"])
    now_ms = int(time.time() * 1000)
    return selection.Selection(
        since_ms=None if since is None else selection.since_ms(since, now_ms),
        places=tuple(selection.place(text) for text in places),
        **filters,
    )
