"""The watch of one worker: when it says something, when it says it again, and what a finding holds."""

from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagstream.monitoring.drift import baseline
from tagstream.monitoring.drift.findings import Finding, what_moved
from tagstream.monitoring.drift.thresholds import DriftPlan
from tagstream.monitoring.drift.watch import REPEAT_MS, WORSE_MS, DriftWatch, Noticed
from tagstream.monitoring.observer import Observation
from tagstream.monitoring.signals import DriftSignal
from tagstream.monitoring.vocabulary import DriftKind, DriftScore
from tests.unit.monitoring.drift.drift_cases import MODEL, dead_letter, decision, ordinary

WINDOW = 500
PLAN = DriftPlan(window_events=WINDOW, reference_windows=2, learning_seconds=0)
START_MS = 1_700_000_000_000


def made(**more: object) -> DriftWatch:
    """A watch with small windows."""
    return DriftWatch(**{"model": MODEL, "worker": "w", "plan": PLAN, **more})  # type: ignore[arg-type]


def feed(watch: DriftWatch, observations: Iterable[Observation], start_ms: int = START_MS) -> Noticed:
    """One event a second, one at a time; everything that was reported."""
    total = Noticed()
    for number, seen in enumerate(observations):
        report = watch.add([seen], start_ms + number * 1_000)
        total.changes += report.changes
        total.evaluations += report.evaluations
        total.findings += report.findings
    return total


def planted(events: int = WINDOW) -> list[Observation]:
    """A window in which one event of ten has words and a producer of its own."""
    new = ("quantabyte", "lorvane")
    return [decision(new, source="press") if at % 10 == 0 else seen for at, seen in enumerate(ordinary(events))]


def test_an_ordinary_stream_is_evaluated_and_gives_no_finding() -> None:
    """Windows are evaluated from the first on, and compared once the reference is learned."""
    watch = made()
    report = feed(watch, ordinary(4 * WINDOW))
    assert report.findings == []
    assert [evaluation.events for evaluation in report.evaluations] == [WINDOW] * 4
    assert [set(evaluation.scores) for evaluation in report.evaluations] == [
        set(),
        set(),
        set(DriftScore),
        set(DriftScore),
    ]
    assert not watch.learning


def test_a_finding_says_what_moved_where_and_when() -> None:
    """Words and the producer, each with events to look at."""
    watch = made()
    feed(watch, ordinary(2 * WINDOW))
    window = planted()
    findings = {found.kind: found for found in feed(watch, window, START_MS + 10_000_000).findings}
    assert findings.keys() == {DriftKind.WORDS, DriftKind.SOURCES}
    words = findings[DriftKind.WORDS]
    assert [word.word for word in words.words[:2]] == ["lorvane", "quantabyte"]
    assert (words.window.events, words.window.start, words.window.end) == (
        WINDOW,
        "2023-11-15T01:00:00.000Z",
        "2023-11-15T01:08:19.000Z",
    )
    assert words.score is not None
    assert words.threshold is not None
    assert words.score > words.threshold
    assert words.model == MODEL
    new = {seen.signals.event_id for seen in window if seen.signals and seen.signals.source == "press"}
    for found in findings.values():
        assert 0 < len(found.example_ids) <= 10
        assert set(found.example_ids) <= new
    assert [source.source for source in findings[DriftKind.SOURCES].sources] == ["press"]


def flooded(*sources: str | None, every: int = 10) -> list[Observation]:
    """A window in which one event of `every` has new words; these events are of the sources in turn."""
    new = ("quantabyte", "lorvane")
    return [
        decision(new, label=("mlops", "other")[at // every % 2], source=sources[at // every % len(sources)])
        if at % every == 0
        else seen
        for at, seen in enumerate(ordinary(WINDOW))
    ]


@pytest.mark.parametrize(("source", "every"), [("crawler", 10), ("crawler", 2), ("papers", 2)])
def test_a_flood_of_one_source_is_named(source: str, every: int) -> None:
    """A new source, or a known one that sends more; its share is of the whole window."""
    watch = made()
    feed(watch, ordinary(2 * WINDOW))
    window = flooded(source, every=every)
    share = sum(seen.signals is not None and seen.signals.source == source for seen in window) / WINDOW
    report = feed(watch, window)
    [words] = [found for found in report.findings if found.kind is DriftKind.WORDS]
    assert words.flood is not None
    assert (words.flood.source, words.flood.share) == (source, share)
    assert words.flood.seen_before is (source == "papers")
    assert report.evaluations[-1].floods[DriftScore.WORDS] == share
    assert what_moved(words).endswith(f"; a flood of one source: {source}, {share:.1%} of the events")


@pytest.mark.parametrize(
    "window",
    [
        pytest.param(flooded("crawler", "scraper"), id="two sources"),
        pytest.param(flooded("papers", "forum", "blogs"), id="all sources as ever"),
        pytest.param(flooded(None), id="no source has a name"),
    ],
)
def test_a_drift_of_no_source_alone_names_none(window: list[Observation]) -> None:
    """The same words are in the events of others, or the events have no source."""
    watch = made()
    feed(watch, ordinary(2 * WINDOW))
    report = feed(watch, window)
    found = {one.kind: one for one in report.findings}
    assert DriftKind.WORDS in found
    assert [one.flood for one in found.values()] == [None] * len(found)
    assert report.evaluations[-1].floods == {}


def test_a_second_kind_of_drift_is_not_put_on_the_source_of_the_first() -> None:
    """Words of one new source and another mix of labels everywhere: the source is named for its words, not for the labels."""
    watch = made()
    feed(watch, ordinary(2 * WINDOW))
    report = feed(
        watch, [msgspec.structs.replace(seen, label="mlops") if at % 3 else seen for at, seen in enumerate(flooded("crawler"))]
    )
    named = {found.kind: found.flood is not None for found in report.findings if found.kind is not DriftKind.CHANGE}
    assert named == {DriftKind.WORDS: True, DriftKind.SOURCES: True, DriftKind.LABELS: False}


def test_the_wire_form_is_the_contract() -> None:
    """Names as consumers read them; what a kind does not have is not there."""
    watch = made()
    feed(watch, ordinary(2 * WINDOW))
    [words, *_] = [found for found in feed(watch, planted()).findings if found.kind is DriftKind.WORDS]
    value = msgspec.json.decode(msgspec.json.encode(words))
    assert value["kind"] == "words"
    assert value["window"].keys() == {"events", "from", "to"}
    assert value["words"][0].keys() == {"word", "z", "share", "reference_share"}
    assert value["labels"][0].keys() == {"label", "share", "reference_share", "psi_term"}
    assert value["sources"][0].keys() == {"source", "share", "seen_before"}
    assert {"worker", "at", "reference_digest", "model", "example_ids"} <= value.keys()
    assert not {"signal", "before", "after"} & value.keys()
    assert msgspec.json.decode(msgspec.json.encode(words), type=Finding) == words


def test_a_sudden_change_is_a_finding_with_its_strangest_events() -> None:
    """Found within the window, and counted by its signal."""
    watch = made()
    feed(watch, ordinary(2 * WINDOW))
    report = feed(watch, (decision(confidence=0.4, event_id=f"low-{at}") for at in range(WINDOW)))
    assert report.changes == [DriftSignal.CONFIDENCE]
    [change] = [found for found in report.findings if found.kind is DriftKind.CHANGE]
    assert change.signal is DriftSignal.CONFIDENCE
    assert change.before == pytest.approx(0.8, abs=0.02)
    assert change.after == pytest.approx(0.4, abs=0.02)
    assert all(event_id.startswith("low-") for event_id in change.example_ids)


@pytest.mark.parametrize("swings", [False, True])
@pytest.mark.parametrize("window_ms", [60_000, 600_000])
def test_what_lasts_or_swings_is_said_once_an_hour_however_fast_it_flows(window_ms: int, *, swings: bool) -> None:
    """Two hours of drift give two findings of words, at a window a minute as well as at one in ten minutes."""
    watch = made()
    feed(watch, ordinary(2 * WINDOW))
    said = []
    for number in range(2 * REPEAT_MS // window_ms):
        window = list(ordinary(WINDOW)) if swings and number % 2 else planted()
        said += watch.add(window, START_MS + number * window_ms).findings
    assert sum(found.kind is DriftKind.WORDS for found in said) == 2


def test_what_grows_by_half_is_said_earlier() -> None:
    """After ten minutes at the earliest."""
    watch = made()
    feed(watch, ordinary(2 * WINDOW))
    worse = [decision(("quantabyte", "lorvane"), label=("mlops", "other")[at % 2], source="press") for at in range(WINDOW)]
    kinds = [
        [found.kind for found in watch.add(window, START_MS + at_ms).findings if found.kind is DriftKind.WORDS]
        for window, at_ms in ((planted(), 0), (worse, WORSE_MS - 1), (worse, WORSE_MS))
    ]
    assert kinds == [[DriftKind.WORDS], [], [DriftKind.WORDS]]


def test_a_signal_that_jumps_again_and_again_is_a_finding_once_an_hour() -> None:
    """Each jump is counted; only the first of an hour is published."""
    watch = made()
    feed(watch, ordinary(4 * WINDOW))
    jumps = [decision(confidence=(0.3, 0.9)[at // (3 * WINDOW) % 2]) for at in range(12 * WINDOW)]
    report = watch.add(jumps, START_MS)
    assert report.changes.count(DriftSignal.CONFIDENCE) > 2
    assert sum(found.signal is DriftSignal.CONFIDENCE for found in report.findings) == 1


def test_a_window_with_a_change_in_it_is_not_learned_from() -> None:
    """The reference is what was there when nothing was wrong."""
    watch = made()
    feed(watch, ordinary(WINDOW))
    feed(watch, (decision(("strange",), confidence=0.3) for _ in range(WINDOW)))
    assert watch.learning
    feed(watch, (decision(("the",), confidence=0.3) for _ in range(WINDOW)))
    assert not watch.learning


def test_a_reference_from_a_file_serves_from_the_first_window_and_outlives_a_reset() -> None:
    """It is not learned from the stream, and its digest is named."""
    given_one = baseline.of(list(ordinary(5_000)))
    watch = made(baseline=given_one)
    assert watch.progress(START_MS) == 1.0
    for _ in range(2):
        findings = feed(watch, planted()).findings
        assert {found.kind for found in findings} == {DriftKind.WORDS, DriftKind.SOURCES}
        assert {found.reference_digest for found in findings} == {given_one.digest}
        watch.reset()


def test_what_the_group_has_learned_outlives_a_reset() -> None:
    """It is of all partitions, so other ones are compared with it too."""
    watch = made()
    feed(watch, ordinary(2 * WINDOW))
    learned = watch.baseline
    watch.reset()
    assert watch.baseline is learned
    assert learned is not None


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=12), st.booleans())
def test_how_events_are_batched_does_not_matter(sizes: list[int], dead: bool) -> None:
    """Nor do dead letters among them."""
    events = [*ordinary(2 * WINDOW), *planted(sum(sizes))]
    apart, together = made(), made()
    one = feed(apart, events)
    rest, found = list(events), []
    for size in [2 * WINDOW, *sizes]:
        batch, rest = rest[:size], rest[size:]
        found += together.add([*batch, dead_letter()] if dead else batch, START_MS).findings
    assert [(item.kind, item.words, item.labels, item.sources) for item in found] == [
        (item.kind, item.words, item.labels, item.sources) for item in one.findings
    ]
