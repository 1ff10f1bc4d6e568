"""Drift findings as `tagstream tail drift` shows them."""

import msgspec
from rich.text import Text

from tagstream.monitoring.drift.findings import Finding, what_moved
from tagstream.monitoring.vocabulary import DriftKind
from tagstream.stream.terminal.console import visible


def finding_line(value: bytes | None) -> Text | None:
    """Return a finding in short, and on a second line its window and example events. Return None for another record."""
    try:
        finding = msgspec.json.decode(value or b"", type=Finding)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    score = "" if finding.score is None else f"{finding.score:.2f}"
    examples = f"; look at {', '.join(finding.example_ids[:3])}" if finding.example_ids else ""
    return Text.assemble(
        (f"{visible(finding.at[:19]):<21}", "dim"),
        (f"{finding.kind.value:<9}", "yellow" if finding.kind is DriftKind.CHANGE else "cyan"),
        f"{score:>8}  ",
        visible(what_moved(finding), limit=400),
        (f"\n{'':<24}{visible(f'{finding.window.events} events, {finding.worker}{examples}', limit=400)}", "dim"),
    )
