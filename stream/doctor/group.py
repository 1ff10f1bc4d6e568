"""Checks of the consumer group: its members, the waiting events, open transactions, and the last committed event."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tagstream.monitoring.limits import OPEN_TRANSACTION_SECONDS
from tagstream.monitoring.record_time import can_be_true
from tagstream.stream.doctor.findings import CheckFinding, Status, finding_of
from tagstream.stream.kafka import admin
from tagstream.stream.kafka.consumer_group import (
    GroupStanding,
    Member,
    PartitionStanding,
    decided_without_a_commit,
    look,
    without_a_commit,
)
from tagstream.stream.kafka.errors import BrokerUnreachableError, NotAuthorizedError, TopicsMissingError
from tagstream.stream.settings.secret_files import SecurityError
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal.text import counted

# Members and partitions beyond these are counted and not listed.
MOST_LISTED = 20
ANSWER_SECONDS = 5.0
AGAIN_SECONDS = 1.0
HOUR_SECONDS, DAY_SECONDS = 3600, 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingFinding(CheckFinding):
    """A finding together with its numbers, for programs."""

    standing: GroupStanding


def group(settings: Settings, *, absent: Status, topics: Sequence[str] = ()) -> Iterator[CheckFinding]:
    """
    Check the members, the waiting events, open transactions and the last commit.

    Kafka counts a dead worker as a member until its session ends. So if old events wait and their member does not commit, the group is
    read again until the member commits, or until a session timeout is over.

    Args:
        settings: Group, topic and brokers.
        absent: The finding's status if events wait and no member works on them.
        topics: All topics of events that the group reads; empty means the topics of the settings. A topic added later has no commit yet.
    """
    try:
        standing, idle = _watched(settings)
        decided = 0 if standing.has_committed else decided_without_a_commit(settings, topics)
    except NotAuthorizedError as error:
        yield finding_of("waiting", Status.WARN, error)
        return
    seconds = settings.session_timeout_seconds
    yield from findings(standing, absent=absent, now=time.time(), idle=idle, idle_seconds=seconds, decided=decided)


def _watched(settings: Settings) -> tuple[GroupStanding, tuple[Member, ...]]:
    """Return the group, and its members that hold old events and did not commit during a session timeout."""
    first = standing = look(settings)
    old_ms = (time.time() - settings.session_timeout_seconds) * 1000
    deadline = time.monotonic() + settings.session_timeout_seconds
    while (idle := without_a_commit(first, standing, old_ms)) and time.monotonic() < deadline:
        time.sleep(AGAIN_SECONDS)
        standing = look(settings)
    return standing, idle


def findings(
    standing: GroupStanding,
    *,
    absent: Status,
    now: float,
    idle: tuple[Member, ...] = (),
    idle_seconds: float = 0.0,
    decided: int = 0,
) -> Iterator[CheckFinding]:
    """
    Yield the findings about a group.

    Args:
        standing: The group's members, offsets and partitions.
        absent: The finding's status if events wait and no member works on them.
        now: The current time, Unix seconds.
        idle: The members that committed nothing for `idle_seconds`.
        idle_seconds: The length of that time, in seconds.
        decided: Number of outcomes on the topics, if the group has no commit; else 0.
    """
    yield members(standing)
    found = waiting(standing, absent=absent, now=now)
    yield _idle(standing, found.detail, idle, idle_seconds) if idle else found
    yield transactions(standing, now=now)
    yield last_committed(standing, now=now, decided=decided)


def in_a_sentence(settings: Settings) -> str:
    """Return a sentence on the waiting events and the group's members, or on why the brokers gave no answer within `ANSWER_SECONDS`."""
    quick = settings.model_copy(update={"startup_timeout_seconds": min(ANSWER_SECONDS, settings.startup_timeout_seconds)})
    try:
        admin.require(
            quick, {key: quick.topic_names[key] for key in ("content", *(f"contents.{name}" for name in quick.contents))}
        )
        standings = [look(one) for one in quick.each_content]
    except (BrokerUnreachableError, NotAuthorizedError, TopicsMissingError, SecurityError) as error:
        why, _, _ = str(error).partition(" Next: ")
        return f"It is not known whether events wait: {why}"
    now = time.time()
    said = [f"{waiting(one, absent=Status.FAIL, now=now).detail}; {members(one).detail}" for one in standings]
    return f"The brokers at {settings.brokers} say: {'; '.join(said)}."


def members(standing: GroupStanding) -> CheckFinding:
    """Report the members of the group and their partitions."""
    found = standing.members
    if not found:
        return CheckFinding(check="members", status=Status.OK, detail=f"the group {standing.group} has no member")
    held = (
        f"{counted(len(found), 'member')} of {standing.group}, {standing.held} of {counted(len(standing.places), 'partition')} "
        f"of {standing.topic} held"
    )
    listed = "; ".join(map(_member, found[:MOST_LISTED]))
    more = f"; and {len(found) - MOST_LISTED} more" if len(found) > MOST_LISTED else ""
    sharing = "" if standing.state == "Stable" else f"; the group is rebalancing ({standing.state})"
    return CheckFinding(check="members", status=Status.OK, detail=f"{held}: {listed}{more}{sharing}")


def _member(member: Member) -> str:
    held = ", ".join(map(str, member.partitions)) or "none"
    return f"{member.client} at {member.host} ({held})"


def waiting(standing: GroupStanding, *, absent: Status, now: float) -> CheckFinding:
    """Report the number of events between the commit and the end of the log, by partition, and the age of the oldest event."""
    count = standing.waiting
    if not count:
        return StandingFinding(
            check="waiting", status=Status.OK, detail=f"no event of {standing.topic} waits", standing=standing
        )
    behind = [place for place in standing.places if place.waiting]
    by_partition = ", ".join(f"{place.partition}: {place.waiting}" for place in behind[:MOST_LISTED])
    more = f", and {len(behind) - MOST_LISTED} partitions more" if len(behind) > MOST_LISTED else ""
    detail = f"{counted(count, 'event')} of {standing.topic} (by partition {by_partition}{more}); {_oldest(standing, now)}"
    if not standing.deserted:
        return StandingFinding(check="waiting", status=Status.OK, detail=detail, standing=standing)
    why = "no worker runs" if not standing.members else "no member of the group holds a partition of the topic"
    step = (
        "restart the workers, if the topic was added to the settings after they started"
        if standing.members
        else "start a worker (tagstream worker); if one has ended, its last log line has the cause"
    )
    return StandingFinding(
        check="waiting",
        status=absent,
        detail=f"{detail}; {why}",
        fix=f"{step}: docs/runbooks/WorkerAbsent.md",
        standing=standing,
    )


def _idle(standing: GroupStanding, waits: str, idle: tuple[Member, ...], seconds: float) -> CheckFinding:
    listed = "; ".join(map(_member, idle[:MOST_LISTED]))
    more = f"; and {len(idle) - MOST_LISTED} more" if len(idle) > MOST_LISTED else ""
    return StandingFinding(
        check="waiting",
        status=Status.WARN,
        detail=f"{waits}; {listed}{more} {'has' if len(idle) == 1 else 'have'} committed nothing for {seconds:g} s",
        fix=(
            "it may hang, or have died: Kafka counts a member until its session ends. Look at its log and /readyz, and run the "
            "doctor again: docs/runbooks/Stalled.md"
        ),
        standing=standing,
    )


def _oldest(standing: GroupStanding, now: float) -> str:
    oldest_ms = standing.oldest_ms(now * 1000)
    return "when the oldest was written is not known" if oldest_ms is None else f"the oldest was written {ago(oldest_ms, now)}"


def transactions(standing: GroupStanding, *, now: float) -> CheckFinding:
    """Report the events behind an open transaction. Fail only if the transaction is older than `OPEN_TRANSACTION_SECONDS`."""
    behind = [place for place in standing.places if place.behind]
    if not behind:
        detail = f"no event of {standing.topic} waits behind an open transaction"
        return StandingFinding(check="transactions", status=Status.OK, detail=detail, standing=standing)
    listed = "; ".join(f"partition {place.partition}: {_behind(place, now)}" for place in behind[:MOST_LISTED])
    more = f"; and {len(behind) - MOST_LISTED} partitions more" if len(behind) > MOST_LISTED else ""
    stuck = [place for place in behind if _open_seconds(place, now) > OPEN_TRANSACTION_SECONDS]
    return StandingFinding(
        check="transactions",
        status=Status.FAIL if stuck else Status.OK,
        detail=f"no worker may read what lies behind an open transaction of a producer: {listed}{more}",
        fix=_find_hanging(standing.topic, stuck[0]) if stuck else "",
        standing=standing,
    )


def _open_seconds(place: PartitionStanding, now: float) -> float:
    """Return the seconds since the transaction's first record; infinity if the record's time is unknown or cannot be true."""
    known = place.open_since_ms is not None and can_be_true(place.open_since_ms, now * 1000)
    return now - place.open_since_ms / 1000 if known and place.open_since_ms is not None else math.inf


def _behind(place: PartitionStanding, now: float) -> str:
    seconds = _open_seconds(place, now)
    since = (
        "open since a time that is not known"
        if seconds == math.inf
        else f"its first record was written {ago(place.open_since_ms or 0, now)}"
    )
    return f"{counted(place.behind, 'event')} from offset {place.end} on, {since}"


def _find_hanging(topic: str, place: PartitionStanding) -> str:
    where = f"--topic {topic} --partition {place.partition}"
    return (
        f"end its producer, or `kafka-transactions.sh --bootstrap-server HOST:PORT describe-producers {where}`, then "
        f"`abort {where} --start-offset {place.end}`: docs/runbooks/OpenTransaction.md"
    )


def last_committed(standing: GroupStanding, *, now: float, decided: int = 0) -> CheckFinding:
    """Report when the newest committed event was written. Kafka does not say when a commit was made."""
    last_ms = standing.last_ms(now * 1000)
    if not standing.has_committed:
        detail = f"the group {standing.group} has never committed on {standing.topic}"
        if decided and standing.waiting:
            return CheckFinding(
                check="last commit",
                status=Status.WARN,
                detail=f"{detail}, and {counted(decided, 'outcome')} of it are on the topics: the group is new, was deleted, or was "
                f"forgotten by Kafka. Workers will decide {counted(standing.waiting, 'event')} again",
                fix="set the group's offsets before workers start, if these events are decided: docs/upgrade.md",
            )
    elif last_ms is None:
        detail = "not known: the last committed events are not in the log any more, or have no time that can be true"
    else:
        detail = f"the newest committed event was written {ago(last_ms, now)} (Kafka does not say when it was committed)"
    return CheckFinding(check="last commit", status=Status.OK, detail=detail)


def ago(moment_ms: int, now: float) -> str:
    """
    Return the time since a moment, in words.

    Args:
        moment_ms: The moment, Unix milliseconds.
        now: The current time, Unix seconds.

    >>> ago(0, 59), ago(0, 600), ago(0, 7300), ago(0, 200_000)
    ('59 s ago', '10 min ago', '2 h ago', '2 days ago')
    """
    seconds = max(0.0, now - moment_ms / 1000)
    if seconds < 2 * 60:
        return f"{seconds:.0f} s ago"
    if seconds < 2 * HOUR_SECONDS:
        return f"{seconds / 60:.0f} min ago"
    return f"{seconds / HOUR_SECONDS:.0f} h ago" if seconds < 2 * DAY_SECONDS else f"{seconds / DAY_SECONDS:.0f} days ago"
