"""`tagstream tail`: the records of a topic as they come."""

import time
from collections.abc import Callable

from stream.contract.distinct import Distinct
from stream.contract.record import Record
from stream.kafka import clients
from stream.kafka.admin import require
from stream.kafka.rights import Operation
from stream.settings.settings import Settings
from stream.terminal import console


def tail(
    settings: Settings,
    topic: str,
    *,
    as_json: bool,
    from_beginning: bool,
    max_records: int | None,
    idle_seconds: float | None,
    distinct: bool = False,
) -> int:
    """
    Print records, with `distinct` each outcome once, and return how many; see `follow`.

    Raises:
        BrokerUnreachableError: No broker answered.
        TopicsMissingError: There is no such topic.
        ConflictError: With `distinct`: two outcomes of one id differ.
    """
    known = Distinct()
    try:
        return follow(
            settings,
            topic,
            show=lambda record: console.print_record(record, as_json=as_json),
            keep=known.admit if distinct else lambda _: True,
            from_beginning=from_beginning,
            max_records=max_records,
            idle_seconds=idle_seconds,
        )
    finally:
        if distinct:
            console.talk(
                f"{known.first} distinct outcomes, {known.duplicates} duplicates dropped, "
                f"{known.unidentified} records that are no outcomes"
            )


def follow(
    settings: Settings,
    topic: str,
    *,
    show: Callable[[Record], None],
    from_beginning: bool,
    max_records: int | None,
    idle_seconds: float | None,
    keep: Callable[[Record], bool] = lambda _: True,
) -> int:
    """
    Show records that `keep` takes until `max_records`, until `idle_seconds` pass without one, or until interrupted; return how many.

    Raises:
        BrokerUnreachableError: No broker answered.
        TopicsMissingError: There is no such topic.
    """
    names: dict[str, str] = settings.topics.model_dump()
    name = names.get(topic, topic)
    require(settings, {topic: name}, operations={topic: Operation.READ})
    shown = 0
    # Nothing is idle before it could read.
    last: float | None = None
    quiet = clients.QUIET_SECONDS if idle_seconds is None else min(clients.QUIET_SECONDS, idle_seconds / 2)
    try:
        for records in clients.read(settings, [name], from_beginning=from_beginning, quiet_seconds=quiet):
            for record in filter(keep, records):
                show(record)
                shown += 1
                if max_records is not None and shown >= max_records:
                    return shown
            now = time.monotonic()
            if records or last is None:
                last = now
            elif idle_seconds is not None and now - last > idle_seconds:
                return shown
    except KeyboardInterrupt:
        console.talk(f"{shown} records")
    return shown
