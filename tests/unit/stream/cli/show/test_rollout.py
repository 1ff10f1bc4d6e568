"""What `tagstream rollout` says: the status of one that holds events, members that follow none, and the log as people read it."""

import json

import pytest

from tagstream.stream.cli.show import rollout
from tagstream.stream.cli.show.rollout import _line_of
from tagstream.stream.contract.published import milliseconds
from tagstream.stream.contract.rollout_records import BundleName, Partition, Verdict
from tagstream.stream.rollout.history import Entry
from tagstream.stream.rollout.standing import Standing
from tagstream.stream.settings.settings import Settings
from tests.replacing import replace
from tests.unit.stream.rollout.test_epochs import MOMENT, A, B, change, close, folded, plan, start

ADDED = Partition(topic="content", topic_id="a", partition=7)
CLOSING = Standing(
    epochs=folded(start(A, B), *change(1, {A: 5, B: 9}), plan(2), close(2)),
    workers=[("10.0.0.1", None)],
    closed_at=MOMENT,
    unlisted=[ADDED],
    waiting={("content", 0): 12, ("content", 7): 3},
)


def test_the_status_says_what_is_held_and_since_when_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """Epochs by partition and offset, the closing one with its age, partitions in no record, and who is without a word."""
    rollout.standing(Settings(), CLOSING, as_json=False)
    printed = capsys.readouterr().err
    assert "epoch 1 decides from content/0:5, content/1:9 on" in printed
    assert f"epoch 2 is closing, since {MOMENT} (" in printed
    assert "15 events of the group wait" in printed
    assert "`tagstream rollout rollback`: back to that of epoch 1: b" in printed
    assert "in no record: content/7" in printed
    assert "1 member of the group without a word" in printed
    assert printed.count("Next: ") == 3


def test_a_program_reads_the_same_from_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    """As one object."""
    rollout.standing(Settings(), CLOSING, as_json=True)
    read = json.loads(capsys.readouterr().out)
    assert (read["closing"], read["closed"]["since"], read["silent"]) == (2, MOMENT, ["10.0.0.1"])
    assert read["closed"]["seconds"] > 0
    assert read["begins"][0]["epochs"] == [{"epoch": 0, "offset": 0}, {"epoch": 1, "offset": 5}]
    assert [place["partition"] for place in read["unlisted"]] == [7]
    assert read["waiting"] == {"0": 12, "7": 3}


def test_a_verdict_is_a_line_with_its_sentence() -> None:
    """What was decided, on which bundle, after how long, and why."""
    challenger = BundleName(digest="c" * 64, name="titles", version="2")
    verdict = Verdict(
        epoch=7,
        at="2026-01-01T00:00:00.000Z",
        by="watch",
        why="it goes back: memory",
        challenger=challenger,
        decision="roll_back",
        days=2.5,
        gates=(),
    )
    entry = Entry(record=verdict, offset=12, counts=True, written_ms=milliseconds(verdict.at) + 300)
    line = _line_of(entry)
    assert (
        line
        == "12  2026-01-01T00:00:00.000Z  watch  verdict 7: roll_back on titles 2 (cccccccccccc) after 2.5 days (it goes back: memory)"
    )
    assert _line_of(replace(entry, written_ms=entry.written_ms + 90_000)).endswith(
        "[written at 2026-01-01T00:01:30.300Z: the clock of watch was 0:01:30 behind the brokers']"
    )
