"""The summary of a demo: its figures, and whether the account balances."""

from collections.abc import Sequence

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from tagstream.monitoring.drift.findings import what_moved
from tagstream.monitoring.top.panel import can_draw
from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.demo.account import Account, AccountTotals
from tagstream.stream.demo.view import STYLES, milliseconds
from tagstream.stream.terminal.console import tag_style, visible

# Wider than any terminal.
WIDEST = 1000
# Name, value, style.
Row = tuple[str, str, str]


def print_summary(console: Console, account: Account, disorder: Sequence[str]) -> bool:
    """
    Print the figures, the findings and the verdict. On a wide terminal, blocks of figures are printed side by side.

    Args:
        console: The output.
        account: The account of the run.
        disorder: Other failures, a sentence each, for example a worker that had to be killed or topics that are left.

    Returns:
        True if every event and answer is accounted for, and nothing else failed.
    """
    totals, problems = account.totals(), account.problems()
    blocks = [_block(rows) for rows in (figures(totals), tags(totals), codes(totals), answers(totals)) if rows]
    console.print()
    side_by_side = Table.grid(padding=(0, 6))
    side_by_side.add_row(Group(blocks[0], "", *blocks[1:2]), Group(*blocks[2:3], "", *blocks[3:]))
    # rich limits a measure to the given width, so the width here is `WIDEST`.
    needed = console.measure(side_by_side, options=console.options.update(width=WIDEST)).maximum
    for block in [side_by_side] if can_draw(console) and needed <= console.width else blocks:
        console.print(block)
        console.print()
    if account.findings:
        console.print(Text("what moved, by tagstream tail drift", style="bold"))
        for one in account.findings:
            console.print(Text(f" {visible(what_moved(one), limit=400)}"), soft_wrap=True, highlight=False)
        console.print()
    console.print(verdict(totals, problems, disorder), soft_wrap=True, highlight=False)
    return bool(totals.sent) and not problems and not disorder


def verdict(totals: AccountTotals, problems: Sequence[str], disorder: Sequence[str] = ()) -> Text:
    """
    Return a headline that says whether every event and answer is accounted for, followed by a line for each failure.

    Args:
        totals: The figures of the run.
        problems: The discrepancies of the account, a sentence each.
        disorder: Other failures, a sentence each.
    """
    if not totals.sent:
        headline = Text("No event was sent, so nothing was shown.", style="bold red")
    elif problems:
        headline = Text("Not everything is accounted for:", style="bold red")
    elif disorder:
        headline = Text(f"All {totals.sent} events are accounted for, but the demo did not end in order:", style="bold yellow")
    else:
        headline = Text(f"All {totals.sent} events are accounted for: each is on exactly one topic.", style="bold green")
        if totals.given:
            headline.append(f" All {totals.given} answers are in tagged.")
    return Text("\n").join([headline, *(Text(f"  {problem}") for problem in (*problems, *disorder))])


def figures(totals: AccountTotals) -> list[Row]:
    """Return the rows of the main figures."""
    rate = "-" if totals.events_per_second is None else f"{totals.events_per_second:.1f}"
    names = {Destination.TAGGED: "tagged", Destination.REVIEW: "in review", Destination.DLQ: "dead-lettered"}
    return [
        ("events in", str(totals.sent), "bold"),
        *((name, str(totals.destinations[destination]), STYLES[destination]) for destination, name in names.items()),
        ("duplicates", str(totals.duplicates), ""),
        ("unaccounted", str(totals.waiting), "bold red" if totals.waiting else ""),
        ("events/s", rate, "cyan"),
        ("p50 latency", milliseconds(totals.p50_ms), "cyan"),
        ("p99 latency", milliseconds(totals.p99_ms), "cyan"),
    ]


def tags(totals: AccountTotals) -> list[Row]:
    """Return rows of decisions by tag, from both `tagged` and `review`."""
    labels = list(totals.tags)
    rows = [(tag, str(count), tag_style(tag, labels)) for tag, count in totals.tags.items()]
    return [("tagged and in review, by tag", "", "bold"), *rows] if rows else []


def codes(totals: AccountTotals) -> list[Row]:
    """Return rows of dead letters by code."""
    rows = [(code, str(count), "") for code, count in totals.codes.items()]
    return [("dead letters, by code", "", "bold"), *rows] if rows else []


def answers(totals: AccountTotals) -> list[Row]:
    """Return rows about people's answers; empty if there are no answers."""
    if not totals.given:
        return []
    return [
        ("people's answers", "", "bold"),
        ("answers given", str(totals.given), ""),
        ("answers in tagged", str(totals.reached), "bold red" if totals.reached < totals.given else "cyan"),
        ("as the model says", str(totals.agreed), ""),
        ("p50 to tagged", milliseconds(totals.answer_p50_ms), "cyan"),
    ]


def _block(rows: Sequence[Row]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    # If there is too little room, the name is cut, never the number: a cut number would be a wrong number.
    table.add_column(overflow="ellipsis")
    table.add_column(justify="right", no_wrap=True)
    for name, value, style in rows:
        table.add_row(Text(name, style=style, no_wrap=True), Text(value, style=style))
    return table
