"""`tagstream report`: sends a reader's report that a tag is wrong."""

from typing import Annotated

import typer

from tagstream.stream.cli.exits import EXIT_USAGE, fail, note
from tagstream.stream.cli.options import Brokers, not_empty, settings


def report(
    event_id: Annotated[
        str, typer.Argument(help="Id of the event whose tag is wrong.", metavar="EVENT_ID", callback=not_empty)
    ],
    brokers: Brokers = None,
    tag: Annotated[str | None, typer.Option(help="The tag that would be right.", callback=not_empty)] = None,
    comment: Annotated[str | None, typer.Option("--note", help="Your own words, for the reviewer.", callback=not_empty)] = None,
    reporter: Annotated[str | None, typer.Option(help="Your name.", callback=not_empty)] = None,
) -> None:
    """
    Report that the tag of an event is wrong.

    A reviewer is then asked about the event; the report itself changes no tag. The command ends when the broker has confirmed the report.
    """
    chosen = settings(brokers=brokers)
    import time

    from tagstream.stream.cli.show.record_filter import unknown_label
    from tagstream.stream.contract.refusal import Refusal
    from tagstream.stream.contract.reports import report_of, write_report
    from tagstream.stream.kafka import producer
    from tagstream.stream.kafka.admin import require
    from tagstream.stream.kafka.rights import Operation
    from tagstream.stream.terminal import console

    given = {"event_id": event_id, "suggested_tag": tag or "", "note": comment or "", "reporter": reporter or ""}
    made = report_of(given, int(time.time() * 1000))
    if isinstance(made, Refusal):
        fail(f"this report cannot be sent: {made.message}. Next: correct it and send it again.", EXIT_USAGE)
    warning = None if tag is None else unknown_label(chosen, tag)
    if warning is not None:
        note(f"{warning}. The report is sent all the same, since another model may have decided.")
    name = chosen.topics.reports
    require(chosen, {"reports": name}, operations={"reports": Operation.WRITE})
    with producer.sender(chosen) as sender:
        sender.send(name, key=made.event_id.encode(), value=write_report(made))
        sender.flush()
    shown = console.visible(event_id)
    console.talk(
        f"the report on {shown} is in {name}, confirmed by the broker. The event comes before a reviewer if the console knows it; "
        f"`tagstream lookup {shown}` says whether any event has this id"
    )
