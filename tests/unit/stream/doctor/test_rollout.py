"""What the doctor says of the topics of a rollout, and of members that do not follow it."""

from collections.abc import Callable

import msgspec
import pytest

from tagstream.stream.contract.rollout_records import RolloutRecordError, WorkerState
from tagstream.stream.doctor import rollout as checks
from tagstream.stream.doctor.findings import Status
from tagstream.stream.doctor.rollout import RolloutRecords
from tagstream.stream.kafka import admin
from tagstream.stream.kafka.admin import TopicDescription
from tagstream.stream.kafka.errors import unreachable
from tagstream.stream.settings.rollout import Rollout
from tagstream.stream.settings.settings import Settings
from tests.unit.stream.rollout.test_epochs import A, change, folded, start

SETTINGS = Settings(rollout=Rollout().of_group("tagstream"))
RECORDS, WORKERS = SETTINGS.rollout.topic, SETTINGS.rollout.workers_topic
GOOD = {
    RECORDS: {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"},
    WORKERS: {"cleanup.policy": "compact", "retention.ms": "604800000", "retention.bytes": "-1"},
}
WORD = WorkerState(member="m", host="h", version="1", epoch=0, state="decides", digest="0" * 64, at="2026-01-01T00:00:00.000Z")
STARTED = folded(start(A))
Brokers = Callable[..., None]


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> Brokers:
    """Sets what the brokers say of the two topics and of the group."""

    def answer(
        partitions: tuple[int | None, int | None] = (1, 1),
        options: dict[str, dict[str, str]] = GOOD,
        workers: list[tuple[str, WorkerState | None]] | None = None,
        records: RolloutRecords | Exception | None = None,
    ) -> None:
        described = {
            name: TopicDescription(partitions=count, operations=None)
            for name, count in zip((RECORDS, WORKERS), partitions, strict=True)
        }

        async def said(settings: Settings) -> list[tuple[str, WorkerState | None]]:
            if workers is None:
                raise unreachable(settings, PermissionError("no READ"))
            return workers

        monkeypatch.setattr(checks, "rollout_topic", lambda _: {"content": "a"})
        monkeypatch.setattr(checks, "workers_of", said)

        async def read(_: Settings) -> RolloutRecords:
            if isinstance(records, Exception):
                raise records
            return records or RolloutRecords(epochs=STARTED)

        monkeypatch.setattr(checks, "read_records", read)
        monkeypatch.setattr(admin, "describe", lambda *_: described)
        monkeypatch.setattr(admin, "topic_options", lambda *_: options)

    return answer


def statuses() -> list[Status]:
    """Of the findings."""
    return [one.status for one in checks.rollout(SETTINGS)]


def test_topics_as_a_rollout_makes_them_are_well(brokers: Brokers) -> None:
    """And a group in which everyone has spoken; without a rollout there is no finding at all."""
    brokers(workers=[("h", WORD)])
    assert statuses() == [Status.OK] * 5
    brokers(options={}, workers=[("h", WORD)])
    assert statuses() == [Status.OK] * 5


def test_without_a_rollout_there_is_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is anything else asked."""
    monkeypatch.setattr(checks, "rollout_topic", lambda _: None)
    assert list(checks.rollout(SETTINGS)) == []


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        (RECORDS, "retention.ms", "604800000"),
        (RECORDS, "retention.bytes", "1000"),
        (RECORDS, "cleanup.policy", "compact"),
        (WORKERS, "cleanup.policy", "delete"),
    ],
)
def test_an_option_by_which_records_are_lost_is_named_with_its_correction(
    brokers: Brokers, name: str, option: str, value: str
) -> None:
    """The command for an administrator has exactly that option."""
    brokers(options={**GOOD, name: {**GOOD[name], option: value}}, workers=[("h", WORD)])
    (found,) = [one for one in checks.rollout(SETTINGS) if one.status is Status.FAIL]
    assert (found.check, f"{option} {value}" in found.detail) == (f"rollout {name}", True)
    right = {"cleanup.policy": "compact" if name == WORKERS else "delete"}.get(option, "-1")
    assert found.fix.endswith(f"--entity-name {name} --add-config {option}={right}")


def test_a_topic_of_several_partitions_or_of_none_is_named(brokers: Brokers) -> None:
    """Each with a next step."""
    brokers(partitions=(2, None), workers=[("h", WORD)])
    findings = list(checks.rollout(SETTINGS))
    assert [one.status for one in findings] == [Status.FAIL, Status.FAIL, Status.OK, Status.OK, Status.OK]
    assert "2 partitions" in findings[0].detail
    assert all(one.fix for one in findings[:2])


def test_a_member_without_a_word_is_named(brokers: Brokers) -> None:
    """It may decide by its own model; where this user may not read the words, that is said."""
    brokers(workers=[("10.0.0.1", None), ("10.0.0.2", WORD)])
    *_, found = checks.rollout(SETTINGS)
    assert (found.status, "1 of 2 members" in found.detail, "10.0.0.1" in found.detail) == (Status.WARN, True, True)
    brokers(workers=None)
    *_, found = checks.rollout(SETTINGS)
    assert (found.status, "is not known" in found.detail) == (Status.WARN, True)


def test_a_member_that_has_not_followed_is_named(brokers: Brokers) -> None:
    """Its last word is on an epoch before the newest; one that is ready for a plan speaks of a later one."""
    changed = RolloutRecords(epochs=folded(start(A), *change(1, {A: 5})))
    ahead = msgspec.structs.replace(WORD, epoch=2, state="ready")
    brokers(workers=[("10.0.0.1", WORD), ("10.0.0.2", ahead)], records=changed)
    *_, found = checks.rollout(SETTINGS)
    assert (found.status, "1 of 2 members" in found.detail, "10.0.0.1" in found.detail) == (Status.WARN, True, True)


def test_records_that_cannot_be_read_fail_with_their_next_step(brokers: Brokers) -> None:
    """Whatever keeps this user from reading them."""
    for error in (RolloutRecordError("gone. Next: restore it."), unreachable(SETTINGS, PermissionError("no READ"))):
        brokers(workers=[("h", WORD)], records=error)
        (found,) = [one for one in checks.rollout(SETTINGS) if one.status is Status.FAIL]
        assert found.check == f"rollout {RECORDS} records"
        assert found.fix
