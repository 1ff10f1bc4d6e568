"""Findings on the group: events that wait without a worker fail the check, with the numbers that a person needs."""

import pytest

from stream.doctor.findings import Status
from stream.doctor.group import MOST_LISTED, findings
from stream.kafka.group.standing import Member, Place, Standing

NOW = 1_764_000_000.0
WORKER = Member(client="faust", host="10.0.0.7", partitions=(0, 1))


def place(partition: int, waiting: int, *, committed: int | None = 5, age: float = 300) -> Place:
    """A partition with so many events after its commit, the first written `age` seconds ago."""
    first = committed or 0
    oldest = int((NOW - age) * 1000) if waiting else None
    last = None if committed is None else int((NOW - age - 60) * 1000)
    return Place(partition=partition, begin=0, committed=committed, end=first + waiting, oldest_ms=oldest, last_ms=last)


def standing(*places: Place, members: tuple[Member, ...] = (), state: str = "Empty") -> Standing:
    """The group tagstream on the topic content."""
    return Standing(group="tagstream", topic="content", state=state, members=members, places=places)


def said(found: Standing, absent: Status = Status.FAIL) -> dict[str, tuple[Status, str]]:
    """Status and detail by check."""
    return {one.check: (one.status, one.detail) for one in findings(found, absent=absent, now=NOW)}


def test_events_that_wait_without_a_worker_fail_the_check() -> None:
    """The lag by partition, the age of the oldest and the missing worker are said; a partition without lag is left out."""
    found = said(standing(place(0, 120), place(1, 0), place(2, 80, age=600)))
    assert found["members"] == (Status.OK, "the group tagstream has no member")
    assert found["waiting"] == (
        Status.FAIL,
        "200 events of content (by partition 0: 120, 2: 80); the oldest was written 10 min ago; no worker runs",
    )
    assert found["last commit"][1] == (
        "the newest committed event was written 6 min ago (Kafka does not say when it was committed)"
    )


def test_before_workers_are_started_the_same_is_a_warning() -> None:
    """`--create-topics` runs before workers start, so events that wait must not stop a deployment."""
    assert said(standing(place(0, 1)), absent=Status.WARN)["waiting"][0] is Status.WARN


def test_events_that_a_worker_is_to_take_pass() -> None:
    """Lag with a worker is work in hand; the worker's client, host and partitions are named."""
    found = said(standing(place(0, 1), place(1, 0), members=(WORKER,), state="Stable"))
    assert found["members"] == (Status.OK, "1 member of tagstream, 2 of 2 partitions held: faust at 10.0.0.7 (0, 1)")
    assert found["waiting"] == (
        Status.OK,
        "1 event of content (by partition 0: 1); the oldest was written 5 min ago",
    )


@pytest.mark.parametrize(("state", "status"), [("Stable", Status.FAIL), ("PreparingRebalance", Status.OK)])
def test_members_that_hold_no_partition_do_not_work(state: str, status: Status) -> None:
    """A group of clients of another topic decides nothing; a group that shares out its partitions is about to."""
    idle = Member(client="other", host="10.0.0.8", partitions=())
    assert said(standing(place(0, 3), members=(idle,), state=state))["waiting"][0] is status


def test_no_event_that_waits_passes_without_a_worker() -> None:
    """A new group on an empty topic is as it should be, and has committed nothing."""
    found = said(standing(place(0, 0, committed=None)))
    assert found["waiting"] == (Status.OK, "no event of content waits")
    assert found["last commit"][1] == "the group tagstream has never committed on content"


def test_times_that_are_not_known_are_said_so() -> None:
    """Retention may have deleted the committed events, and a partition without a leader gives none."""
    found = said(standing(Place(partition=0, begin=7, committed=7, end=9)))
    assert "when the oldest was written is not known" in found["waiting"][1]
    assert found["last commit"][1] == (
        "not known: the last committed events are not in the log any more, or have no time that can be true"
    )


def test_an_open_transaction_names_its_partition_and_the_next_step() -> None:
    """Events behind a transaction of two minutes fail the check; those behind one of a second do not."""
    stuck = Place(partition=3, begin=0, committed=5, end=5, high=505, open_since_ms=int((NOW - 150) * 1000))
    fresh = Place(partition=4, begin=0, committed=5, end=5, high=7, open_since_ms=int((NOW - 1) * 1000))
    (found,) = [one for one in findings(standing(stuck, fresh), absent=Status.FAIL, now=NOW) if one.check == "transactions"]
    assert found.status is Status.FAIL
    assert found.detail == (
        "no worker may read what lies behind an open transaction of a producer: "
        "partition 3: 500 events from offset 5 on, its first record was written 2 min ago; "
        "partition 4: 2 events from offset 5 on, its first record was written 1 s ago"
    )
    assert "abort --topic content --partition 3 --start-offset 5" in found.fix
    assert said(standing(fresh))["transactions"][0] is Status.OK
    unknown = Place(partition=0, begin=0, committed=5, end=5, high=6, open_since_ms=-1)
    assert said(standing(unknown))["transactions"] == (
        Status.FAIL,
        (
            "no worker may read what lies behind an open transaction of a producer: partition 0: 1 event from offset 5 on, "
            "open since a time that is not known"
        ),
    )
    assert said(standing(place(0, 3)))["transactions"] == (Status.OK, "no event of content waits behind an open transaction")


def test_a_time_that_cannot_be_true_is_not_known() -> None:
    """A producer sets the time of its records: one of the year -146,138,511 is no age, and hides no other."""
    lying = Place(partition=0, begin=0, committed=5, end=7, oldest_ms=-(2**62), last_ms=2**62)
    found = said(standing(lying))
    assert "when the oldest was written is not known" in found["waiting"][1]
    assert "have no time that can be true" in found["last commit"][1]
    beside = said(standing(lying, place(1, 2)))
    assert "the oldest was written 5 min ago" in beside["waiting"][1]
    assert "was written 6 min ago" in beside["last commit"][1]


def test_a_topic_of_many_partitions_keeps_the_line_short() -> None:
    """Partitions beyond the first are counted."""
    found = said(standing(*(place(number, 1) for number in range(MOST_LISTED + 30))))
    assert "19: 1, and 30 partitions more)" in found["waiting"][1]
