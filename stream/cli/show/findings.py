"""`tagstream drift tail`: findings as they come."""

import sys

import msgspec
from rich.text import Text

from tagstream.monitoring.drift.findings import Finding, what_moved
from tagstream.monitoring.vocabulary import DriftKind
from tagstream.stream.cli.show import records
from tagstream.stream.contract.event import Record
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal import console


def follow(
    settings: Settings, *, as_json: bool, from_beginning: bool, max_records: int | None, idle_seconds: float | None
) -> None:
    """
    Show findings as they come; arguments as of `tail`.

    Raises:
        BrokerUnreachableError: No broker answered.
        TopicsMissingError: There is no topic `drift`.
    """
    if not as_json:
        console.talk(f"{'at':<21}{'kind':<9}{'score':>8}  what moved")
    records.follow(
        settings,
        "drift",
        show=lambda record: _show(record, as_json=as_json),
        from_beginning=from_beginning,
        max_records=max_records,
        idle_seconds=idle_seconds,
    )


def _show(record: Record, *, as_json: bool) -> None:
    try:
        finding = msgspec.json.decode(record.value or b"", type=Finding)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        console.talk(f"{record.topic} {record.partition}/{record.offset} is no drift finding: {error}")
        return
    if as_json:
        # Without the line breaks that JSON allows between its parts; fields that this version does not know stay.
        console.show_json_line(msgspec.json.format(record.value or b"", indent=-1))
        sys.stdout.flush()
        return
    score = "" if finding.score is None else f"{finding.score:.2f}"
    console.out.print(
        Text.assemble(
            (f"{finding.at[:19]:<21}", "dim"),
            (f"{finding.kind.value:<9}", "yellow" if finding.kind is DriftKind.CHANGE else "cyan"),
            f"{score:>8}  ",
            console.visible(what_moved(finding), limit=400),
        )
    )
    window = f"{finding.window.events} events, {finding.worker}"
    examples = f"; look at {', '.join(finding.example_ids[:3])}" if finding.example_ids else ""
    console.out.print(Text(f"{'':<40}{console.visible(window + examples, limit=400)}", style="dim"))
