"""Texts that come again: the same bytes without a call of the model, in bounded memory."""

import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.model_export.bundle.model import Prediction
from tagstream.monitoring.observer import NullObserver
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.decide import memory
from tagstream.stream.decide.from_settings import remembering, table_of
from tagstream.stream.decide.pipeline import PROBE, Pipeline
from tagstream.stream.decide.repeats import ENTRY_BYTES, LABEL_BYTES, LOOK_SECONDS, MOST_USED, PredictionTable, Repeats, key_of
from tests.fakes import Clock, KeywordClassifier, RecordingObserver, deciding

MANY = 16 * 1024 * 1024


class Counting(KeywordClassifier):
    """The stub, which counts the texts that it is asked for and refuses to read one."""

    def __init__(self, unreadable: str = "") -> None:
        """`unreadable`: the model raises for this text."""
        super().__init__()
        self.asked: list[str] = []
        self.unreadable = unreadable

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """Note the texts."""
        self.asked += texts
        if self.unreadable and any(self.unreadable in text for text in texts):
            msg = "no"
            raise RuntimeError(msg)
        return super().classify(texts)


def event(number: int, title: str) -> Record:
    """An event with an id of its own."""
    return Record(key=None, value=json.dumps({"id": str(number), "title": title}).encode(), offset=number)


def pipeline(classifier: Counting, table: PredictionTable | None) -> Pipeline:
    """A pipeline with this table before its model."""
    return Pipeline(decider=remembering(deciding(classifier), table), observer=RecordingObserver())


def empty(most_bytes: int = MANY) -> PredictionTable:
    """A table whose counts nobody reads."""
    return PredictionTable(most_bytes, NullObserver())


@given(
    st.lists(st.lists(st.sampled_from(["a cat", "a  cat", "a dog", "a bird", "broken"]), min_size=1, max_size=6), max_size=5)
)
def test_a_text_that_comes_again_has_the_same_bytes_and_asks_the_model_once(batches: list[list[str]]) -> None:
    """Whatever comes in one batch or in several, and with a text among it for which the model raises."""
    records = [[event(10 * number + place, title) for place, title in enumerate(batch)] for number, batch in enumerate(batches)]
    plain, again = Counting("broken"), Counting("broken")
    without, remembering = pipeline(plain, None), pipeline(again, empty())
    for batch in records:
        first, second = (one.publications(batch, clock=lambda: 1.0) for one in (without, remembering))
        assert [(one.key, one.value, one.headers, one.destination) for one in first] == [
            (one.key, one.value, one.headers, one.destination) for one in second
        ]
    probes = set(deciding().probe)
    asked = [text for text in again.asked if "broken" not in text and text not in probes]
    if "broken" not in {title for batch in batches for title in batch}:
        assert sorted(asked) == sorted(set(asked))
    assert set(asked) <= set(plain.asked)


def test_repeats_are_counted_with_the_time_that_they_save() -> None:
    """Two of four texts come again; the model's mean time of a text counts for each."""
    observer, classifier = RecordingObserver(), Counting()
    made = pipeline(classifier, PredictionTable(MANY, observer))
    made.decide([event(1, "a cat"), event(2, "a cat"), event(3, "a dog")])
    made.decide([event(4, "a dog")])
    assert (len(classifier.asked), observer.remembered_texts) == (2, 2)


def test_a_text_beside_one_for_which_the_model_raises_is_remembered_and_that_one_is_not() -> None:
    """The batch is taken apart. Of the four texts, one had come before, and one comes twice: the model is asked for neither of them again."""
    observer, classifier = RecordingObserver(), Counting("broken")
    made = pipeline(classifier, PredictionTable(MANY, observer))
    made.decide([event(1, "a cat")])
    batch = [event(2, "a cat"), event(3, "broken"), event(4, "a dog"), event(5, "broken")]
    assert [isinstance(outcome, Refusal) for outcome in made.decide(batch)] == [False, True, False, True]
    assert classifier.asked.count("a cat") == 1
    assert observer.remembered_texts == 1
    classifier.asked.clear()
    made.decide([event(6, "a dog")])
    assert classifier.asked == []
    classifier.unreadable = ""
    (found,) = made.decide([event(7, "broken")])
    assert not isinstance(found, Refusal)


def test_a_model_that_breaks_after_it_has_decided_its_probe_as_events_blames_no_event() -> None:
    """A remembered answer would say that it works."""
    classifier = Counting()
    made = pipeline(classifier, empty())
    made.decide([event(number, text) for number, text in enumerate(PROBE)])
    made.decide([event(number, text) for number, text in enumerate(PROBE)])
    assert classifier.asked == [*PROBE, *PROBE]
    classifier.unreadable = " "
    with pytest.raises(RuntimeError, match="no"):
        made.decide([event(9, "a cat")])


def test_rules_are_never_remembered() -> None:
    """They take less time than the table, and a pipeline without a table asks its model each time."""
    rules = deciding(kind="rules")
    assert remembering(rules, empty()) is rules
    assert remembering(deciding(), None).classifier.__class__ is KeywordClassifier
    table = empty()
    assert table_of(remembering(deciding(), table)) is table


def test_a_model_with_a_prediction_too_many_is_not_believed() -> None:
    """A text would get its neighbour's prediction."""

    class Doubling(KeywordClassifier):
        def classify(self, texts: Sequence[str]) -> list[Prediction]:
            return super().classify(texts) * 2

    asked = Repeats(Doubling(), empty(), model="m", probe=())
    with pytest.raises(RuntimeError, match="1 texts became 2 predictions"):
        asked.classify(["a cat"])


def keep(table: PredictionTable, predictions: dict[str, Prediction]) -> None:
    """Remember predictions of the model `m`, by text."""
    table.keep({key_of("m", text): one for text, one in predictions.items()}, 0.001)


def known(table: PredictionTable, model: str, *texts: str) -> list[Prediction | None]:
    """What the table knows of these texts."""
    return table.known([key_of(model, text) for text in texts])


def test_another_model_does_not_know_the_texts_of_the_first() -> None:
    """A prediction is that of the model which decides."""
    table = empty()
    one = KeywordClassifier().classify(["a cat"])[0]
    keep(table, {"a cat": one})
    assert known(table, "m", "a cat", "a dog") == [one, None]
    assert known(table, "another", "a cat") == [None]


def test_the_entry_that_was_used_longest_ago_goes_first() -> None:
    """There is room for two, and the one that was asked for stays."""
    one = KeywordClassifier().classify(["a cat"])[0]
    size = ENTRY_BYTES + LABEL_BYTES * len(one.probabilities)
    table = empty(2 * size)
    keep(table, {"first": one, "second": one})
    known(table, "m", "first")
    keep(table, {"third": one})
    assert [found is not None for found in known(table, "m", "first", "second", "third")] == [True, False, True]


@pytest.mark.parametrize("labels", [4, 100])
def test_the_estimate_of_an_entry_is_no_less_than_what_it_takes(labels: int) -> None:
    """The bound is one of bytes, so it is compared with what Python has allocated."""
    names = [f"label-{number}" for number in range(labels)]

    def prediction(number: int) -> Prediction:
        scores = {name: (number + place) / 1e6 for place, name in enumerate(names)}
        return Prediction(
            label=names[0], confidence=number / 7, probabilities=scores, energy=number / 3, tokens=5, truncated=False
        )

    table, count = empty(10**9), 2000
    tracemalloc.start()
    for number in range(count):
        keep(table, {f"text {number}": prediction(number)})
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(table) == count
    assert taken / count <= ENTRY_BYTES + LABEL_BYTES * labels


def test_a_process_that_is_short_of_memory_forgets_all_and_begins_anew_once_it_is_not() -> None:
    """It looks every few seconds; where nothing is known of memory, it remembers."""
    clock, used = Clock(), [MOST_USED]
    table = PredictionTable(MANY, NullObserver(), used=lambda: used[0], monotonic=clock)
    one = KeywordClassifier().classify(["a cat"])[0]

    def kept(text: str) -> bool:
        keep(table, {text: one})
        return known(table, "m", text) != [None]

    assert kept("first")
    used[0] = MOST_USED + 0.01
    assert kept("second")
    clock.now += LOOK_SECONDS
    assert not kept("third")
    assert known(table, "m", "first") == [None]
    used[0] = MOST_USED
    assert not kept("third")
    clock.now += LOOK_SECONDS
    assert kept("third")
    assert known(PredictionTable(MANY, NullObserver(), used=lambda: None), "m", "third") == [None]


def test_the_share_in_use_is_that_of_the_tightest_limit(tmp_path: Path) -> None:
    """A container of 100 MB that has 90 MB in use, of which 10 MB are pages of files, on a machine that is half empty."""
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n", encoding="ascii")
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1000 kB\nMemAvailable: 500 kB\n", encoding="ascii")
    (group / "memory.max").write_text("100000000\n", encoding="ascii")
    (group / "memory.current").write_text("90000000\n", encoding="ascii")
    (group / "memory.stat").write_text("inactive_file 10000000\nactive_file 0\n", encoding="ascii")
    assert memory.used_share(tmp_path) == pytest.approx(0.8)
    (group / "memory.max").write_text("max\n", encoding="ascii")
    assert memory.used_share(tmp_path) == pytest.approx(0.5)
    assert memory.used_share(tmp_path / "nowhere") is None
