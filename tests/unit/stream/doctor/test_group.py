"""Findings on the group: events that wait without a worker fail the check, with the numbers that a person needs."""

import itertools
from collections.abc import Iterable, Iterator
from types import SimpleNamespace

import pytest

from tagstream.stream.doctor import group as checks
from tagstream.stream.doctor.findings import CheckFinding, Status
from tagstream.stream.doctor.group import MOST_LISTED, findings
from tagstream.stream.kafka.consumer_group import GroupStanding, Member, PartitionStanding
from tagstream.stream.settings.settings import Settings
from tests.fakes import Clock
from tests.replacing import replace

NOW = 1_764_000_000.0
WORKER = Member(client="faust", host="10.0.0.7", partitions=(0, 1))


def place(partition: int, waiting: int, *, committed: int | None = 5, age: float = 300) -> PartitionStanding:
    """A partition with so many events after its commit, the first written `age` seconds ago."""
    first = committed or 0
    oldest = int((NOW - age) * 1000) if waiting else None
    last = None if committed is None else int((NOW - age - 60) * 1000)
    return PartitionStanding(
        partition=partition, begin=0, committed=committed, end=first + waiting, oldest_ms=oldest, last_ms=last
    )


def standing(*places: PartitionStanding, members: tuple[Member, ...] = (), state: str = "Empty") -> GroupStanding:
    """The group tagstream on the topic content."""
    return GroupStanding(group="tagstream", topic="content", state=state, members=members, places=places)


def said(found: GroupStanding, absent: Status = Status.FAIL) -> dict[str, tuple[Status, str]]:
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


def test_a_group_without_a_commit_beside_its_outcomes_is_a_warning() -> None:
    """Events come again then; where no event is left, or no outcome lies there, it is a new installation."""
    new = standing(place(0, 7, committed=None), place(1, 0, committed=None))
    for decided, status in ((0, Status.OK), (40, Status.WARN)):
        (found,) = [one for one in findings(new, absent=Status.WARN, now=NOW, decided=decided) if one.check == "last commit"]
        assert found.status is status
    assert "40 outcomes of it are on the topics" in found.detail
    assert "decide 7 events again" in found.detail
    begun = standing(place(0, 7), place(1, 0, committed=None))
    assert [one.status for one in findings(begun, absent=Status.WARN, now=NOW, decided=40) if one.check == "last commit"] == [
        Status.OK
    ]


def test_before_workers_are_started_the_same_is_a_warning() -> None:
    """`--create-topics` runs before workers start, so events that wait must not stop a deployment."""
    assert said(standing(place(0, 1)), absent=Status.WARN)["waiting"][0] is Status.WARN


def test_events_that_a_worker_is_to_take_pass() -> None:
    """Lag with a worker is work in hand; the worker's client, host and partitions are named."""
    found = said(standing(place(0, 1), place(1, 0), members=(WORKER,), state="Stable"))
    assert found["members"] == (Status.OK, "1 member of tagstream, 2 of 2 partitions of content held: faust at 10.0.0.7 (0, 1)")
    assert found["waiting"] == (
        Status.OK,
        "1 event of content (by partition 0: 1); the oldest was written 5 min ago",
    )


def looked(monkeypatch: pytest.MonkeyPatch, looks: Iterable[GroupStanding]) -> tuple[dict[str, CheckFinding], float]:
    """The findings of the check when the brokers give these answers in turn, and the seconds that it waited."""
    clock, answers = Clock(), iter(looks)
    began = clock()

    def sleep(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(checks, "time", SimpleNamespace(time=lambda: NOW, monotonic=clock, sleep=sleep))
    monkeypatch.setattr(checks, "look", lambda _: next(answers))
    return {one.check: one for one in checks.group(Settings(), absent=Status.FAIL)}, clock() - began


HELD = standing(place(0, 100), place(1, 20), members=(WORKER,), state="Stable")


def catching_up() -> Iterator[GroupStanding]:
    """A worker with an old backlog that commits in one of its partitions."""
    for committed in itertools.count(5):
        yield replace(HELD, places=(replace(HELD.places[0], committed=committed), HELD.places[1]))


def test_a_member_that_died_is_looked_at_until_its_session_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka counts a dead worker until its session ends: its old events are no work in hand, and no worker runs."""
    ended = standing(*HELD.places)
    found, waited = looked(monkeypatch, [HELD, HELD, HELD, ended])
    assert found["waiting"].status is Status.FAIL
    assert found["waiting"].detail.endswith("; no worker runs")
    assert found["members"].detail == "the group tagstream has no member"
    assert 0 < waited <= 10


def test_a_member_that_commits_nothing_for_a_session_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that hangs keeps its session; the doctor names it instead of taking its events for work in hand."""
    found, waited = looked(monkeypatch, itertools.repeat(HELD))
    assert found["waiting"].status is Status.WARN
    assert found["waiting"].detail == (
        "120 events of content (by partition 0: 100, 1: 20); the oldest was written 5 min ago; "
        "faust at 10.0.0.7 (0, 1) has committed nothing for 10 s"
    )
    assert "docs/runbooks/Stalled.md" in found["waiting"].fix
    assert 10 <= waited <= 12


def test_a_worker_that_catches_up_is_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit in one of its partitions shows that a member lives, however old its backlog is; then the doctor waits no longer."""
    found, waited = looked(monkeypatch, catching_up())
    assert found["waiting"].status is Status.OK
    assert waited <= 1


@pytest.mark.parametrize(
    "once",
    [
        standing(place(0, 3, age=2), members=(WORKER,), state="Stable"),
        standing(place(0, 0), members=(WORKER,), state="Stable"),
        standing(place(0, 3)),
        standing(place(2, 3), members=(WORKER,), state="Stable"),
        standing(PartitionStanding(partition=0, begin=0, committed=5, end=7), members=(WORKER,), state="Stable"),
    ],
)
def test_the_doctor_looks_again_only_where_a_member_may_be_gone(monkeypatch: pytest.MonkeyPatch, once: GroupStanding) -> None:
    """Fresh events, none, no member, a partition of no member, or an age that is not known: one look is enough."""
    found, waited = looked(monkeypatch, [once])
    assert waited == 0
    assert found["waiting"].status is not Status.WARN


def test_one_dead_member_of_several_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others commit; a member that got other partitions meanwhile is looked at no longer."""
    dead = Member(client="gone", host="10.0.0.8", partitions=(2,))
    moved = Member(client="moved", host="10.0.0.9", partitions=(3,))

    def looks() -> Iterator[GroupStanding]:
        for number, one in enumerate(catching_up()):
            third = replace(moved, partitions=(3,) if number == 0 else (3, 4))
            yield replace(one, places=(*one.places, place(2, 7), place(3, 7)), members=(WORKER, dead, third))

    found, _ = looked(monkeypatch, looks())
    assert found["waiting"].detail.endswith("; gone at 10.0.0.8 (2) has committed nothing for 10 s")


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
    found = said(standing(PartitionStanding(partition=0, begin=7, committed=7, end=9)))
    assert "when the oldest was written is not known" in found["waiting"][1]
    assert found["last commit"][1] == (
        "not known: the last committed events are not in the log any more, or have no time that can be true"
    )


def test_an_open_transaction_names_its_partition_and_the_next_step() -> None:
    """Events behind a transaction of two minutes fail the check; those behind one of a second do not."""
    stuck = PartitionStanding(partition=3, begin=0, committed=5, end=5, high=505, open_since_ms=int((NOW - 150) * 1000))
    fresh = PartitionStanding(partition=4, begin=0, committed=5, end=5, high=7, open_since_ms=int((NOW - 1) * 1000))
    (found,) = [one for one in findings(standing(stuck, fresh), absent=Status.FAIL, now=NOW) if one.check == "transactions"]
    assert found.status is Status.FAIL
    assert found.detail == (
        "no worker may read what lies behind an open transaction of a producer: "
        "partition 3: 500 events from offset 5 on, its first record was written 2 min ago; "
        "partition 4: 2 events from offset 5 on, its first record was written 1 s ago"
    )
    assert "abort --topic content --partition 3 --start-offset 5" in found.fix
    assert said(standing(fresh))["transactions"][0] is Status.OK
    unknown = PartitionStanding(partition=0, begin=0, committed=5, end=5, high=6, open_since_ms=-1)
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
    lying = PartitionStanding(partition=0, begin=0, committed=5, end=7, oldest_ms=-(2**62), last_ms=2**62)
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
