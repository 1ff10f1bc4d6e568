"""Check the newest events of a topic: can a worker decode them, and do they have fields where the settings say?"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator

from tagstream.stream.contract.event import Record, decode, opened_value
from tagstream.stream.contract.refusal import Refusal, Refused
from tagstream.stream.contract.shape import NAMES, spelled, value_at
from tagstream.stream.doctor.findings import CheckFinding, Status, finding_of
from tagstream.stream.kafka.errors import BrokerUnreachableError
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.registry.avro import MissingExtraError
from tagstream.stream.registry.client import RegistryError
from tagstream.stream.registry.unframing import unframing_of
from tagstream.stream.settings.fields import read
from tagstream.stream.settings.secret_files import SecurityError
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal.text import counted

# The number of newest records that are read, over all partitions.
MOST_READ = 100
# The number of faults that the finding lists.
MOST_FAULTS = 3


def events(settings: Settings, *, table: str = "fields") -> Iterator[CheckFinding]:
    """
    Check the newest records of an existing topic of events. Yield nothing if the Schema Registry fails: its own check reports that.

    Args:
        settings: The settings of one topic of events.
        table: The table of the settings that has the pointers to the fields of these events.
    """
    try:
        records = _newest(settings)
        unframe = unframing_of(settings)
        if records:
            yield of_records(settings, records if unframe is None else unframe(records), table=table)
    except BrokerUnreachableError as error:
        yield finding_of("events", Status.WARN, error)
    except (MissingExtraError, SecurityError, RegistryError):
        return


def _newest(settings: Settings) -> list[Record]:
    with log_of(settings, settings.topics.content) as log:
        ends = log.ends()
        each = max(1, MOST_READ // len(ends))
        first = {number: max(0, end - each) for number, end in ends.items()}
        return list(itertools.islice(log.read(first, ends), MOST_READ))


def of_records(settings: Settings, records: Iterable[Record | Refusal], *, table: str = "fields") -> CheckFinding:
    """
    Return the finding about some records.

    Args:
        settings: The limits, and the pointers to the fields of events.
        records: One or more. A Refusal stands for a record that cannot be taken out of its frame.
        table: As for `events`.
    """
    limits, pointers = settings.limits, settings.fields.shape.pointers
    faults: Counter[str] = Counter()
    found: Counter[str] = Counter()
    total = 0
    for record in records:
        total += 1
        event = record if isinstance(record, Refusal) else decode(record, limits)
        if isinstance(event, Refusal):
            faults[f"{event.reason.value}: {event.message}"] += 1
        if isinstance(record, Record):
            try:
                checked, _, _ = opened_value(record, limits)
            except Refused:
                continue
            found.update(spelled(parts) for parts in pointers if value_at(checked, parts) is not None)
    counts = ", ".join(f"{spelled(parts)} in {found[spelled(parts)]}" for parts in pointers)
    readable = total - faults.total()
    detail = f"of the newest {counted(total, 'record')} of {settings.topics.content} {readable} can be read; {counts}"
    if faults:
        listed = "; ".join(f"{count} times {fault}" for fault, count in faults.most_common(MOST_FAULTS))
        return CheckFinding(
            check="events",
            status=Status.WARN if readable else Status.FAIL,
            detail=f"{detail}. The others are dead letters: {listed}",
            fix=f"set {table}.title and its neighbours to where these events have their fields (docs/producers.md), or correct the producer",
        )
    idle = [
        f"{table}.{name}"
        for name in sorted(settings.fields.model_fields_set & set(NAMES))
        if (places := read(getattr(settings.fields, name))) and not any(found[spelled(parts)] for parts in places)
    ]
    if idle:
        return CheckFinding(
            check="events",
            status=Status.WARN,
            detail=f"{detail}. No record has anything where {' and '.join(idle)} {'point' if len(idle) > 1 else 'points'}",
            fix="correct the pointer; an event whose id is not found gets an id made of its bytes",
        )
    return CheckFinding(check="events", status=Status.OK, detail=detail)
