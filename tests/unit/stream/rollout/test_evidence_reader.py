"""What a verdict takes from the records of the topics, read from logs that stand still."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from tagstream.monitoring.quality.feedback import ViewersAnswers
from tagstream.stream.contract.answers import AnswerKeys
from tagstream.stream.contract.asking import AskKeys
from tagstream.stream.contract.consumer_outcomes import ConsumerOutcome, write_outcome
from tagstream.stream.contract.event import Limits, Record
from tagstream.stream.contract.outcome import ModelRef, timestamp
from tagstream.stream.contract.published import DecidedEvent, read_decision
from tagstream.stream.contract.reports import Report, write_report
from tagstream.stream.decide.asking import Asking
from tagstream.stream.decide.pipeline import Draw, Pipeline
from tagstream.stream.kafka.errors import BrokerAbsentError
from tagstream.stream.rollout import evidence_reader
from tagstream.stream.rollout.evidence_reader import SETTLED_MS, EvidenceReader
from tagstream.stream.settings.settings import Settings
from tests.fakes import RecordingObserver, deciding, raw
from tests.unit.stream.rollout.observed import evidence
from tests.unit.stream.rollout.test_epochs import A, B, change, folded, start

NOW_MS = 1_700_000_600_000
ALL = Asking(draw=Draw(rate=1.0), keys=AskKeys((b"k" * 32,)), most_bytes=Limits().max_outcome_bytes)
DIGESTS = {"champion": "c" * 64, "fallback": "c" * 64, "challenger": "e" * 64}


class Standing:
    """The log of one partition."""

    def __init__(self, records: list[Record]) -> None:
        """These records, all of them older than any bound but 0."""
        self._records = records

    def offsets_since(self, at_ms: int) -> dict[int, int]:
        """Return the end, or the beginning for the time 0."""
        return {0: len(self._records) if at_ms else 0}

    def ends(self) -> dict[int, int]:
        """Return the end."""
        return {0: len(self._records)}

    def read(self, since: Mapping[int, int], until: Mapping[int, int]) -> list[Record]:
        """Return the records between these offsets, each with its offset."""
        return [
            replace(one, partition=0, offset=since[0] + number) for number, one in enumerate(self._records[since[0] : until[0]])
        ]


def tagged(event_id: str, arm: str, *, epoch: str = "1", asking: Asking | None = ALL, **fields: str) -> Record:
    """The record of a decision, as a worker writes it."""
    model = ModelRef(name="m", version="1", digest=DIGESTS[arm], epoch=epoch, arm=arm)
    pipeline = Pipeline(decider=deciding(model=model), observer=RecordingObserver())
    pipeline.ask = asking
    own = "".join(f'"{name}":"{value}",' for name, value in fields.items())
    event = raw(f'{{"id":"{event_id}",{own}"title":"deployment"}}'.encode())
    (made,) = pipeline.publications([event], clock=lambda: NOW_MS / 1000)
    return Record(topic="tagged", key=made.key, value=made.value, headers=made.headers)


def voted(on: Record, viewer: int, answer: Any, at_ms: int = NOW_MS) -> Record:
    """The record of a viewer's vote, as `serve` writes it."""
    decided = read_decision(on)
    assert isinstance(decided, DecidedEvent)
    given = {"event_id": decided.event.id, "prediction_id": decided.decision.prediction_id, "viewer": f"{viewer:032x}"}
    return Record(topic="reports", key=None, value=write_report(Report(answer=answer, reported_at=timestamp(at_ms), **given)))


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Record]]:
    """The records of each topic."""
    found: dict[str, list[Record]] = {}

    @contextlib.contextmanager
    def log_of(_: Settings, topic: str) -> Iterator[Standing]:
        yield Standing(found[topic])

    monkeypatch.setattr(evidence_reader, "log_of", log_of)
    monkeypatch.setattr(evidence_reader.admin, "partitions", lambda _: dict.fromkeys(found, 1))
    return found


def measured(event_id: str, *, at_ms: int) -> Record:
    """The record of an outcome that a consumer wrote at this time, by its clock."""
    value = write_outcome(ConsumerOutcome(event_id=event_id, name="clicks", value=1.0, at=timestamp(NOW_MS)))
    return Record(topic="outcomes", key=event_id.encode(), value=value, timestamp_ms=at_ms)


def new_reader() -> EvidenceReader:
    """Reads the evidence on the challenger of epoch 1 from its beginning."""
    return EvidenceReader(
        settings=Settings(),
        models=folded(start(A, B), *change(1, {A: 5, B: 9})).models(1),
        epochs=frozenset({"0", "1"}),
        since_ms=0,
        keys=AnswerKeys(()),
        evidence=evidence(),
    )


def values(reader: EvidenceReader) -> int:
    """The number of outcomes that count."""
    return int(reader.evidence.measured.means("clicks").units[0])


def read(reader: EvidenceReader) -> dict[str, ViewersAnswers]:
    """What viewers said of each arm by now."""
    reader.read(now_ms=NOW_MS)
    return {line.name: line.feedback.viewers for line in reader.lines()}


def test_a_vote_counts_on_the_arm_that_decided_and_is_neither_report_nor_evidence(logs: dict[str, list[Record]]) -> None:
    """Records that are written twice, an `ask` of a producer, an earlier epoch, and votes on what nobody was asked about add nothing."""
    decided = [tagged("a", "challenger"), tagged("b", "challenger"), tagged("c", "champion"), tagged("d", "fallback")]
    unasked = [
        tagged("e", "challenger", asking=None),
        tagged("f", "challenger", ask="mine"),
        tagged("g", "challenger", epoch="0"),
    ]
    votes = [
        voted(decided[0], 1, "no"),
        voted(decided[0], 1, "yes", NOW_MS + 1),
        voted(decided[0], 2, "no"),
        voted(decided[3], 1, "yes"),
        *(voted(one, 1, "no") for one in unasked),
    ]
    logs |= {"tagged": [*decided, *unasked, *decided], "reports": votes}
    reader, without = new_reader(), new_reader()
    expected = {
        "champion": ViewersAnswers(asked=2, answered=1, votes=1, right=1),
        "challenger": ViewersAnswers(asked=2, answered=1, votes=2, right=1),
    }
    assert read(reader) == expected
    assert [line.feedback.reported for line in reader.lines()] == [0, 0]
    assert not reader.unread
    logs["reports"] = [*votes, voted(decided[1], 7, "yes"), *votes]
    assert read(reader)["challenger"] == ViewersAnswers(asked=2, answered=2, votes=3, right=2)
    logs["reports"] = []
    assert read(without)["challenger"] == ViewersAnswers(asked=2)
    assert without.evidence == reader.evidence


def test_an_outcome_of_a_clock_that_is_far_ahead_keeps_no_later_outcome_back(logs: dict[str, list[Record]]) -> None:
    """One that was written in the last seconds waits, since its decision may; one from microseconds in place of milliseconds does not."""
    names = [f"e{number}" for number in range(6)]
    late = [measured(name, at_ms=NOW_MS - SETTLED_MS) for name in names]
    late[2] = measured(names[2], at_ms=NOW_MS * 1000)
    late[4] = measured(names[4], at_ms=NOW_MS + 5_000)
    logs |= {"tagged": [tagged(name, "challenger") for name in names], "outcomes": late}
    reader = new_reader()
    reader.read(now_ms=NOW_MS)
    assert values(reader) == 4
    reader.read(now_ms=NOW_MS + 5_000 + SETTLED_MS)
    assert values(reader) == 6
    assert reader.unknown == 0


def test_a_broker_that_fails_within_a_topic_makes_nothing_count_twice(
    logs: dict[str, list[Record]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records that counted as unknown or unread before the failure do not count again."""
    old = NOW_MS - SETTLED_MS
    strange = [measured(f"nobody-{number}", at_ms=old) for number in range(50)]
    logs["outcomes"] = [*strange, *(replace(one, value=b"{") for one in strange)]
    whole, reader = Standing.read, new_reader()

    def half(self: Standing, since: Mapping[int, int], until: Mapping[int, int]) -> Iterator[Record]:
        yield from whole(self, since, until)[:70]
        raise BrokerAbsentError

    monkeypatch.setattr(Standing, "read", half)
    with pytest.raises(BrokerAbsentError):
        reader.read(now_ms=NOW_MS)
    monkeypatch.setattr(Standing, "read", whole)
    for _ in range(2):
        reader.read(now_ms=NOW_MS)
        assert (reader.unknown, reader.unread["outcomes"]) == (50, 50)
