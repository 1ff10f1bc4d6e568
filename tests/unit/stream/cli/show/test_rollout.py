"""What `tagstream rollout` says: the status of one that holds events, members that follow none, and the log as people read it."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from tagstream.stream.cli.show import rollout
from tagstream.stream.cli.show.rollout import _line_of, _moment
from tagstream.stream.contract.published import milliseconds
from tagstream.stream.contract.rollout import BundleName, GateReading, Partition, Verdict
from tagstream.stream.rollout import change as operations
from tagstream.stream.rollout import verdict as verdicts
from tagstream.stream.rollout.change import Begun, Entry, Standing
from tagstream.stream.rollout.controller import PlanGivenUpError
from tagstream.stream.rollout.verdict import Decision
from tagstream.stream.rollout.watch import Judged, NothingWatchedError
from tagstream.stream.settings.settings import Settings
from tests.integration.running import get
from tests.unit.stream.rollout.test_epochs import MOMENT, A, B, change, close, folded, plan, start

ADDED = Partition(topic="content", topic_id="a", partition=7)
CLOSING = Standing(
    epochs=folded(start(A, B), *change(1, {A: 5, B: 9}), plan(2), close(2)),
    workers=[("10.0.0.1", None)],
    closed_at=MOMENT,
    unlisted=[ADDED],
    waiting={("content", 0): 12, ("content", 7): 3},
)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    """A rollout that is closing, and what was printed of it."""

    async def status(_: Settings) -> Standing:
        return CLOSING

    monkeypatch.setattr(operations, "status", status)
    return capsys


def test_the_status_says_what_is_held_and_since_when_and_what_to_do(said: pytest.CaptureFixture[str]) -> None:
    """Epochs by partition and offset, the closing one with its age, partitions in no record, and who is without a word."""
    rollout.status(Settings(), as_json=False)
    printed = said.readouterr().err
    assert "epoch 1 decides from content/0:5, content/1:9 on" in printed
    assert f"epoch 2 is closing, since {MOMENT} (" in printed
    assert "15 events of the group wait" in printed
    assert "`tagstream rollout rollback`: back to that of epoch 1: b" in printed
    assert "in no record: content/7" in printed
    assert "1 member of the group without a word" in printed
    assert printed.count("Next: ") == 3


def test_a_program_reads_the_same_from_the_status(said: pytest.CaptureFixture[str]) -> None:
    """As one object."""
    rollout.status(Settings(), as_json=True)
    read = json.loads(said.readouterr().out)
    assert (read["closing"], read["closed"]["since"], read["silent"]) == (2, MOMENT, ["10.0.0.1"])
    assert read["closed"]["seconds"] > 0
    assert read["begins"][0]["epochs"] == [{"epoch": 0, "offset": 0}, {"epoch": 1, "offset": 5}]
    assert [place["partition"] for place in read["unlisted"]] == [7]
    assert read["waiting"] == {"0": 12, "7": 3}


def test_a_time_without_a_zone_is_the_same_moment_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is UTC, wherever the machine stands."""
    try:
        monkeypatch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        assert _moment("2026-01-31T12:00") == _moment("2026-01-31T12:00Z") == _moment("2026-01-31T13:00+01:00")
    finally:
        monkeypatch.undo()
        time.tzset()


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


def test_a_controller_serves_what_it_finds_and_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each turn is counted by what came of it: no challenger, a verdict, a change that a worker refuses, one that comes about, an error."""
    models = CLOSING.epochs.models(1)
    gates = (GateReading(name="answers", state="passes", says="", figures={"events": 90.0, "answers": 40.0}),)
    found = verdicts.Verdict(decision=Decision.PROMOTE, says="it is promoted", days=1.0, gates=gates)
    scraped: list[str] = []

    async def turns(
        _: Settings,
        *,
        every_seconds: float,
        tell: Callable[[Judged], None],
        began: Callable[[Begun], None],
        failed: Callable[[Exception], None],
    ) -> None:
        failed(NothingWatchedError("no challenger decides"))
        tell(Judged(models=models, verdict=found, last=None, unread=0, unseen=()))
        failed(PlanGivenUpError("a worker refused"))
        began(Begun(models=models, marks=(), closed_seconds=0.1, workers=every_seconds > 0))
        failed(OSError("the bundles are away"))
        address = re.search(r"metrics at (\S+)", capsys.readouterr().err)
        assert address is not None
        scraped.append(get(address[1])[1])

    monkeypatch.setattr(rollout, "watching", turns)
    rollout.watch(Settings(), every_seconds=1.0, metrics_port=0)
    lines = {line for line in scraped[0].splitlines() if line.startswith("tagstream_controller")}
    assert lines >= {
        'tagstream_controller_looks_total{result="no_challenger"} 1.0',
        'tagstream_controller_looks_total{result="judged"} 1.0',
        'tagstream_controller_looks_total{result="failed"} 1.0',
        'tagstream_controller_verdict{decision="promote"} 1.0',
        'tagstream_controller_evidence_events{kind="answered"} 40.0',
        "tagstream_controller_failed_changes_total 1.0",
        'tagstream_controller_changes_total{decision="promote"} 1.0',
        'tagstream_controller_changes_total{decision="roll_back"} 0.0',
    }
