"""The whole system: Apache Kafka, real workers with the default bundle, a real Prometheus with the shipped rules.

First an ordinary stream, which must raise no alert. Then five ways to drift, each on a worker of its own in a job of its own: each
must raise its alert, and the topic `drift` must name what was planted. The rules are the shipped ones; only their durations are
shorter (an hour is a minute, `for:` is 15 seconds), so that an alert fires here on less than it would in production.

`make test-rest` runs a short form of it, `make see-it-long` all of it.
"""

import itertools
import json
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tagstream.stream.broker import Broker
from tagstream.stream.broker.processes import Processes
from tagstream.stream.demo import samples
from tagstream.stream.demo.shifts import Shift, shifted
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings
from tests.faults.cluster.topics import fresh_environment, make_topics, send
from tests.faults.inputs import Planted
from tests.faults.observer import TopicObserver
from tests.faults.worker.fleet import ROOT
from tests.integration.command_line import Command
from tests.integration.monitoring.watching import STEP_SECONDS, Prometheus, started, watching
from tests.integration.running import RunningWorker, all_written
from tests.prometheus import FOR_SECONDS, rules
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.needs("prometheus"), pytest.mark.slow]

# The time after the last event until alerts are counted; rules are evaluated once a second.
LATER_SECONDS = 5.0 + STEP_SECONDS + FOR_SECONDS
STABLE, SHORT_STABLE = 10_000, 3_000
# Ordinary events before a shift, and events of the shift: two windows of a worker and more.
BEFORE, AFTER = 300, 2_100
# At most so many events are in flight, since an event that waits for a minute raises another alert.
AT_ONCE = 500
# Odd, so that each partition gets its share of the shift, which is in every second event.
PARTITIONS = 5
STABLE_JOB, STABLE_WORKERS = "tagstream", 2
REFERENCE_EVENTS = 1_000
PAGES = {rule["alert"] for rule in rules("alerts.yml") if rule["labels"]["tier"] == "page"}
NEW_WORDS = ("quantabyte", "lorvane", "zephyrnet")
NEW_SOURCE = "press-releases"
WORD = re.compile(r"[^\W\d_]+")

Event = dict[str, str]
Finding = dict[str, Any]


def words_of(events: Sequence[Event]) -> Counter[str]:
    """The number of events with each word."""
    texts = (f"{event['title']} {event.get('description', '')}".lower() for event in events)
    return Counter(word for text in texts for word in set(WORD.findall(text)))


def planted(shift: Shift) -> list[Event]:
    """
    The sample events with a shift in every second one; a new subject has new words, broken texts come from a new producer.

    Confidence decays in all of them.
    """
    ordinary = samples.load_events()
    moved = shifted(ordinary, shift)
    whole = moved if shift is Shift.CONFIDENCE else ordinary
    return [_marked(other, shift) if at % 2 else event for at, (event, other) in enumerate(zip(whole, moved, strict=True))]


def _marked(event: Event, shift: Shift) -> Event:
    if shift is Shift.NEW_TOPIC:
        return {**event, "title": f"{event['title']} {' '.join(NEW_WORDS)}"}
    if shift in {Shift.NO_DESCRIPTION, Shift.CONFIDENCE}:
        return {**event, "source": NEW_SOURCE}
    return event


def names_computer_vision(findings: Sequence[Finding]) -> bool:
    """Whether the planted tag has the largest term."""
    return any(finding["kind"] == "labels" and finding["labels"][0]["label"] == "computer-vision" for finding in findings)


def names_the_new_words(findings: Sequence[Finding]) -> bool:
    """Whether all three planted words are among the first five."""
    return any(set(NEW_WORDS) <= first_words(finding) for finding in findings)


def names_other_languages(findings: Sequence[Finding]) -> bool:
    """Whether the first five are words of the planted texts, each ten times as frequent there as in ordinary ones."""
    ordinary = words_of(samples.load_events())
    foreign = words_of(planted(Shift.LANGUAGE)[1::2])
    return any(
        len(first_words(finding)) == 5 and all(foreign[word] > 10 * ordinary[word] for word in first_words(finding))
        for finding in findings
    )


def names_the_new_producer(findings: Sequence[Finding]) -> bool:
    """Whether the new producer is among the first five sources."""
    return any(NEW_SOURCE in [source["source"] for source in finding.get("sources", ())[:5]] for finding in findings)


def first_words(finding: Finding) -> set[str]:
    """The finding's first five words."""
    return {word["word"] for word in finding.get("words", ())[:5]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The alerts that a shift must raise, those that it must not raise, and the test of its findings."""

    raised: frozenset[str]
    not_raised: frozenset[str]
    named: Callable[[Sequence[Finding]], bool]


EXPECTED = {
    Shift.CLASS_MIX: Expected(
        raised=frozenset({"PredictionDrift"}),
        not_raised=frozenset({"TokensPerWordDrift", "WithoutDescriptionShare"}),
        named=names_computer_vision,
    ),
    Shift.NEW_TOPIC: Expected(
        raised=frozenset({"ContentDrift"}), not_raised=frozenset({"WithoutDescriptionShare"}), named=names_the_new_words
    ),
    Shift.LANGUAGE: Expected(
        raised=frozenset({"TokensPerWordDrift", "ContentDrift"}), not_raised=frozenset(), named=names_other_languages
    ),
    Shift.NO_DESCRIPTION: Expected(
        raised=frozenset({"WithoutDescriptionShare"}),
        not_raised=frozenset({"TokensPerWordDrift"}),
        named=names_the_new_producer,
    ),
    Shift.CONFIDENCE: Expected(raised=frozenset({"ConfidenceDrift"}), not_raised=frozenset(), named=names_the_new_producer),
}


@dataclass(slots=True, kw_only=True)
class Seen:
    """
    The results of one stream.

    Attributes:
        events: How many were sent; all of them have an outcome.
        seconds: How long that took.
        fired: Alerts that fired, with the values of their label `signal`.
        paged: Those of them that are pages, while there was work: a minute after its end a stream that has run dry is Stalled by
            the shortened rules, whose windows are as long as the time that a figure takes to fall.
        findings: Records of the topic `drift`, in order.
        largest: The largest value of each pooled figure of drift, from 500 decisions in the window on.
        windows: For each worker, whether it has compared a window.
    """

    events: int
    seconds: float
    fired: dict[str, set[str]]
    paged: set[str]
    findings: list[Finding]
    largest: dict[str, float]
    windows: list[bool]

    def __str__(self) -> str:
        """The figures of the stream for the report."""
        fired = ", ".join(
            f"{name} {'/'.join(sorted(filter(None, signals)))}".strip() for name, signals in sorted(self.fired.items())
        )
        figures = ", ".join(f"{name} {value:.3f}" for name, value in self.largest.items())
        kinds = Counter(finding.get("signal") or finding["kind"] for finding in self.findings)
        return (
            f"{self.events} events in {self.seconds:.0f} s; alerts: {fired or 'none'}; largest: {figures}; "
            f"findings: {dict(kinds) or 'none'}"
        )


@dataclass(slots=True, kw_only=True)
class Stream:
    """A stream with its own topics, workers and job."""

    job: str
    environ: dict[str, str]
    workers: list[RunningWorker] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        """As the workers have them."""
        return load(self.environ, folder=ROOT).settings


@pytest.fixture(scope="module")
def reference(bundle_folder: Path, tagstream_in: Callable[[Path], Command], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference of ordinary events, made by the operator's command from other samples than the windows."""
    folder = tmp_path_factory.mktemp("reference")
    rows = random.Random("reference").sample(samples.load_events(), REFERENCE_EVENTS)  # noqa: S311 - the same every time
    (folder / "stable.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    out = folder / "reference.json"
    words = ("drift", "--from", folder / "stable.jsonl", "--out", out, "--bundle", bundle_folder, "--allow-few")
    made = tagstream_in(folder)(*words)
    assert made.returncode == 0, made.stderr.decode()
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that a run needs."""

    kafka: Broker
    bundle: Path
    reference: Path
    folder: Path
    tagstream: Command


@pytest.fixture(scope="module")
def parts(
    kafka: Broker,
    bundle_folder: Path,
    reference: Path,
    tagstream_in: Callable[[Path], Command],
    tmp_path_factory: pytest.TempPathFactory,
) -> Parts:
    """The broker and the folders."""
    folder = tmp_path_factory.mktemp("see-it")
    return Parts(kafka=kafka, bundle=bundle_folder, reference=reference, folder=folder, tagstream=tagstream_in(folder))


def see(parts: Parts, *, stable: int, shifts: Sequence[Shift]) -> Mapping[Shift, Seen]:
    """One Prometheus over all workers; the streams run one after the other."""
    with ExitStack() as stack:
        processes = stack.enter_context(Processes(grace_seconds=5))
        streams = {shift: _stream(parts, shift) for shift in (Shift.NONE, *shifts)}
        for shift, stream in streams.items():
            for number in range(STABLE_WORKERS if shift is Shift.NONE else 1):
                stream.workers.append(started(processes, stream.environ, parts.folder / f"{stream.job}-{number}.log"))
        workers = [worker for stream in streams.values() for worker in stream.workers]
        for worker in workers:
            worker.until_metric("tagstream_assigned_partitions", lambda value: value > 0)
        jobs = {stream.job: [worker.url for worker in stream.workers] for stream in streams.values()}
        # A new database for every run.
        prometheus = watching(processes, jobs, Path(tempfile.mkdtemp(dir=parts.folder)))
        prometheus.until("sum(up)", len(workers))
        # Before its first scrape Prometheus sees no worker, which raises an alert.
        until(lambda: not prometheus.now("ALERTS"), "no alert is left from the start", state=lambda: prometheus.now("ALERTS"))
        seen = {}
        for shift, stream in streams.items():
            ordinary = samples.mix(samples.load_events(), ())
            moved = samples.mix(planted(shift), (), run="moved")
            if shift is Shift.NONE:
                events = list(itertools.islice(ordinary, stable))
            else:
                events = [*itertools.islice(ordinary, BEFORE), *itertools.islice(moved, AFTER)]
            expected = EXPECTED[shift].raised if shift in EXPECTED else frozenset()
            seen[shift] = _seen(parts, prometheus, stream, events, expected)
            for worker in stream.workers:
                worker.process.kill()
        return seen


def _stream(parts: Parts, shift: Shift) -> Stream:
    job = STABLE_JOB if shift is Shift.NONE else shift.value
    environ = {
        **fresh_environment(parts.kafka.bootstrap, job, partitions=PARTITIONS),
        "TAGSTREAM_BUNDLE": str(parts.bundle),
        "TAGSTREAM_DRIFT_REFERENCE": str(parts.reference),
        "TAGSTREAM_STATE_FOLDER": str(parts.folder / f"{job}-state"),
        "TAGSTREAM_STARTUP_TIMEOUT_SECONDS": str(HANG_SECONDS),
        # Keep the session of a worker on a busy machine.
        "TAGSTREAM_SESSION_TIMEOUT_SECONDS": "30",
    }
    stream = Stream(job=job, environ=environ)
    make_topics(stream.settings)
    return stream


def _seen(
    parts: Parts, prometheus: Prometheus, stream: Stream, events: Sequence[samples.SampleRecord], expected: frozenset[str]
) -> Seen:
    began = time.time()
    with TopicObserver(stream.settings) as observer:
        for start in range(0, len(events), AT_ONCE):
            part = events[start : start + AT_ONCE]
            send(stream.settings, [Planted(event_id=one.key, key=one.key.encode(), value=one.value) for one in part])
            # At most one part waits while the next is sent.
            all_written(observer, start)
        all_written(observer, len(events))
    ended = time.time()
    # An expected alert may take its time; the others have been evaluated as often by then.
    until(
        lambda: expected <= prometheus.fired(stream.job, since=began, before=time.time()).keys(),
        f"the alerts {sorted(expected)} have fired",
        state=lambda: prometheus.fired(stream.job, since=began, before=time.time()),
    )
    later = time.time() + LATER_SECONDS
    until(lambda: prometheus.evaluated() > later, "every rule has been evaluated a while later", state=prometheus.evaluated)
    tail = ("tail", "drift", "--json", "--from-beginning", "--idle", "2")
    shown = parts.tagstream(*tail, environ=stream.environ)
    assert shown.returncode == 0, shown.stderr.decode()
    return Seen(
        events=len(events),
        seconds=ended - began,
        paged=PAGES & prometheus.fired(stream.job, since=began, before=ended).keys(),
        fired=prometheus.fired(stream.job, since=began, before=time.time()),
        findings=[json.loads(line)["value"] for line in shown.stdout.splitlines()],
        largest={
            name: prometheus.value(
                f'max_over_time((job:tagstream_{rule}1h{{job="{stream.job}"}}'
                " and on (job) job:tagstream_predictions:count1h >= 500)[30m:1s])"
            )
            or 0.0
            for name, rule in {
                "psi of labels": "prediction_drift:psi",
                "ks of confidence": "confidence_drift:ks",
                "ks of energy": "energy_drift:ks",
                "ks of tokens a word": "tokens_per_word_drift:ks",
                "titles alone": "without_description:ratio",
            }.items()
        },
        windows=[worker.metric("tagstream_drift_last_evaluated_timestamp_seconds") > began for worker in stream.workers],
    )


@pytest.fixture(scope="module")
def short(parts: Parts) -> Mapping[Shift, Seen]:
    """The short form, part of every test run."""
    return see(parts, stable=SHORT_STABLE, shifts=[Shift.NEW_TOPIC])


@pytest.fixture(scope="module")
def whole(parts: Parts) -> Mapping[Shift, Seen]:
    """The complete form."""
    return see(parts, stable=STABLE, shifts=list(EXPECTED))


def assert_stable(seen: Seen) -> None:
    """Every worker has compared a window, and there is no alert of any tier and no finding."""
    assert all(seen.windows)
    assert seen.fired == {}, str(seen)
    assert seen.findings == []


def assert_shift_is_seen(shift: Shift, seen: Seen) -> None:
    """The right alert fired, no page did, and the findings name the planted change."""
    expected = EXPECTED[shift]
    assert expected.raised <= seen.fired.keys(), str(seen)
    assert not expected.not_raised & seen.fired.keys(), str(seen)
    assert seen.paged == set(), str(seen)
    assert expected.named(seen.findings), seen.findings


def test_an_ordinary_stream_raises_no_alert(short: Mapping[Shift, Seen], publish_report: Callable[[object], None]) -> None:
    """3,000 ordinary events through two workers raise no alert and no finding."""
    publish_report(short[Shift.NONE])
    assert_stable(short[Shift.NONE])


def test_a_new_subject_raises_its_alert_and_is_named(
    short: Mapping[Shift, Seen], publish_report: Callable[[object], None]
) -> None:
    """A new subject, which no pooled figure shows, raises its alert with the three planted words among the first five."""
    publish_report(short[Shift.NEW_TOPIC])
    assert_shift_is_seen(Shift.NEW_TOPIC, short[Shift.NEW_TOPIC])


@pytest.mark.long
def test_ten_thousand_ordinary_events_raise_no_alert(
    whole: Mapping[Shift, Seen], publish_report: Callable[[object], None]
) -> None:
    """Two workers compare several windows each without an alert or a finding."""
    publish_report(whole[Shift.NONE])
    assert whole[Shift.NONE].events == STABLE
    assert_stable(whole[Shift.NONE])


@pytest.mark.long
@pytest.mark.parametrize("shift", EXPECTED)
def test_each_shift_raises_its_alert_and_is_named(
    shift: Shift, whole: Mapping[Shift, Seen], publish_report: Callable[[object], None]
) -> None:
    """Each of five shifts raises its alert and is named by the planted words, tags or producers."""
    publish_report(whole[shift])
    assert_shift_is_seen(shift, whole[shift])
