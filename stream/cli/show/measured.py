"""Prints live quality: tables for people, one JSON object for programs."""

from dataclasses import asdict
from typing import Any

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from monitoring.quality import words
from stream.review.live_quality import LiveQuality
from stream.terminal import console

# Tables with more columns begin with a label.
SHORT = 2


def print_quality(found: LiveQuality, *, as_json: bool) -> None:
    """Print the report; nothing for people where there is none."""
    if as_json:
        console.show_json_line(msgspec.json.encode(record(found)))
        return
    if found.report is None:
        return
    for table in words.tables(found.report):
        console.out.print(_drawn(table))
        if table.note:
            console.out.print(Text(console.visible(table.note, limit=600), style="dim"))
        console.out.print()
    console.out.print(Text(words.headline(found.report, days=found.days), style="bold"))
    console.out.print(Text(words.verdict(found.report)))


def record(found: LiveQuality) -> dict[str, Any]:
    """Every number by its name: times in Unix milliseconds, shares from 0 to 1."""
    return {
        "since_ms": found.since_ms,
        "until_ms": found.until_ms,
        "labels": found.labels,
        "left_out": found.left_out.other,
        "unused": {"decisions": found.left_out.unsound, "answers": found.left_out.strays},
        "queue": asdict(found.queue),
        "report": None if found.report is None else words.as_json(found.report, days=found.days),
    }


def _drawn(table: words.Table) -> Table:
    drawn = Table(title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(table.head):
        # A figure may stand above its interval on a narrow terminal; a label is never cut.
        drawn.add_column(name, no_wrap=place == 0 and len(table.head) > SHORT)
    for row in table.rows:
        # Names of sources come from events.
        drawn.add_row(*(Text(console.visible(cell, limit=100)) for cell in row))
    return drawn
