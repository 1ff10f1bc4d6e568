"""Isolation of the events for which the model raises: culprits, neighbours and the number of calls."""

import json
import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tagstream.model_export.bundle.model import Prediction
from tagstream.monitoring.observer import NullObserver, Observer
from tagstream.monitoring.vocabulary import Reason, Stage
from tagstream.stream.contract.outcome import Tagged, publish_all
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.decide.pipeline import PROBE, Pipeline
from tests.fakes import KeywordClassifier, RecordingObserver, deciding, raw

BAD = "unspeakable"


class FragileClassifier(KeywordClassifier):
    """A classifier that raises the exception that `breaks` returns, and counts its calls."""

    def __init__(self, breaks: Callable[[Sequence[str], int], Exception | None]) -> None:
        """`breaks` gets the texts and the number of the call, from 1."""
        self._breaks = breaks
        self.calls = 0

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """Raise, or predict."""
        self.calls += 1
        error = self._breaks(texts, self.calls)
        if error is not None:
            raise error
        return super().classify(texts)


def of_the_text(texts: Sequence[str], _: int) -> Exception | None:
    """Raise for texts with one word, and quote the text in the message."""
    found = [text for text in texts if BAD in text]
    return ValueError(found[0]) if found else None


BATCHES = st.integers(1, 70).flatmap(
    lambda size: st.tuples(st.just(size), st.sets(st.integers(0, size - 1)), st.integers(1, 4))
)


def refused(error: str, attempts: int) -> Refusal:
    """The refusal of a text for which the model raised this class of exception when asked alone."""
    message = f"the model raised {error} for this event alone, each time, and for no other text"
    return Refusal(stage=Stage.INFER, reason=Reason.MODEL_RAISED, message=message, attempts=attempts)


def classified(
    model: FragileClassifier | KeywordClassifier, texts: Sequence[str], *, attempts: int = 2, observer: Observer | None = None
) -> list[Refusal | dict[str, float]]:
    """The refusal of each text, or the probabilities of its decision, by a pipeline around this model."""
    pipeline = Pipeline(decider=deciding(model), observer=observer or NullObserver(), attempts=attempts)
    outcomes = pipeline.decide([raw(json.dumps({"title": text}).encode()) for text in texts])
    return [one if isinstance(one, Refusal) else one.decision.probabilities for one in outcomes]


def by_itself(text: str) -> dict[str, float]:
    """The probabilities that a text gets alone."""
    return KeywordClassifier().classify([text])[0].probabilities


@given(BATCHES)
def test_culprits_are_found_and_neighbours_are_decided_as_if_alone(batch: tuple[int, set[int], int]) -> None:
    """At any batch size and any places the culprits are refused, the others are decided, and calls are bounded."""
    size, bad, attempts = batch
    texts = [f"{BAD if position in bad else 'image'} {position}" for position in range(size)]
    model, observer = FragileClassifier(of_the_text), RecordingObserver()

    answers = classified(model, texts, attempts=attempts, observer=observer)

    assert [isinstance(answer, Refusal) for answer in answers] == [position in bad for position in range(size)]
    for text, answer in zip(texts, answers, strict=True):
        expected = refused("ValueError", attempts) if BAD in text else by_itself(text)
        assert answer == expected
    most = 2 + len(bad) * (2 * math.ceil(math.log2(size)) + 2 * attempts - 1)
    assert model.calls <= (most if bad else 1)
    assert (observer.raised > 0) == bool(bad)


@given(st.integers(1, 70), st.integers(1, 4))
def test_a_text_that_comes_often_in_a_batch_is_tried_as_one(times: int, attempts: int) -> None:
    """A producer that sends its poison again and again costs no more calls than one that sends it once."""
    once, often = FragileClassifier(of_the_text), FragileClassifier(of_the_text)
    (answer,) = classified(once, [BAD], attempts=attempts)
    assert classified(often, [BAD] * times, attempts=attempts) == [answer] * times
    assert often.calls == once.calls


@given(st.integers(1, 70), st.integers(1, 4))
def test_a_model_that_raises_for_everything_is_a_broken_machine(size: int, attempts: int) -> None:
    """When the second call, the probe, raises too, the error is raised and no event is blamed."""
    model = FragileClassifier(lambda _, call: RuntimeError(call))
    with pytest.raises(RuntimeError) as caught:
        classified(model, ["image"] * size, attempts=attempts)
    assert model.calls == 2
    assert caught.value.args == (2,), "it is the probe's exception, whose message holds no text of an event"
    assert caught.value.__context__ is None


@hypothesis_settings(deadline=None)
@given(st.integers(2, 40), st.data())
def test_a_machine_that_breaks_during_isolation_blames_no_event(size: int, data: st.DataObject) -> None:
    """If every call from some point on fails, the batch raises, even where culprits were found before."""
    bad = data.draw(st.integers(0, size - 1))
    texts = [BAD if position == bad else "image" for position in range(size)]
    whole = FragileClassifier(of_the_text)
    classified(whole, texts)
    gone = data.draw(st.integers(1, whole.calls))
    model = FragileClassifier(lambda texts, call: RuntimeError("gone") if call >= gone else of_the_text(texts, call))
    with pytest.raises(RuntimeError, match="gone"):
        classified(model, texts)


@given(st.integers(1, 40), st.integers(1, 3))
def test_a_passing_failure_blames_no_event(size: int, failures: int) -> None:
    """If the first calls raise and the probe works, every event is decided, also in a batch of one."""

    def at_first(texts: Sequence[str], call: int) -> Exception | None:
        return RuntimeError(call) if call <= failures * 2 and tuple(texts) != PROBE else None

    answers = classified(FragileClassifier(at_first), ["image"] * size, attempts=failures + 2)
    assert answers == [by_itself("image")] * size


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "full"), KeyboardInterrupt(), SystemExit(1)])
def test_an_error_that_means_a_broken_machine_is_raised_at_once(error: BaseException) -> None:
    """Such an error is raised from the first call, without isolation."""

    class Exhausted(KeywordClassifier):
        calls = 0

        def classify(self, texts: Sequence[str]) -> list[Prediction]:
            self.calls += len(texts)
            raise error

    model = Exhausted()
    with pytest.raises(type(error)):
        classified(model, ["a", "b"])
    assert model.calls == 2


def test_a_batch_without_texts_raises_only_if_the_probe_raises() -> None:
    """A batch of bad events has no text for the model, so the probe decides whether the machine is broken."""
    assert classified(FragileClassifier(of_the_text), []) == []
    assert classified(FragileClassifier(lambda texts, _: None if texts else ValueError()), []) == []


def test_the_dead_letter_says_where_and_how_often_without_a_word_of_the_text() -> None:
    """The dead letter has code, stage and attempts as headers, and the exception's message is not published."""
    observer = RecordingObserver()
    pipeline = Pipeline(decider=deciding(FragileClassifier(of_the_text)), observer=observer, attempts=3)
    value = b'{"title":"image of the unspeakable"}'
    records = [raw(b'{"title":"image"}', offset=1), raw(value, offset=2), raw(b'{"title":"image"}', offset=3)]
    outcomes = pipeline.decide(records)
    assert [type(outcome) for outcome in outcomes] == [Tagged, Refusal, Tagged]
    letter = outcomes[1]
    assert isinstance(letter, Refusal)
    assert (letter.stage, letter.reason, letter.attempts) == (Stage.INFER, Reason.MODEL_RAISED, 3)
    published = publish_all(records, outcomes, 0)[1]
    headers = dict(published.headers)
    assert (published.value, headers["x-dlq-attempts"], headers["x-dlq-code"]) == (value, b"3", b"model_raised")
    assert BAD.encode() not in b"".join(headers.values())
    assert b"ValueError" in headers["__streams.errors.message"]
    # The whole batch, then the halves with the culprit down to itself, then three times alone.
    assert observer.raised >= 4


def test_the_pipeline_probes_with_the_bundles_golden_texts() -> None:
    """The probe asks for the texts that were checked when the bundle was loaded."""
    asked: list[tuple[str, ...]] = []

    def listen(texts: Sequence[str], _: int) -> Exception | None:
        asked.append(tuple(texts))
        return of_the_text(texts, 0)

    decider = deciding(FragileClassifier(listen), probe=("golden", "texts"))
    pipeline = Pipeline(decider=decider, observer=NullObserver())
    pipeline.decide([raw(b'{"title":"unspeakable"}')])
    assert asked == [(BAD,), ("golden", "texts"), (BAD,), ("golden", "texts")]
