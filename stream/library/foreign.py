"""
The worker's records for programs with a model of their own.

`ForeignModel` turns a model's predictions into the records that a worker would publish. `Answers` turns people's answers into decisions,
as a worker does.
"""

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
# A text whose energy is above `_LIMIT` counts as strange. The value of the limit is arbitrary.
_LIMIT, _STRANGE, _ORDINARY = 0.0, 1.0, -1.0


class _Elsewhere:
    """A placeholder for the worker's network. The caller of `ForeignModel.decide` has already made the predictions."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)

    def classify(self, texts: Sequence[str]) -> NoReturn:
        msg = f"this model runs in another program, so that {len(texts)} texts cannot be decided here"
        raise RuntimeError(msg)


class ForeignModel:
    """
    Your own classifier. Its decisions become records with the form and the ids of a worker's records.

    So the console asks people about unsure decisions, people's answers become decisions, and readers of the topics need no change.
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
        Describe the model.

        Args:
            name: The name of the model, 1 to 256 characters.
            version: The version of the model. Change it with each change of the model; otherwise two different decisions have one id.
            labels: All labels of the model, 2 to 1,000, always in the same order.
            thresholds: The least confidence, 0 to 1, for which a decision is published without a person, for all labels or by label;
                1.0001 sends every decision to a person.
            settings: See `Tagger`. Used here: names of topics, bounds on an event, and the draw for `audit`.
            environment: See `Tagger`.
            clock: Returns Unix seconds, published as `tagged_at`.

        Raises:
            ValueError: A name, a label or a threshold cannot be used. The message has the name and the reason.
            TypeError: The labels are not texts, or are in a set, which has no order.
            SettingsError: A setting is unknown or cannot be used.
        """
        if isinstance(labels, str | AbstractSet) or not all(isinstance(label, str) for label in labels):
            msg = "labels are texts in an order that stays: a list or a tuple of them"
            raise TypeError(msg)
        # Labels from numpy or an enumeration are instances of subclasses of `str`. They become plain `str` here.
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
        """The labels, in the order that was given."""
        return self._decider.labels

    @property
    def model(self) -> ModelRef:
        """The name, version and digest that each decision contains."""
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
        Return the decision on an event, made from the model's prediction; or a rejection, if the event is not valid.

        The decision goes to a person if its probability is below the threshold of its label, if a label that is not in `tags` has the
        same probability in four decimals, if the text is strange, or if the text has hidden characters.

        Args:
            event: A title, fields by name, or a record. Of a record, key, value and headers are used.
            probabilities: The probability of every label, 0 to 1 each, published with four decimals.
            tags: All labels of the text, if the model finds several labels. They include the most probable label.
            strange: True if the text is unlike the texts that the model was trained on.
            truncated: True if the model read only a part of the text.

        Raises:
            ValueError: A label has no probability, a probability is not between 0 and 1 or has no label, or `tags` cannot be used.
            TypeError: The event is not a title, a mapping or a record.
        """
        prediction = self._prediction(probabilities, tuple(tags), strange=strange, truncated=truncated)
        record = record_of(event)
        limits = (self._settings if isinstance(event, Record) else self._settings.with_columns).limits
        found = decode(record, limits)
        # A worker's bound on the text does not apply to this model. The caller passes `truncated`.
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
        """Return the decider; for a tie, a decider that always asks a person, because the order of the labels would choose the tag."""
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
            # Rounding errors of floats may put a probability slightly outside 0 to 1.
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
    Turns people's answers into decisions, as a worker does, for programs that read the topic `reviewed` themselves.

    Each answer becomes one record of `tagged`. A redelivered answer gives the same record, except for `tagged_at`. A record that is not a
    valid answer is rejected.
    """

    def __init__(
        self, *, settings: Mapping[str, Any] | None = None, environment: bool = True, clock: Callable[[], float] = time.time
    ) -> None:
        """
        Read the keys that sign answers, if the settings name a file of keys.

        Args:
            settings: See `Tagger`.
            environment: See `Tagger`.
            clock: Returns Unix seconds, published as `tagged_at`.

        Raises:
            SettingsError: A setting is unknown or cannot be used.
            SecurityError: The file of `security.answer_keys_file` cannot be used.
        """
        self._settings = settings_of(settings, environment=environment)
        self._clock = clock
        self._answering = ReviewerAnswers(self._settings.limits, keys=answer_keys(self._settings.security))

    def decide(self, records: Iterable[Record]) -> list[Result]:
        """
        Return the results of records of `reviewed`, in order.

        Args:
            records: The records as they were read. A dead letter contains the record's topic, partition and offset.
        """
        return [
            result_of(one, self._settings.topics)
            for batch in in_batches(records, self._settings.batch_max_events)
            for one in self._answering.publications(batch, clock=self._clock)
        ]


def _check(name: str, version: str, labels: Sequence[str], thresholds: Mapping[str, float]) -> None:
    """
    Check the name, version, labels and thresholds of a model.

    Args:
        name: The name of the model.
        version: The version of the model.
        labels: The labels of the model.
        thresholds: The threshold of each label.

    Raises:
        ValueError: A value breaks a rule. The message has the rule.
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
