"""The judge of epochs sees each kind of breach that is planted into the bytes of a right run."""

import json
from typing import Any

import pytest

from tagstream.stream.contract.event import Record
from tests.integration.rollout.judge import Judged, begins, judge

OLD, NEW, NEWER = (str(number) * 64 for number in (1, 2, 3))
CHALLENGER = {"bundle": {"digest": NEWER}, "share": 1.0, "unit": "key", "salt": "s"}


def entry(kind: str, epoch: int, offset: int = 0, **said: Any) -> Record:
    """A record of `rollout`."""
    return Record(
        topic="rollout", partition=0, offset=offset, key=None, value=json.dumps({"kind": kind, "epoch": epoch, **said}).encode()
    )


def mark(epoch: int, **offsets: int) -> Record:
    """Marks by partition: p0=5."""
    return entry(
        "marks",
        epoch,
        marks=[{"at": {"topic": "content", "partition": int(at[1:])}, "offset": offset} for at, offset in offsets.items()],
    )


# Epoch 1 begins at offset 2, and epoch 2, of a challenger that has all keys, at offset 4.
ROLLOUT = (
    entry("start", 0, champion={"digest": OLD}, partitions=[{"topic": "content", "partition": 0}]),
    entry("plan", 1, champion={"digest": NEW}),
    entry("close", 1),
    mark(1, p0=2),
    entry("verdict", 1),
    entry("plan", 2, champion={"digest": OLD}),
    entry("abort", 2),
    entry("plan", 3, champion={"digest": NEW}, challenger=CHALLENGER),
    entry("close", 3),
    mark(3, p0=4, p1=0),
    mark(3, p2=7),
)
CONTENT = [
    Record(topic="content", partition=0, offset=offset, key=b"k", value=json.dumps({"id": f"e{offset}"}).encode())
    for offset in range(6)
]


def outcome(event: int, epoch: int, digest: str, arm: str = "champion", tag: str = "mlops") -> Record:
    """A decision; one of the start names no epoch."""
    model = {"digest": digest} | ({"epoch": str(epoch), "arm": arm} if epoch else {})
    value = {"id": f"e{event}", "tag": tag, "model": model, "tagged_at": "now"}
    return Record(topic="tagged", partition=0, offset=event, key=b"k", value=json.dumps(value).encode())


RIGHT = [
    *(outcome(event, 0, OLD) for event in (0, 1)),
    *(outcome(event, 1, NEW) for event in (2, 3)),
    *(outcome(event, 3, NEWER, "challenger") for event in (4, 5)),
]


def kinds(judged: Judged) -> dict[str, int]:
    """How many cases of each kind there are."""
    return {kind: len(cases) for kind, cases in judged.found().items() if cases}


def test_a_right_run_has_no_breach() -> None:
    """Each event has the model of its place; a challenger's champion may stand in for it, and is counted apart."""
    again = [outcome(1, 0, OLD), outcome(4, 3, NEW, "fallback")]
    found = judge(CONTENT, ROLLOUT, RIGHT + again)
    assert found.is_right, str(found)
    assert found.by_epoch == {0: 2, 1: 2, 3: 2}
    assert found.by_arm["fallback"] == 1
    assert begins(ROLLOUT).marks == {
        ("content", 0): [(0, 0), (2, 1), (4, 3)],
        ("content", 1): [(0, 3)],
        ("content", 2): [(0, 3)],
    }


@pytest.mark.parametrize(
    ("event", "planted", "kind"),
    [
        pytest.param(1, [outcome(1, 1, NEW)], "wrong", id="the epoch after"),
        pytest.param(2, [outcome(2, 0, OLD)], "wrong", id="the epoch before"),
        pytest.param(2, [outcome(2, 1, OLD)], "wrong", id="another digest"),
        pytest.param(4, [outcome(4, 3, NEW)], "wrong", id="the other arm"),
        pytest.param(2, [outcome(2, 1, NEW, "fallback")], "wrong", id="a stand-in without a challenger"),
        pytest.param(4, [outcome(4, 3, OLD, "fallback")], "wrong", id="a stand-in that is not the champion"),
        pytest.param(2, [outcome(2, 0, OLD), outcome(2, 1, NEW)], "several", id="two models"),
        pytest.param(3, [outcome(3, 1, NEW), outcome(3, 1, NEW, tag="other")], "conflicting", id="two decisions of one model"),
        pytest.param(5, [], "lost", id="no outcome"),
    ],
)
def test_each_breach_is_seen(event: int, planted: list[Record], kind: str) -> None:
    """In the outcomes of one event, and of no other kind."""
    outcomes = [one for number, one in enumerate(RIGHT) if number != event] + planted
    assert kinds(judge(CONTENT, ROLLOUT, outcomes)) == {kind: 1}


@pytest.mark.parametrize(
    ("at", "record"),
    [
        (1, entry("close", 1)),
        (2, entry("start", 0, champion={"digest": NEW}, partitions=[])),
        (2, mark(1, p0=1)),
        (3, entry("plan", 2, champion={"digest": OLD})),
        (3, entry("close", 1)),
        (4, mark(1, p0=1)),
        (4, entry("abort", 1)),
        (7, entry("close", 2)),
        (9, mark(3, p1=0)),
        (10, mark(1, p2=0)),
    ],
)
def test_a_record_out_of_its_place_is_seen(at: int, record: Record) -> None:
    """And changes no epoch."""
    found = judge(CONTENT, [*ROLLOUT[:at], record, *ROLLOUT[at:]], RIGHT)
    assert kinds(found) == {"misplaced": 1}, str(found)
