"""The end of a demo: its figures, and whether the account balances."""

from collections.abc import Sequence

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from monitoring.vocabulary import Destination
from stream.demo.ledger import Totals
from stream.demo.people.answers import AnswerTotals
from stream.demo.screen.frame import milliseconds
from stream.demo.screen.watch import can_draw
from stream.terminal.console import tag_style, visible

# More columns than any terminal has.
WIDEST = 1000
# Name, value, style.
Row = tuple[str, str, str]


def print_summary(
    console: Console,
    totals: Totals,
    given: AnswerTotals,
    problems: Sequence[str],
    moved: Sequence[str] = (),
    disorder: Sequence[str] = (),
) -> None:
    """
    Print the figures, the findings and the verdict; blocks stand side by side on a terminal that is wide enough.

    Args:
        console: Where they are printed.
        totals: The figures of the events.
        given: Those of people's answers.
        problems: The ways in which the account does not balance, a sentence each.
        moved: The findings of drift, a sentence each.
        disorder: What else went wrong, a sentence each: a worker that had to be killed, topics that are left.
    """
    blocks = [_block(rows) for rows in (figures(totals), tags(totals), codes(totals), answers(given)) if rows]
    console.print()
    beside = Table.grid(padding=(0, 6))
    beside.add_row(Group(blocks[0], "", *blocks[1:2]), Group(*blocks[2:]))
    # rich cuts a measure to the width that it is given.
    needed = console.measure(beside, options=console.options.update(width=WIDEST)).maximum
    if can_draw(console) and needed <= console.width:
        console.print(beside)
        console.print()
    else:
        for block in blocks:
            console.print(block)
            console.print()
    if moved:
        console.print(Text("what moved, by tagstream drift tail", style="bold"))
        for one in moved:
            console.print(Text(f" {visible(one, limit=400)}"), soft_wrap=True, highlight=False)
        console.print()
    console.print(verdict(totals, given, problems, disorder), soft_wrap=True, highlight=False)


def verdict(totals: Totals, given: AnswerTotals, problems: Sequence[str], disorder: Sequence[str] = ()) -> Text:
    """Whether every event and answer is accounted for, and below it a line for each thing that went wrong."""
    if not totals.sent:
        headline = Text("No event was sent, so nothing was shown.", style="bold red")
    elif problems:
        headline = Text("Not everything is accounted for:", style="bold red")
    elif disorder:
        headline = Text(f"All {totals.sent} events are accounted for, but the demo did not end in order:", style="bold yellow")
    else:
        headline = Text(f"All {totals.sent} events are accounted for: each left by exactly one door.", style="bold green")
        if given.given:
            headline.append(f" All {given.given} answers are in tagged.")
    return Text("\n").join([headline, *(Text(f"  {problem}") for problem in (*problems, *disorder))])


def figures(totals: Totals) -> list[Row]:
    """The account in numbers."""
    rate = "-" if totals.events_per_second is None else f"{totals.events_per_second:.1f}"
    return [
        ("events in", str(totals.sent), "bold"),
        ("tagged", str(totals.doors[Destination.TAGGED]), "green"),
        ("in review", str(totals.doors[Destination.REVIEW]), "yellow"),
        ("dead-lettered", str(totals.doors[Destination.DLQ]), "red"),
        ("duplicates", str(totals.duplicates), ""),
        ("unaccounted", str(totals.waiting), "bold red" if totals.waiting else ""),
        ("events/s", rate, "cyan"),
        ("p50 latency", milliseconds(totals.p50_ms), "cyan"),
        ("p99 latency", milliseconds(totals.p99_ms), "cyan"),
    ]


def tags(totals: Totals) -> list[Row]:
    """Decisions by tag, of both `tagged` and `review`."""
    labels = list(totals.tags)
    rows = [(tag, str(count), tag_style(tag, labels)) for tag, count in totals.tags.items()]
    return [("tagged and in review, by tag", "", "bold"), *rows] if rows else []


def codes(totals: Totals) -> list[Row]:
    """Dead letters by code."""
    rows = [(code, str(count), "") for code, count in totals.codes.items()]
    return [("dead letters, by code", "", "bold"), *rows] if rows else []


def answers(given: AnswerTotals) -> list[Row]:
    """People's answers; nothing where none was given."""
    if not given.given:
        return []
    return [
        ("people's answers", "", "bold"),
        ("answers given", str(given.given), ""),
        ("answers in tagged", str(given.reached), "bold red" if given.reached < given.given else "cyan"),
        ("as the model says", str(given.agreed), ""),
        ("p50 to tagged", milliseconds(given.p50_ms), "cyan"),
    ]


def _block(rows: Sequence[Row]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    # Where there is no room for both, the name is cut: half of a number would be another number.
    table.add_column(overflow="ellipsis")
    table.add_column(justify="right", no_wrap=True)
    for name, value, style in rows:
        table.add_row(Text(name, style=style, no_wrap=True), Text(value, style=style))
    return table
