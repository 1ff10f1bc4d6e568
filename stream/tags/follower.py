"""Keeps a table of predictions as new as `tagged` and `review`, so that a query says which decision of an event holds.

Where the topics are read on is kept in the table's database, in the same transaction as the rows. A follower that is killed at any moment
reads on from there; what it reads twice is written once.
"""

import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from stream.contract.published import read_decision
from stream.contract.record import Record
from stream.contract.refusal import Refusal
from stream.database.database import DatabaseRefusedError, DatabaseUnavailableError
from stream.kafka import admin
from stream.kafka.errors import BrokerUnreachableError, unreachable
from stream.kafka.reading.resumed import Place, Resumed, resumed
from stream.kafka.rights import Operation
from stream.logs import logger
from stream.settings.settings import Settings
from stream.tables.predictions import Predictions
from stream.tables.row import PredictionRow, row_of_record

ROLES = ("tagged", "review")
# After a failure of brokers or database.
AGAIN_SECONDS = 2.0
# How often partitions are counted, and how far the table is behind.
LOOK_SECONDS = 15.0

log = logger("tagstream.tags")


class TableMismatchError(Exception):
    """The table was filled from other topics than these: the message says which, and the next step."""

    exit_code = 2


@dataclass(slots=True, kw_only=True)
class Followed:
    """
    The figures of one run.

    Attributes:
        decisions: Records that were read.
        written: Rows that were new or were replaced.
        unreadable: Records that were left out because they are not of the contract, or the database does not take them.
    """

    decisions: int = 0
    written: int = 0
    unreadable: int = 0


def follow(settings: Settings, predictions: Predictions, stop: threading.Event, *, once: bool = False) -> Followed:
    """
    Read the topics into the table until `stop` is set, or with `once` until their ends as they are now.

    A failure of brokers or database after the start is logged and tried again; with `once`, and at the start, it is raised.

    Args:
        settings: Brokers and topics.
        predictions: The table, opened as `followed`.
        stop: Ends it, within the bounds of an answer of the brokers and of the database.
        once: End where the topics end.

    Raises:
        BrokerUnreachableError: No broker answered.
        DatabaseUnavailableError: The database does not answer.
        TopicsMissingError: A topic does not exist.
        NotAuthorizedError: This user may not read a topic; the message has the missing ACL.
        TableMismatchError: The table was filled from other topics.
    """
    followed = Followed()
    started = False
    while not stop.is_set():
        try:
            with resumed(settings, _topics(settings)) as topics:
                _begin(settings, predictions, topics)
                started = True
                if once:
                    _read_to_ends(settings, topics, predictions, followed, stop)
                    return followed
                _keep_up(topics, predictions, followed, stop)
        except (BrokerUnreachableError, DatabaseUnavailableError) as error:
            if once or not started:
                raise
            log.warning("topics_not_followed", error=str(error))
            stop.wait(AGAIN_SECONDS)
    return followed


def _topics(settings: Settings) -> list[str]:
    wanted = {role: getattr(settings.topics, role) for role in ROLES}
    admin.require(settings, wanted, operations=dict.fromkeys(wanted, Operation.READ))
    return list(wanted.values())


def _begin(settings: Settings, predictions: Predictions, topics: Resumed) -> None:
    """
    Read on from where the table stands.

    Raises:
        TableMismatchError: It stands behind the end of a partition.
    """
    kept, starts, ends = predictions.positions(), topics.starts(), topics.ends()
    positions: dict[Place, int] = {}
    for place, start in starts.items():
        position = kept.get(place, start)
        if position > ends[place]:
            msg = (
                f"the table {predictions.name} has read {place[0]} {place[1]} up to {position}, and the topic ends at {ends[place]}: "
                f"it was made anew, or the table belongs to another cluster. Next: give another table by --table, or drop this one with "
                f"what bears its name; the topics fill it."
            )
            raise TableMismatchError(msg)
        if position < start:
            # Retention was faster than the follower: the table lacks what those records said.
            log.warning("records_gone", topic=place[0], partition=place[1], records=start - position)
        positions[place] = max(position, start)
    topics.begin(positions)
    behind = _behind(topics, ends)
    log.info("topics_followed", brokers=settings.brokers, table=predictions.name, behind=behind)


def _read_to_ends(
    settings: Settings, topics: Resumed, predictions: Predictions, followed: Followed, stop: threading.Event
) -> None:
    """
    Read as far as the topics reach now.

    Raises:
        BrokerUnreachableError: Records are outstanding, and the brokers do not send them.
    """
    ends = topics.ends()
    behind, moved = _behind(topics, ends), time.monotonic()
    while behind and not stop.is_set():
        _read(topics, predictions, followed)
        before, behind = behind, _behind(topics, ends)
        if behind < before:
            moved = time.monotonic()
        elif time.monotonic() - moved > settings.startup_timeout_seconds:
            raise unreachable(settings, TimeoutError(f"records outstanding: {behind}"))


def _keep_up(topics: Resumed, predictions: Predictions, followed: Followed, stop: threading.Event) -> None:
    """Read until a partition is new, or the end."""
    known = topics.partitions()
    looked = time.monotonic()
    level = False
    while not stop.is_set():
        _read(topics, predictions, followed)
        if time.monotonic() - looked > LOOK_SECONDS:
            looked = time.monotonic()
            behind = _behind(topics, topics.ends())
            # State changes alone: a busy stream is always a few records behind.
            if (behind == 0) != level:
                level = behind == 0
                log.info("table_is_level" if level else "table_is_behind", behind=behind, written=followed.written)
            if topics.partitions() != known:
                return


def _behind(topics: Resumed, ends: dict[Place, int]) -> int:
    return sum(max(0, end - topics.positions[place]) for place, end in ends.items() if place in topics.positions)


def _read(topics: Resumed, predictions: Predictions, followed: Followed) -> None:
    before = dict(topics.positions)
    records = topics.poll(_names(before))
    read = list(_rows(records, followed))
    moved = {place: offset for place, offset in topics.positions.items() if offset != before[place]}
    if read or moved:
        try:
            followed.written += predictions.upsert([row for _, row in read], moved)
        except DatabaseRefusedError:
            # One of them would keep all others out of the table for ever.
            for record, row in read:
                _write_alone(predictions, record, row, followed)
            followed.written += predictions.upsert([], moved)
    followed.decisions += len(records)


def _write_alone(predictions: Predictions, record: Record, row: PredictionRow, followed: Followed) -> None:
    try:
        followed.written += predictions.upsert([row])
    except DatabaseRefusedError as error:
        _leave_out(record, str(error), followed)


def _names(places: Iterable[Place]) -> Collection[str]:
    return {topic for topic, _ in places}


def _rows(records: Iterable[Record], followed: Followed) -> Iterable[tuple[Record, PredictionRow]]:
    for record in records:
        found = read_decision(record)
        if not isinstance(found, Refusal) and found.door in ROLES:
            yield record, row_of_record(found)
            continue
        _leave_out(record, found.message if isinstance(found, Refusal) else "it is a copy for an audit", followed)


def _leave_out(record: Record, why: str, followed: Followed) -> None:
    followed.unreadable += 1
    log.warning("record_left_out", topic=record.topic, partition=record.partition, offset=record.offset, why=why)
