"""Prints live quality: tables for people, one JSON object for programs."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import msgspec
from rich.text import Text

from tagstream.monitoring.quality import value_words, viewers, words
from tagstream.monitoring.quality.value import ValueReport
from tagstream.stream.review.live_quality import LiveQuality
from tagstream.stream.terminal import console


def print_quality(found: LiveQuality, worth: ValueReport | None, *, as_json: bool) -> None:
    """Print the report, or what the decisions are worth if that was measured; JSON has both. Without a figure, print JSON only."""
    if as_json:
        console.show_json_line(msgspec.json.encode(record(found) | ({} if worth is None else {"value": asdict(worth)})))
        return
    if worth is not None:
        if worth.whole.events:
            _print_tables(value_words.tables(worth))
            console.out.print(Text(value_words.headline(worth, days=found.days), style="bold"))
        return
    _print_tables(viewers.tables(found.viewers))
    if found.report is None:
        return
    _print_tables([*([] if found.progress is None else [found.progress]), *words.tables(found.report)])
    console.out.print(Text(words.headline(found.report, days=found.days), style="bold"))
    console.out.print(Text(words.verdict(found.report)))


def _print_tables(tables: Iterable[words.QualityTable]) -> None:
    for table in tables:
        console.show_table(table.title, table.head, table.rows, note=table.note)


def record(found: LiveQuality) -> dict[str, Any]:
    """Return every number by its name: times in Unix milliseconds, shares from 0 to 1."""
    return {
        "since_ms": found.since_ms,
        "until_ms": found.until_ms,
        "labels": found.labels,
        "left_out": found.left_out.other,
        "unused": {"decisions": found.left_out.unsound, "answers": found.left_out.strays},
        "queue": asdict(found.queue),
        "viewers": viewers.as_json(found.viewers),
        "report": None if found.report is None else words.as_json(found.report, days=found.days),
    }
