"""`tagstream dlq`: look at dead letters, and send them again."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.cli.exits import EXIT_FAILED, EXIT_USAGE, fail
from stream.cli.options import Brokers, Json, settings

if TYPE_CHECKING:
    from stream.dead_letters.selection import Selection

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
    from stream.dead_letters import choose, show

    found = choose.select(chosen, _selection(code=code, stage=stage, since=since, partition=partition, most=max_letters))
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
    from stream.dead_letters import choose, selection, show

    show.print_letter(choose.at(chosen, selection.place(where)), raw=raw, as_json=json)


@app.command("export")
def export_letters(
    brokers: Brokers = None,
    code: Code = None,
    stage: StageOption = None,
    since: Since = None,
    partition: Partition = None,
    max_letters: MaxLetters = None,
) -> None:
    """
    Write events to correct: one a line, for `send`.

    Each line is the event of a dead letter of the topic content. The dead letters stay where they are.
    """
    chosen = settings(brokers=brokers)
    from stream.dead_letters import choose, show

    found = choose.select(chosen, _selection(code=code, stage=stage, since=since, partition=partition, most=max_letters))
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
        typer.Option(
            help="Topic to send to; unless given, answers go to `reviewed` and all others to `content`.", metavar="TOPIC"
        ),
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
    """Send dead letters again; each is sent once, however often this is called."""
    chosen = settings(brokers=brokers)
    import dataclasses

    from stream.dead_letters import replay, show
    from stream.dead_letters.plan import ReplayPlan, ReplayReport
    from stream.terminal import console

    selection = _selection(code=code, stage=stage, since=since, partition=partition, most=max_letters, places=where or ())
    if again and not selection.places:
        fail(
            "--again would replay everything a second time. Next: name the places, as `tagstream dlq list` prints them.",
            EXIT_USAGE,
        )
    plan = ReplayPlan(
        selection=selection,
        target=replay.target_of(chosen, to),
        most_replays=most_replays,
        again=again,
        refused=show.refused,
        say=console.talk,
        leave_from=None if to is not None else chosen.topics.reviewed,
    )

    def run(plan: ReplayPlan) -> ReplayReport:
        if dry_run:
            report = replay.preview(chosen, plan, show=lambda letter, record: show.print_planned(letter, record, as_json=json))
        else:
            with console.progress("replaying", shown=True) as advance:
                report = replay.replay(chosen, dataclasses.replace(plan, advance=advance))
        show.print_report(report, dry_run=dry_run, as_json=json)
        return report

    reports = [run(plan)]
    if plan.leave_from is not None and reports[0].left:
        # Each target has a part of the ledger of its own, so that answers are another replay.
        reports.append(run(dataclasses.replace(plan, target=plan.leave_from, only_from=plan.leave_from)))
    if any(report.refusals for report in reports):
        raise typer.Exit(EXIT_FAILED)


def _selection(*, since: str | None, places: Sequence[str] = (), **filters: Any) -> "Selection":
    import time

    from stream.dead_letters import choose, selection

    choose.check_filters(code=filters["code"], stage=filters["stage"])
    now_ms = int(time.time() * 1000)
    return selection.Selection(
        since_ms=None if since is None else selection.since_ms(since, now_ms),
        places=tuple(selection.place(text) for text in places),
        **filters,
    )
