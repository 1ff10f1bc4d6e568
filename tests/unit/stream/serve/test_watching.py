"""`tagstream serve` watches its requests: what it counts and finds, beside a worker that decides the same texts, and without brokers."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from tagstream.monitoring.drift.learning import ReferenceNote
from tagstream.monitoring.metrics.http import HttpMetrics
from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.monitoring.observer import NullObserver
from tagstream.stream.contract.event import Record
from tagstream.stream.decide.announcement import announce
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.drift.observer import DriftObserver, watch_of
from tagstream.stream.drift.references import References
from tagstream.stream.serve.micro_batches import MicroBatches
from tagstream.stream.serve.watching import TopicSender, Watching
from tagstream.stream.settings.settings import Settings
from tests.fakes import deciding
from tests.waiting import HANG_SECONDS

WINDOW = 200
NO_BROKER = "127.0.0.1:9"
SOURCES = ("papers", "forum", "blogs")
# Their values are times.
CLOCKS = ("_created", "_timestamp_seconds")


def settings_of(**more: Any) -> Settings:
    """Windows of 200 decisions, the first of which is the reference; no broker."""
    given = {"brokers": NO_BROKER, "startup_timeout_seconds": 0.5, "inference_threads": 1, "batch_max_events": 50}
    windows = {"drift_window_events": WINDOW, "drift_reference_windows": 1, "drift_learning_seconds": 0}
    return Settings(**{**given, **windows, **more})


def texts(events: int, word: str = "", *, sources: Sequence[str] = SOURCES, every: int = 1) -> list[Record]:
    """Events of three sources; one of `every` has this word too, and comes from one of `sources`."""
    found = []
    for at in range(events):
        new = word if at % every == 0 else ""
        source = (sources if new else SOURCES)[at // every % len(sources if new else SOURCES)]
        title = f"topic{at % 10} rare{at} {new} {('translation', 'kubernetes', '')[at % 3]}"
        found.append(Record(key=None, value=json.dumps({"id": f"{word}{at}", "title": title, "source": source}).encode()))
    return found


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[MicroBatches, Watching, HttpMetrics, Pipeline]]:
    """The parts of `serve` through which a request's rows go. The test looks for drift itself, so it need not wait for a second."""
    pipeline = Pipeline(decider=deciding(), observer=NullObserver())
    metrics = HttpMetrics.alone()
    watching = Watching(settings, pipeline, metrics)
    queue = MicroBatches(
        pipeline.publications,
        settings,
        most_waiting=2 * WINDOW,
        deadline_seconds=HANG_SECONDS,
        counts=metrics,
        observer=watching.observer,
        clock=lambda: 0.0,
    )
    async with queue:
        yield queue, watching, metrics, pipeline


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it, within a bound."""
    asyncio.run(asyncio.wait_for(scenario(), HANG_SECONDS))


async def turn(watching: Watching) -> None:
    """Look at what was decided."""
    assert isinstance(watching.observer, DriftObserver)
    with ThreadPoolExecutor(1) as executor:
        await watching.observer.turn(executor)


def figures(
    registry: CollectorRegistry, names: Iterable[str] | None = None
) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Each sample of these metrics by name and labels, without times."""
    return {
        (sample.name, tuple(sample.labels.items())): sample.value
        for family in registry.collect()
        if names is None or family.name in names
        for sample in family.samples
        if not sample.name.endswith(CLOCKS)
    }


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    """One sample."""
    found = registry.get_sample_value(name, labels)
    assert found is not None, name
    return found


def test_the_same_texts_have_the_same_figures_and_scores_at_serve_and_in_a_worker() -> None:
    """Every series of decisions, of the reference and of drift, on ordinary windows and on drifted ones."""
    settings = settings_of()
    windows = [
        texts(WINDOW),
        texts(WINDOW),
        texts(WINDOW, "quantabyte", every=4),
        texts(WINDOW, "lorvane", sources=["crawler"]),
    ]

    async def scenario() -> None:
        async with serving(settings) as (queue, watching, metrics, pipeline):
            registry = CollectorRegistry()
            counted = Metrics(registry, labels=pipeline.decider.labels, topic="content")
            announce(pipeline.decider, counted)
            watch = watch_of(settings, pipeline.decider)
            assert watch is not None
            worker = DriftObserver(watch, recorder=counted, send=None)
            shared = {family.name for family in metrics.registry.collect()} & {family.name for family in registry.collect()}
            scores = set()
            for window in windows:
                await queue.decided(window)
                await turn(watching)
                worker.published([one.observation for one in pipeline.publications(window)], 0)
                with ThreadPoolExecutor(1) as executor:
                    await worker.turn(executor)
                # Sums of floating-point numbers depend on the batches.
                assert figures(metrics.registry, shared) == pytest.approx(figures(registry, shared))
                scores.add(value(registry, "tagstream_drift_score", signal="words"))
            assert {"tagstream_drift_score", "tagstream_predictions", "tagstream_reference_label_ratio"} <= shared
            assert len(scores) > 2, "windows without drift and with it"

    run(scenario)


@pytest.mark.parametrize(("sources", "named"), [(["crawler"], "crawler"), (["crawler", "scraper"], None)], ids=["one", "two"])
def test_a_flood_of_one_source_is_told_apart_from_drift(sources: list[str], named: str | None) -> None:
    """The finding in the log has the name of the one source that sends other texts; of two, it has none."""

    async def scenario() -> None:
        async with serving(settings_of()) as (queue, watching, metrics, _):
            for window in (texts(WINDOW), texts(WINDOW, "quantabyte", sources=sources, every=3)):
                await queue.decided(window)
                await turn(watching)
            assert value(metrics.registry, "tagstream_drift_score", signal="words") >= 6
            flood = value(metrics.registry, "tagstream_drift_flood_ratio", signal="words")
            assert flood == (pytest.approx(1 / 3, abs=0.01) if named else 0.0)

    with capture_logs() as lines:
        run(scenario)
    found = {line["kind"]: line.get("flood_of_one_source") for line in lines if line["event"] == "drift_found"}
    assert found["words"] == named


def test_without_brokers_a_process_learns_for_itself_and_says_once_that_it_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its findings are counted as unpublished; the reader of references asks again without another line."""
    monkeypatch.setattr("tagstream.stream.drift.references.PAUSE_SECONDS", 0.0)

    async def scenario() -> None:
        async with serving(settings_of()) as (queue, watching, metrics, _):
            for window in (texts(WINDOW), texts(WINDOW), texts(WINDOW, "quantabyte")):
                await queue.decided(window)
                await turn(watching)
            assert value(metrics.registry, "tagstream_drift_learned_ratio") == 1
            assert value(metrics.registry, "tagstream_drift_findings_unpublished_total", kind="words") == 1

    with capture_logs() as lines:
        run(scenario)
    told = [line["event"] for line in lines]
    assert told.count("drift_references_unread") == 1
    assert "drift_found" in told


def test_no_request_waits_for_brokers_or_for_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the thread of drift is held up by silent brokers, rows are decided; the service starts and stops meanwhile."""
    asked, go_on = threading.Event(), threading.Event()

    def silent(_: References, take: Callable[[ReferenceNote], None]) -> None:  # noqa: ARG001 - the reader's form
        asked.set()
        assert go_on.wait(HANG_SECONDS)

    monkeypatch.setattr(References, "read", silent)
    monkeypatch.setattr("tagstream.stream.drift.observer.TICK_SECONDS", 0.0)

    async def scenario() -> None:
        try:
            async with serving(settings_of()) as (queue, watching, metrics, _), watching:
                assert await asyncio.to_thread(asked.wait, HANG_SECONDS)
                assert len(await queue.decided(texts(WINDOW))) == WINDOW
                assert (
                    sum(
                        value for (name, _), value in figures(metrics.registry).items() if name == "tagstream_predictions_total"
                    )
                    == WINDOW
                )
                assert not go_on.is_set()
        finally:
            go_on.set()

    run(scenario)


@pytest.mark.parametrize("off", [{"drift_window_events": 0}, {}])
def test_decisions_are_counted_also_if_drift_is_switched_off(off: dict[str, int]) -> None:
    """The series are the same, whether detectors run or not."""

    async def scenario() -> None:
        async with serving(settings_of(**off)) as (queue, watching, metrics, _), watching:
            await queue.decided(texts(10))
            assert value(metrics.registry, "tagstream_events_by_source_total", source="known") == 10
            assert isinstance(watching.observer, DriftObserver) is not bool(off)

    run(scenario)


def test_the_reference_is_that_of_serve_and_not_of_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The notes of a process are under the group's name with `-serve`."""
    noted: list[bytes] = []

    def deliver(_: TopicSender, topic: str, key: bytes, value: bytes, until: float) -> None:  # noqa: ARG001 - the sender's form
        assert topic == "references"
        noted.append(key)

    monkeypatch.setattr(TopicSender, "_deliver", deliver)

    async def scenario() -> None:
        async with serving(settings_of(group="blue")) as (queue, watching, _, _):
            await queue.decided(texts(WINDOW))
            await turn(watching)

    run(scenario)
    assert {json.loads(key)[0] for key in noted} == {"blue-serve"}
