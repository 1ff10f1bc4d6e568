"""Drift beside the delivery: which decisions reach the watch, which findings are published, and that the stream is not affected."""

import asyncio
import inspect
import json
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from structlog.testing import capture_logs

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, read
from tagstream.monitoring.drift import baseline
from tagstream.monitoring.drift.baseline import BaselineError
from tagstream.monitoring.drift.learning import ReferenceNote
from tagstream.monitoring.drift.thresholds import DriftPlan
from tagstream.monitoring.drift.watch import REPEAT_MS, DriftWatch, Noticed
from tagstream.monitoring.observer import Observation
from tagstream.stream.decide.from_settings import decider_of_bundle
from tagstream.stream.drift import observer as module
from tagstream.stream.drift.observer import DriftObserver, watch_of
from tagstream.stream.drift.references import References
from tagstream.stream.settings.settings import Settings
from tests.fakes import KeywordClassifier, RecordingObserver
from tests.unit.monitoring.drift.drift_cases import MODEL, decision, ordinary
from tests.waiting import HANG_SECONDS

NOW_MS = 1_700_000_000_000
PLAN = DriftPlan(window_events=200, reference_windows=1, learning_seconds=0)


class Recorder(RecordingObserver):
    """Implements `Recorder`: keeps what is counted."""

    def __init__(self) -> None:
        """Begin with no counts."""
        super().__init__()
        self.changes: list[str] = []
        self.windows: list[tuple[int, Mapping[str, float], float]] = []
        self.floods: list[Mapping[str, float]] = []
        self.findings: list[str] = []
        self.unpublished: list[str] = []
        self.plan: tuple[int, dict[str, float]] = (0, {})
        self.references: list[Mapping[str, Any]] = []
        self.learned: list[float] = []

    def drift_change(self, signal: str, now: float) -> None:  # noqa: ARG002 - the recorder's form
        """Keep it."""
        self.changes.append(signal)

    def drift_evaluated(
        self, window_events: int, scores: Mapping[str, float], now: float, floods: Mapping[str, float] = module.NO_FLOODS
    ) -> None:
        """Keep it."""
        self.windows.append((window_events, scores, now))
        self.floods.append(floods)

    def drift_finding(self, kind: str) -> None:
        """Keep it."""
        self.findings.append(kind)

    def drift_unpublished(self, kind: str) -> None:
        """Keep it."""
        self.unpublished.append(kind)

    def drift_reference(self, reference: Mapping[str, Any]) -> None:
        """Keep it."""
        self.references.append(reference)

    def drift_learned(self, ratio: float) -> None:
        """Keep it."""
        self.learned.append(ratio)

    def drift_plan(self, window_events: int, thresholds: Mapping[str, float]) -> None:
        """Keep it."""
        self.plan = (window_events, dict(thresholds))


class Topic:
    """Implements `Send`: keeps records; `fails` says how the broker refuses them."""

    def __init__(self, fails: Callable[[], Any] | None = None) -> None:
        """Without `fails` every record is taken."""
        self.fails = fails
        self.records: list[tuple[bytes, dict[str, Any]]] = []

    async def __call__(self, key: bytes, value: bytes) -> "asyncio.Future[None]":
        """Queue one record, then give its confirmation."""
        confirmation: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.fails is not None:
            await self.fails() if inspect.iscoroutinefunction(self.fails) else self.fails()
        self.records.append((key, json.loads(value)))
        confirmation.set_result(None)
        return confirmation


def made(watch: DriftWatch | None = None, send: Any = None) -> tuple[DriftObserver, Recorder]:
    """An observer over a small watch."""
    recorder = Recorder()
    watch = watch or DriftWatch(model=MODEL, worker="w", plan=PLAN)
    return DriftObserver(watch, recorder=recorder, send=send), recorder


def drive(scenario: Callable[[ThreadPoolExecutor], Coroutine[Any, Any, None]]) -> None:
    """Run on a fresh loop with a thread for the watch, within a bound."""

    async def bounded() -> None:
        async with asyncio.timeout(HANG_SECONDS):
            with ThreadPoolExecutor(1) as executor:
                await scenario(executor)

    asyncio.run(bounded())


def drifting(source: str = "papers") -> list[Observation]:
    """A window of words that have not occurred before."""
    return [decision(("quantabyte",), label=("mlops", "other")[at % 2], source=source) for at in range(200)]


class Broken(DriftWatch):
    """A watch with a bug."""

    def add(self, observations: Sequence[Observation], now_ms: int) -> Noticed:
        """Raise for any events."""
        raise ZeroDivisionError(len(observations), now_ms)


def test_findings_reach_the_topic_and_the_metrics() -> None:
    """Findings are keyed by their kind; the first window is the reference."""
    topic = Topic()
    observer, recorder = made(send=topic)

    async def scenario(executor: ThreadPoolExecutor) -> None:
        for batch in (list(ordinary(200)), drifting()):
            observer.published(batch, NOW_MS)
            await observer.turn(executor)

    drive(scenario)
    assert [(key, value["kind"]) for key, value in topic.records] == [(b"words", "words")]
    assert topic.records[0][1]["words"][0]["word"] == "quantabyte"
    assert recorder.findings == ["words"]
    assert [(events, now) for events, _, now in recorder.windows] == [(200, NOW_MS / 1000)] * 2
    assert len(recorder.observations) == 400


def test_a_flood_of_one_source_is_said_in_the_log_and_counted() -> None:
    """The source's name is in the log line, because a process without a topic publishes no finding; its share is a figure."""
    observer, recorder = made()

    async def scenario(executor: ThreadPoolExecutor) -> None:
        for batch in (list(ordinary(200)), drifting("crawler"), list(ordinary(200))):
            observer.published(batch, NOW_MS)
            await observer.turn(executor)

    with capture_logs() as lines:
        drive(scenario)
    found = [line["flood_of_one_source"] for line in lines if line["event"] == "drift_found"]
    assert found == ["crawler", "crawler"]
    assert recorder.floods == [{}, {"words": 1.0, "sources": 1.0}, {}]


def test_the_stream_is_not_looked_at_on_its_own_time() -> None:
    """`published` returns before the watch has seen the batch, and the event loop runs on while the watch looks at it."""
    seen_in: list[str] = []
    looking, go_on = threading.Event(), threading.Event()

    class Slow(DriftWatch):
        def add(self, observations: Sequence[Observation], now_ms: int) -> Noticed:
            seen_in.append(threading.current_thread().name)
            looking.set()
            assert go_on.wait(HANG_SECONDS)
            return super().add(observations, now_ms)

    observer, recorder = made(Slow(model=MODEL, worker="w", plan=PLAN))
    observer.published(list(ordinary(100)), NOW_MS)
    assert len(recorder.observations) == 100
    assert seen_in == []

    async def scenario(executor: ThreadPoolExecutor) -> None:
        turn = asyncio.create_task(observer.turn(executor))
        # Reached only if the loop runs on while the watch is held up.
        assert await asyncio.to_thread(looking.wait, HANG_SECONDS)
        assert not turn.done()
        go_on.set()
        await turn

    drive(scenario)
    assert seen_in
    assert threading.current_thread().name not in seen_in


async def _never() -> None:
    await asyncio.Event().wait()


def _refuse() -> None:
    raise ConnectionError


@pytest.mark.parametrize("fails", [_refuse, _never])
def test_a_finding_that_the_broker_does_not_take_is_counted_and_forgotten(
    fails: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finding that is refused or not confirmed is dropped and counted; the next one is sent again."""
    monkeypatch.setattr(module, "PUBLISH_SECONDS", 0.05)
    topic = Topic(fails)
    observer, recorder = made(send=topic)

    async def scenario(executor: ThreadPoolExecutor) -> None:
        for batch in (list(ordinary(200)), drifting(), list(ordinary(200))):
            observer.published(batch, NOW_MS)
            await observer.turn(executor)
        topic.fails = None
        observer.published(drifting(), NOW_MS + REPEAT_MS)
        await observer.turn(executor)

    drive(scenario)
    assert recorder.unpublished == ["words"]
    assert recorder.findings == ["words"]
    assert len(recorder.observations) == 800


def test_a_finding_without_a_topic_is_counted_as_unpublished() -> None:
    """Without these counts a deployment that lacks the topic would look like a stream without drift."""
    observer, recorder = made()

    async def scenario(executor: ThreadPoolExecutor) -> None:
        for batch in (list(ordinary(200)), drifting()):
            observer.published(batch, NOW_MS)
            await observer.turn(executor)

    drive(scenario)
    assert (recorder.findings, recorder.unpublished) == ([], ["words"])


def test_windows_and_thresholds_are_told_before_the_first_window_is_full() -> None:
    """Before the first evaluation, people can see how many decisions it takes and from which score on it is a finding."""
    _, recorder = made()
    assert recorder.plan == (PLAN.window_events, {"words": 6.0, "labels": 0.1, "sources": 0.02})


class Kept:
    """Implements what the observer needs of `References`: notes that are there, and those that come."""

    def __init__(self) -> None:
        """Begin with an empty topic."""
        self.notes: list[ReferenceNote] = []
        self._next = 0

    def read(self, take: Callable[[ReferenceNote], None]) -> None:
        """Give those that came since."""
        found, self._next = self.notes[self._next :], len(self.notes)
        for note in found:
            take(note)

    async def __call__(self, _: bytes, value: bytes) -> "asyncio.Future[None]":
        """Append one record."""
        self.notes.append(msgspec.json.decode(value, type=ReferenceNote))
        confirmation: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        confirmation.set_result(None)
        return confirmation

    def close(self) -> None:
        """Nothing is open."""


def sharing(topic: Kept, worker: str) -> tuple[DriftObserver, Recorder]:
    """A worker of the group whose notes are in this topic."""
    recorder = Recorder()
    watch = DriftWatch(model=MODEL, worker=worker, plan=PLAN)
    references = cast("References", topic)
    return DriftObserver(watch, recorder=recorder, send=None, note=topic, references=references), recorder


def test_a_worker_takes_over_what_its_group_has_learned_and_learns_again_when_told() -> None:
    """There is no figure to compare with until the group has one; then it is the stream's own, also after a restart."""
    topic = Kept()

    async def scenario(executor: ThreadPoolExecutor) -> None:
        first, learning = sharing(topic, "a")
        assert (learning.references, learning.learned) == ([{}], [0.0])
        first.published(list(ordinary(200)), NOW_MS)
        await first.turn(executor)
        assert learning.references[-1]["rows"] == 200
        assert learning.references[-1]["label_ratio"] == {"mlops": 0.5, "other": 0.5}
        second, started = sharing(topic, "b")
        await second.turn(executor)
        assert started.references == [{}, learning.references[-1]]
        assert started.learned[-1] == 1.0
        topic.notes.append(ReferenceNote(group="tagstream", model=MODEL.digest, began_ms=NOW_MS))
        await second.turn(executor)
        assert started.references[-1] == {}
        assert started.learned[-1] == 0.0

    drive(scenario)


def test_a_bug_in_here_ends_the_watching_and_nothing_else() -> None:
    """Outcomes are still counted, and the task ends by itself."""
    observer, recorder = made(Broken(model=MODEL, worker="w"))

    async def scenario(executor: ThreadPoolExecutor) -> None:
        observer.published(list(ordinary(3)), NOW_MS)
        await observer.turn(executor)
        observer.published(list(ordinary(4)), NOW_MS)
        await observer.run()

    drive(scenario)
    assert len(recorder.observations) == 7


def test_what_comes_too_fast_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded, and metrics still count every outcome."""
    monkeypatch.setattr(module, "MOST_WAITING", 100)
    observer, recorder = made()
    for _ in range(10):
        observer.published(list(ordinary(50)), NOW_MS)
    assert observer._waiting_events == 100
    assert len(recorder.observations) == 500

    async def scenario(executor: ThreadPoolExecutor) -> None:
        await observer.turn(executor)

    drive(scenario)
    assert observer._waiting_events == 0


def test_other_partitions_mean_a_fresh_start_and_the_same_ones_do_not() -> None:
    """The first assignment does not count as a change."""
    watch = DriftWatch(model=MODEL, worker="w", plan=PLAN)
    observer, _ = made(watch)

    async def scenario(executor: ThreadPoolExecutor) -> None:
        for partitions, begun in (({0, 1}, 50), ({1, 0}, 100), ({0}, 50)):
            observer.assigned(partitions)
            observer.published(list(ordinary(50)), NOW_MS)
            await observer.turn(executor)
            assert len(watch._window) == begun

    drive(scenario)


def test_a_stop_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop cancels a finding that the broker does not confirm."""
    monkeypatch.setattr(module, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(module, "PUBLISH_SECONDS", 10 * HANG_SECONDS)
    sending = asyncio.Event()

    async def never() -> None:
        sending.set()
        await _never()

    observer, _ = made(send=Topic(never))

    async def scenario(_: ThreadPoolExecutor) -> None:
        observer.published([*ordinary(200), *drifting()], NOW_MS)
        running = asyncio.create_task(observer.run())
        await sending.wait()
        running.cancel()
        await asyncio.wait({running})

    drive(scenario)


def test_the_settings_choose_windows_thresholds_and_reference(tmp_path: Path) -> None:
    """Zero switches drift off; a file that is no reference is refused before anything starts."""
    decider = decider_of_bundle(read(DEFAULT_BUNDLE), KeywordClassifier())
    assert watch_of(Settings(drift_window_events=0), decider) is None
    learned = watch_of(Settings(drift_window_events=300, drift_words_z=9), decider)
    assert learned is not None
    assert learned.learning
    assert (learned._plan.window_events, learned._plan.thresholds.words) == (300, 9)
    path = tmp_path / "reference.json"
    path.write_bytes(baseline.render(baseline.of(list(ordinary(10)))))
    given = watch_of(Settings(drift_reference=path), decider)
    assert given is not None
    assert not given.learning
    path.write_bytes(b"{}")
    with pytest.raises(BaselineError):
        watch_of(Settings(drift_reference=path), decider)
