"""The samples of the demo."""

import itertools
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE
from tagstream.model_export.data.reader import RowsError
from tagstream.monitoring.figures.limited import DEAD_LETTERS
from tagstream.stream.contract.event import ContentEvent, Record, decode
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.demo import samples
from tagstream.stream.demo.samples import SampleRecord
from tagstream.stream.demo.shifts import Drift, Shift
from tagstream.stream.settings.settings import Settings
from tests.foreign import bundles as foreign
from tests.unit.stream.demo.demo_records import MALFORMED


def as_record(sample: SampleRecord) -> Record:
    """A sample as the worker gets it."""
    return Record(topic="content", partition=0, offset=0, timestamp_ms=0, key=sample.key.encode(), value=sample.value)


def test_every_sample_event_is_valid_under_the_id_that_is_its_key() -> None:
    """Two rounds of all sample events decode, and bear the ids by which their outcomes are found."""
    events = samples.load_events()
    sent = list(itertools.islice(samples.mix(events, []), 2 * len(events)))
    decoded = [decode(as_record(sample)) for sample in sent]
    assert [sample.key for sample in sent] == [event.id for event in decoded if isinstance(event, ContentEvent)]
    assert len({sample.key for sample in sent}) == 2 * len(events)


def test_every_malformed_sample_is_rejected_for_its_code() -> None:
    """Each malformed sample is rejected under the code in its file."""
    malformed = samples.load_malformed()
    rejected = [decode(as_record(sample)) for sample in malformed]
    assert [sample.code for sample in malformed] == [r.reason for r in rejected if isinstance(r, Refusal)]
    assert len({sample.value for sample in malformed}) == len(malformed) == 30


def test_a_short_run_sees_every_code_once_before_any_twice() -> None:
    """The malformed come in an order in which even thirty seconds show all kinds."""
    codes = [sample.code for sample in samples.load_malformed()]
    assert len(set(codes[: len(set(codes))])) == len(set(codes)) > 8


def test_one_sample_in_125_is_malformed_at_a_steady_cadence() -> None:
    """The malformed stand at every 125th place and nowhere else: too few for a page."""
    mixed = itertools.islice(samples.mix(samples.load_events(), samples.load_malformed()), 1_000)
    places = [number for number, sample in enumerate(mixed, 1) if sample.code is not None]
    assert places == list(range(125, 1_001, 125))
    assert len(places) / 1_000 < DEAD_LETTERS.limit


def test_the_samples_come_in_one_order_that_mixes_their_sources() -> None:
    """The order is the same in every run, and the sources are mixed alike in each part of it."""
    events = samples.load_events()
    assert events == samples.load_events()
    assert len({event["id"] for event in events}) == len(events) > 2_000
    sources = Counter(event["source"] for event in events)
    for start in range(0, len(events) - 500, 500):
        part = Counter(event["source"] for event in events[start : start + 500])
        assert all(abs(part[source] / 500 - count / len(events)) < 0.1 for source, count in sources.items())


def test_a_new_round_brings_new_ids() -> None:
    """Events and malformed are numbered from their second round on; a shared broker's runs end differently."""
    events, malformed = [{"id": "a", "title": "A"}, {"id": "b", "title": "B"}], [MALFORMED]
    keys = [sample.key for sample in itertools.islice(samples.mix(events, malformed), 250)]
    assert keys[:4] == ["a", "b", "a-2", "b-2"]
    assert [keys[124], keys[249]] == ["malformed-1", "malformed-1-2"]
    assert [sample.key for sample in itertools.islice(samples.mix(events, [], run="f3"), 3)] == ["a-f3", "b-f3", "a-2-f3"]


def test_the_stream_is_ordinary_and_then_drifts_under_other_ids() -> None:
    """The drift begins after the given seconds, and no id comes twice."""
    drift = Drift(shift=Shift.NO_DESCRIPTION, after_seconds=10)
    mixed = list(itertools.islice(drift.mixed(samples.load_events(), samples.load_malformed(), rate=20), 400))
    described = ["description" in msgspec.json.decode(sample.value) for sample in mixed if sample.code is None]
    assert any(described[:198])
    assert not any(described[199:])
    assert len({sample.key for sample in mixed}) == len(mixed)


@pytest.mark.parametrize("shift", [Shift.NONE, Shift.NO_DESCRIPTION])
def test_ids_end_with_the_run_where_nothing_ordinary_comes_first(shift: Shift) -> None:
    """Two runs of a producer are told apart by their ids."""
    mixed = Drift(shift=shift, after_seconds=0).mixed(samples.load_events(), (), rate=20, run="f3")
    assert all(sample.key.endswith("-f3") for sample in itertools.islice(mixed, 100))


TICKETS = Path(__file__).parents[4] / "examples" / "tickets"


def test_events_of_a_file_of_ones_own_take_the_place_of_the_samples() -> None:
    """Their ids, texts and sources stay; the labels that rows have are what the reviewer answers."""
    events, labels = samples.events_of(TICKETS / "gold.csv")
    assert len(events) == len(labels) == 140
    assert set(labels.values()) == set(foreign.TICKETS)
    assert {event["source"] for event in events} == {"email", "web-form", "chat"}
    assert all(event["id"].startswith("T-3") for event in events)
    assert sum("description" in event for event in events) == 98
    unlabelled, none = samples.events_of(TICKETS / "events.jsonl")
    assert (len(unlabelled), none) == (60, {})


def test_a_file_that_the_stream_would_refuse_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """The line and the reason are named."""
    file = tmp_path / "mine.jsonl"
    file.write_text('{"title": "A"}\n{"titel": "B"}\n')
    with pytest.raises(RowsError, match=r"line 2 of .*mine\.jsonl would become a dead letter: .*Next: "):
        samples.events_of(file)
    file.write_text("\n")
    with pytest.raises(RowsError, match=r"has no row"):
        samples.events_of(file)


def test_a_bundle_with_other_labels_than_the_samples_is_known(tmp_path: Path) -> None:
    """The demo says so; a bundle that cannot be read is the worker's to name."""
    assert samples.other_labels(Settings(bundle=DEFAULT_BUNDLE)) == ()
    assert samples.other_labels(Settings(bundle=tmp_path / "none")) == ()
    assert samples.other_labels(Settings(bundle=foreign.write(tmp_path / "own").path)) == foreign.TICKETS
