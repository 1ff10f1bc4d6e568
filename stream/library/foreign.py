"""Decisions of a model that runs elsewhere, on the topics as a worker's are; and people's answers, as a worker makes decisions of them."""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, NoReturn

import msgspec

from tagstream.model_export.bundle.limits import MAX_LABELS, MAX_NAME_CHARACTERS
from tagstream.model_export.bundle.manifest import ALWAYS_ASK
from tagstream.model_export.bundle.model import SCORE_DECIMALS, OodLimits, Prediction
from tagstream.model_export.bundle.text import read
from tagstream.monitoring.vocabulary import OFF_SUBJECT, few
from tagstream.stream.contract.event import Record, decode
from tagstream.stream.contract.outcome import ModelRef, Outcome, publish_all
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.decide.from_settings import draw_of
from tagstream.stream.decide.pipeline import Decider
from tagstream.stream.decide.reviewer_answers import ReviewerAnswers
from tagstream.stream.library.program_settings import settings_of
from tagstream.stream.library.results import Event, Result, in_batches, record_of, result_of
from tagstream.stream.settings.secret_files import answer_keys

LEAST_LABELS = 2
SLIP = 1e-6
# An energy above this limit is what makes a text strange; the limit itself is arbitrary.
_LIMIT, _STRANGE, _ORDINARY = 0.0, 1.0, -1.0


class _Elsewhere:
    """Stands where a worker has a network: the predictions are handed in."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)

    def classify(self, texts: Sequence[str]) -> NoReturn:
        msg = f"this model runs in another program, so that {len(texts)} texts cannot be decided here"
        raise RuntimeError(msg)


class ForeignModel:
    """
    A classifier of yours, and the decisions that it makes: their records have the form and the ids of a worker's.

    So the console asks people about the unsure ones, their answers become decisions, and readers of the topics need to know nothing new.
    The same event under the same name, version and labels has the same `prediction_id` at each delivery.

    >>> from tagstream import ForeignModel
    >>> model = ForeignModel("intents", "7", ["billing", "login", "other"], thresholds=0.8)
    >>> found = model.decide({"id": "42", "title": "I cannot sign in"}, {"billing": 0.03, "login": 0.96, "other": 0.01})
    >>> found.tag, found.needs_person, found.records[0].topic
    ('login', False, 'tagged')
    """

    def __init__(
        self,
        name: str,
        version: str,
        labels: Sequence[str],
        *,
        thresholds: float | Mapping[str, float],
        settings: Mapping[str, Any] | None = None,
        environment: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Name the model.

        Args:
            name: Of the model, 1 to 256 characters.
            version: Another one for each model that decides otherwise, or two decisions would have one id.
            labels: All of them, 2 to 1,000, in an order that stays.
            thresholds: The confidence from which on a decision is published without a person, 0 to 1, for all labels or by label; 1.0001
                means never.
            settings: As for `Tagger`: names of topics, bounds on an event, and the draw for `audit`.
            environment: As for `Tagger`.
            clock: Gives Unix seconds, published as `tagged_at`.

        Raises:
            ValueError: A name, a label or a threshold cannot be used: the message says which and why.
            TypeError: Labels are no texts, or have no order.
            SettingsError: A setting is unknown or cannot be used.
        """
        if isinstance(labels, str | AbstractSet) or not all(isinstance(label, str) for label in labels):
            msg = "labels are texts in an order that stays: a list or a tuple of them"
            raise TypeError(msg)
        # Those of numpy and of enumerations are texts too, and of another class.
        labels = [str.__str__(label) for label in labels]
        below = dict(thresholds) if isinstance(thresholds, Mapping) else dict.fromkeys(labels, thresholds)
        _check(name, version, labels, below)
        self._settings = settings_of(settings, environment=environment)
        self._clock = clock
        digest = hashlib.sha256(msgspec.json.encode([name, version, labels])).hexdigest()
        self._decider = Decider(
            classifier=_Elsewhere(labels),
            model=ModelRef(name=name, version=version, digest=digest),
            threshold=ALWAYS_ASK,
            thresholds=below,
            ood=OodLimits(energy=_LIMIT),
        )
        self._draw = draw_of(self._settings, labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in their order."""
        return self._decider.labels

    @property
    def model(self) -> ModelRef:
        """Name, version and digest, as each decision bears them."""
        return self._decider.model

    def decide(
        self,
        event: Event,
        probabilities: Mapping[str, float],
        *,
        tags: Iterable[str] = (),
        strange: bool = False,
        truncated: bool = False,
    ) -> Result:
        """
        The decision that this model made on an event, or why that is no event.

        A person is asked where the probability is below the threshold of its label, another label that is not among `tags` has the
        same one in four decimals, the text is strange, or it has hidden characters.

        Args:
            event: A title, fields by name, or a record, of which key, value and headers count.
            probabilities: Of every label, 0 to 1 each; they are published with four decimals.
            tags: All labels that the text is about, where the model finds several; the most probable one among them.
            strange: The model does not know such texts.
            truncated: The model read only a part of the text.

        Raises:
            ValueError: The probabilities are not one for each label, or one is none; or a tag is no label.
            TypeError: The event is neither of the three.
        """
        prediction = self._prediction(probabilities, tuple(tags), strange=strange, truncated=truncated)
        record = record_of(event)
        limits = (self._settings if isinstance(event, Record) else self._settings.with_columns).limits
        found = decode(record, limits)
        # The bound of a worker's text is none of this model's: how much it has read is for its program to say.
        outcome: Outcome = (
            found
            if isinstance(found, Refusal)
            else self._asking(prediction).decide(
                found, prediction, msgspec.structs.replace(read(found.title, found.description), cut=False)
            )
        )
        (publication,) = publish_all([record], [outcome], int(self._clock() * 1000), limits)
        return result_of(self._draw.with_copy(publication), self._settings.topics)

    def _asking(self, prediction: Prediction) -> Decider:
        """The decider; of a tie one that no confidence satisfies, since the order of the labels would choose the tag."""
        shares = prediction.probabilities
        rivals = set(shares) - {prediction.label, *prediction.tags}
        tied = any(shares[label] == prediction.confidence for label in rivals)
        return replace(self._decider, thresholds={}) if tied else self._decider

    def _prediction(
        self, probabilities: Mapping[str, float], tags: tuple[str, ...], *, strange: bool, truncated: bool
    ) -> Prediction:
        labels = self._decider.labels
        if set(probabilities) != set(labels):
            missing, foreign = sorted(set(labels) - set(probabilities)), sorted(map(str, set(probabilities) - set(labels)))
            said = [f"{few(missing)} missing"] * bool(missing) + [f"{few(foreign)} unknown"] * bool(foreign)
            msg = f"probabilities must have each label of {self.model.name} once: {' and '.join(said)}"
            raise ValueError(msg)
        shares = {label: float(probabilities[label]) for label in labels}
        for label, value in shares.items():
            # A sum of floats may miss 1 in its last digits.
            if not -SLIP <= value <= 1 + SLIP:
                msg = f"the probability of {label!r} is {value!r}, which is not between 0 and 1"
                raise ValueError(msg)
        rounded = {label: min(1.0, max(0.0, round(value, SCORE_DECIMALS))) for label, value in shares.items()}
        top = max(labels, key=shares.__getitem__)
        if tags and (not set(tags) <= set(labels) or top not in tags):
            msg = f"tags must be labels of {self.model.name}, with the most probable one, {top!r}, among them: {few(sorted(tags))}"
            raise ValueError(msg)
        return Prediction(
            label=top,
            confidence=rounded[top],
            probabilities=rounded,
            energy=_STRANGE if strange else _ORDINARY,
            tokens=0,
            truncated=truncated,
            tags=tuple(label for label in labels if label in tags),
        )


class Answers:
    """
    Makes decisions of people's answers, as a worker does: for programs that read the topic `reviewed` themselves.

    Each answer becomes one record of `tagged`, the same at each delivery but for `tagged_at`. A record that is no answer is rejected.
    """

    def __init__(
        self, *, settings: Mapping[str, Any] | None = None, environment: bool = True, clock: Callable[[], float] = time.time
    ) -> None:
        """
        Read the keys of answers, where the settings name a file of them.

        Args:
            settings: As for `Tagger`.
            environment: As for `Tagger`.
            clock: Gives Unix seconds, published as `tagged_at`.

        Raises:
            SettingsError: A setting is unknown or cannot be used.
            SecurityError: The file of `security.answer_keys_file` cannot be used.
        """
        self._settings = settings_of(settings, environment=environment)
        self._clock = clock
        self._answering = ReviewerAnswers(self._settings.limits, keys=answer_keys(self._settings.security))

    def decide(self, records: Iterable[Record]) -> list[Result]:
        """
        The results of records of `reviewed`, in their order.

        Args:
            records: As they were read; topic, partition and offset are named in a dead letter.
        """
        return [
            result_of(one, self._settings.topics)
            for batch in in_batches(records, self._settings.batch_max_events)
            for one in self._answering.publications(batch, clock=self._clock)
        ]


def _check(name: str, version: str, labels: Sequence[str], thresholds: Mapping[str, float]) -> None:
    """
    The rules on a model's name and figures.

    Args:
        name: Of the model.
        version: Of the model.
        labels: Of the model.
        thresholds: One for each label.

    Raises:
        ValueError: One is broken.
    """
    faults = {
        f"labels must be {LEAST_LABELS} to {MAX_LABELS:,} different names": not LEAST_LABELS <= len(labels) <= MAX_LABELS
        or len(set(labels)) != len(labels),
        f"name, version and every label must have 1 to {MAX_NAME_CHARACTERS} characters": not all(
            1 <= len(text) <= MAX_NAME_CHARACTERS for text in (name, version, *labels)
        ),
        f"a label may not be called {OFF_SUBJECT}, which is a reviewer's word for an event of no label": OFF_SUBJECT in labels,
        "a threshold must lie in 0 to 1, or be 1.0001, which means never": not all(
            0 <= value <= 1 or value == ALWAYS_ASK for value in thresholds.values()
        ),
        "thresholds must be one number, or one for each label": set(thresholds) != set(labels),
    }
    for fault, there in faults.items():
        if there:
            raise ValueError(fault)
