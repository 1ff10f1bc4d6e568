"""10,000 hostile records through the real pipeline: one correct outcome each, in bounded time and memory."""

import itertools
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from prometheus_client import CollectorRegistry

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE, Bundle, read
from tagstream.model_export.bundle.manifest import MANIFEST
from tagstream.model_export.bundle.model import Classifier, OnnxClassifier
from tagstream.model_export.data.reader import InputRow
from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.monitoring.observer import NullObserver
from tagstream.monitoring.vocabulary import AtFault, Destination, Reason, TextFlag, at_fault
from tagstream.stream.batch.classify import print_outcome
from tagstream.stream.batch.run import decide
from tagstream.stream.cli.show.records import print_record
from tagstream.stream.contract.event import Record, decode
from tagstream.stream.decide.from_settings import decider_of_bundle
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.deliver.breaker import OF_THE_MODEL
from tests.answering import OF_ANSWERS
from tests.fakes import LABELS
from tests.hostile.corpus import HEAVY, LIGHT, SIZE, corpus, hostile, mutated, numbered
from tests.hostile.judge import complaints
from tests.hostile.record import Hostile
from tests.hostile.structures import as_large_as_allowed
from tests.lacking import lacking
from tests.replacing import replace

BATCH = 64
# The corpus takes megabytes, so more growth than one batch means a leak or a decompression bomb.
GROWTH_BYTES = 400 * 1024 * 1024
# Processor time, which other processes on the machine do not change.
SECONDS_PER_EVENT = 1.0
STATM = Path("/proc/self/statm")


def hostile_pipeline(bundle: Bundle, classifier: Classifier) -> Pipeline:
    """The stream's own pipeline, without an observer."""
    return Pipeline(decider=decider_of_bundle(bundle, classifier), observer=NullObserver())


def batches(records: Iterator[tuple[Callable[..., Hostile], Hostile]], size: int) -> Iterator[list[tuple[str, Hostile]]]:
    """Batches of this size; each record comes with the name of its class."""
    while chunk := list(itertools.islice(records, size)):
        yield [(make.__name__, record) for make, record in chunk]


def wrong(pipeline: Pipeline, batch: list[tuple[str, Hostile]]) -> list[str]:
    """Complaints about the outcomes of a batch."""
    publications = pipeline.publications([record.raw(offset) for offset, (_, record) in enumerate(batch)])
    return [
        f"{name}: {what}"
        for (name, record), found in zip(batch, publications, strict=True)
        for what in complaints(record, destination=found.destination, key=found.key, value=found.value, headers=found.headers)
    ]


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not STATM.exists(), reason="memory is read from /proc, which this system does not have")
def test_the_fixed_corpus_gets_the_right_outcomes(tiny_bundle: Bundle, tiny_classifier: Classifier) -> None:
    """Each record, batched as in a worker, gets one outcome with the expected code or flags and unchanged bytes."""
    pipeline = hostile_pipeline(tiny_bundle, tiny_classifier)
    before = most = resident_bytes()
    found: list[str] = []
    seen = 0
    for batch in batches(corpus(), BATCH):
        started = time.process_time()
        found += wrong(pipeline, batch)
        seen += len(batch)
        assert time.process_time() - started < SECONDS_PER_EVENT * len(batch), Counter(name for name, _ in batch)
        most = max(most, resident_bytes())
    assert seen == SIZE
    assert Counter(found) == {}
    assert most - before < GROWTH_BYTES


def test_the_fixed_corpus_gets_the_right_outcomes_under_the_default_bundle() -> None:
    """The shipped network and tokenizer give every hostile record its right outcome too."""
    if not (DEFAULT_BUNDLE / MANIFEST).is_file():
        lacking("the default bundle has not been made")
    bundle = read(DEFAULT_BUNDLE)
    pipeline = hostile_pipeline(bundle, OnnxClassifier(bundle))
    assert Counter(what for batch in batches(corpus(), BATCH) for what in wrong(pipeline, batch)) == {}


def test_the_corpus_is_the_same_for_everyone_and_has_every_class() -> None:
    """The same seed gives the same corpus with every class, and another seed gives another one."""
    first = [record for _, record in corpus(500)]
    assert first == [record for _, record in corpus(500)]
    assert first != [record for _, record in corpus(500, seed="another")]
    classes = Counter(make for make, _ in corpus())
    assert set(classes) == {*LIGHT, *HEAVY}
    assert min(classes.values()) >= 10


def test_every_code_and_every_flag_is_planted() -> None:
    """Every code of `decode` and every flag is the expected result of some record in the corpus."""
    records = [record for _, record in corpus()]
    assert {code for record in records for code in record.codes} == set(Reason) - OF_THE_MODEL - OF_ANSWERS - {
        one for one in Reason if at_fault(one) is AtFault.FRAME
    } - {Reason.OUTCOME_TOO_LARGE}
    assert {flag for record in records for flag in record.flags or ()} == set(TextFlag)


@given(hostile())
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_any_record_of_any_class_gets_the_right_outcome(pipeline: Pipeline, record: Hostile) -> None:
    """Records outside the fixed corpus get their right outcome too."""
    assert wrong(pipeline, [("any", numbered(record, 1))]) == []


@given(mutated())
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_mutated_records_get_one_outcome(pipeline: Pipeline, record: Hostile) -> None:
    """A mutated record becomes a dead letter with its bytes, or a decision in strict JSON with the input's fields."""
    (publication,) = pipeline.publications([record.raw()])
    if publication.destination is Destination.DLQ:
        assert publication.value == record.value
    else:
        assert (
            complaints(
                record,
                destination=publication.destination,
                key=publication.key,
                value=publication.value,
                headers=publication.headers,
            )
            == []
        )


def test_the_judge_finds_every_kind_of_error(pipeline: Pipeline) -> None:
    """The judge complains about a wrong topic, changed bytes, a lost field, a missing flag and a wrong code."""
    good = Hostile(value=b'{"id":"a","title":"A title","x":1.50}', flags=frozenset())
    (found,) = pipeline.publications([good.raw()])
    outcome = {"destination": found.destination, "key": found.key, "value": found.value, "headers": found.headers}
    value = found.value or b""

    def judged(record: Hostile, **changed: object) -> list[str]:
        return complaints(record, **{**outcome, **changed})  # type: ignore[arg-type]

    assert judged(good) == []
    assert judged(good, destination=Destination.DLQ)
    assert judged(good, value=value.replace(b"1.50", b"1.5"))
    assert judged(good, value=value.replace(b'"x":1.50,', b""))
    assert judged(good, value=value.replace(b'"x":1.50', b'"x":NaN'))
    assert judged(good, value=value.replace(b"A title", b"\xff"))
    assert judged(good, value=value[:-1] + b',"text_flags":["mixed_scripts"]}')
    assert judged(replace(good, flags=frozenset({TextFlag.MIXED_SCRIPTS})))
    bad = Hostile(key=b"k", value=b"[]", headers=(("a", b"b"),), codes=frozenset({Reason.NOT_AN_OBJECT}))
    (found,) = pipeline.publications([bad.raw()])
    outcome = {"destination": found.destination, "key": found.key, "value": found.value, "headers": found.headers}
    assert judged(bad) == []
    assert judged(bad, value=b"[ ]")
    assert judged(bad, key=None)
    assert judged(bad, headers=found.headers[1:])
    assert judged(bad, destination=Destination.TAGGED)
    assert judged(replace(bad, codes=frozenset({Reason.EMPTY})))


@pytest.mark.skipif(not STATM.exists(), reason="memory is read from /proc, which this system does not have")
@pytest.mark.parametrize("piece", ["!", "word ", "\u56fe", "\u0301\u0316", "\u200b", "x\\b"])
def test_a_batch_of_the_largest_events_costs_little_more_than_their_bytes(
    tiny_bundle: Bundle, tiny_classifier: Classifier, piece: str
) -> None:
    """Only the beginning of a text reaches the tokenizer, so a batch of the largest events stays within the bound."""
    pipeline = hostile_pipeline(tiny_bundle, tiny_classifier)
    title = piece * (880_000 // len(piece.encode()))
    batch = [Hostile(value=b'{"id":"%d","title":"%b"}' % (n, title.encode())).raw(n) for n in range(16)]
    before = resident_bytes()
    started = time.process_time()
    publications = pipeline.publications(batch)
    assert time.process_time() - started < 16 * SECONDS_PER_EVENT
    assert resident_bytes() - before < GROWTH_BYTES / 2
    assert {json.loads(found.value or b"")["truncated"] for found in publications} == {True}


@pytest.mark.parametrize(
    "value",
    [
        lambda size: b"[" * size,
        lambda size: b'{"title":"a","x":' + b"[" * 30 + b"1," * size + b"1" + b"]" * 30 + b"}",
        lambda size: b'{"title":"' + b"\\u0301\\u0316" * (size // 12) + b'"}',
        lambda size: b'{"title":"a",' + b",".join(b'"%d":{}' % n for n in range(size // 8)) + b"}",
        lambda size: b'{"title":"a","x":[' + b",".join(b"1e3" for _ in range(size // 4)) + b"]}",
        lambda size: b'{"title":"' + b"\\\\" * size + b'"}',
        lambda size: b'{"title":"' + b" " * size + b'a"}',
    ],
    ids=["open brackets", "a long array", "escaped marks", "many names", "many exponents", "backslashes", "white space"],
)
def test_decoding_takes_time_in_proportion(value: Callable[[int], bytes]) -> None:
    """Four times the bytes take at most ten times the time (quadratic growth takes 16), by the best of three."""

    def seconds(size: int) -> float:
        raw = Hostile(value=value(size)).raw()
        best = float("inf")
        for _ in range(3):
            started = time.process_time()
            decode(raw)
            best = min(best, time.process_time() - started)
        return best

    assert seconds(200_000) < 10 * max(seconds(50_000), 0.002)


def test_the_largest_allowed_events_are_decided(pipeline: Pipeline) -> None:
    """Events at the size limit and one byte below it are decided."""
    records = [as_large_as_allowed(random.Random(seed), seed) for seed in range(12)]  # noqa: S311 - repeatable, not secret
    assert {len(record.value or b"") for record in records} == {900_000, 899_999}
    assert wrong(pipeline, [("large", numbered(record, 1)) for record in records]) == []


def test_a_terminal_shows_hostile_records_without_obeying_them(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    """`tail` and `classify` print every record without its control, escape and reordering characters."""
    for make, record in itertools.islice(corpus(), 2_000):
        (publication,) = pipeline.publications([record.raw()])
        (found,) = decide(pipeline, [InputRow(1, record.value or b"")], [0])
        print_outcome(found, of_file=True)
        for topic, key, value, headers in (
            ("content", record.key, record.value, record.headers),
            (publication.destination.value, publication.key, publication.value, publication.headers),
        ):
            shown = Record(topic=topic, partition=0, offset=0, timestamp_ms=0, key=key, value=value, headers=headers)
            print_record(shown, as_json=False)
        lines = capsys.readouterr().out.splitlines(keepends=True)
        assert all(line.rstrip("\n").isprintable() for line in lines), make.__name__
        assert len(lines) == 3, make.__name__


def test_flags_are_counted_and_make_no_series(pipeline: Pipeline) -> None:
    """Each flag of a published decision is counted once, in a series that exists from the start."""
    registry = CollectorRegistry()
    metrics = Metrics(registry, labels=LABELS, topic="content")
    before = {(sample.name, *sample.labels.items()) for family in registry.collect() for sample in family.samples}
    expected: Counter[str] = Counter()
    for batch in batches(itertools.islice(corpus(), 1_000), BATCH):
        publications = pipeline.publications([record.raw() for _, record in batch])
        metrics.published([found.observation for found in publications], 1)
        expected.update(flag.value for _, record in batch for flag in record.flags or ())
    after = {(sample.name, *sample.labels.items()) for family in registry.collect() for sample in family.samples}
    assert after == before
    counted = {flag.value: registry.get_sample_value("tagstream_text_flags_total", {"flag": flag.value}) for flag in TextFlag}
    assert counted == {flag.value: expected[flag.value] for flag in TextFlag}
    assert min(expected.values()) > 0
