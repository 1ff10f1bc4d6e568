"""Which tagged decisions are copied to the topic `audit`, for a person who does not see the prediction. Pure.

A hash of the event's id decides, so that a redelivered event is drawn again or not drawn again, by every worker. The rate belongs to the
predicted label: a rare label may be drawn more often, and an estimate weights each copy by the rate with which it was drawn.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from monitoring.vocabulary import few
from stream.contract.decisions import Tagged
from stream.contract.publication import Publication, audit_copy
from stream.contract.record import weight
from stream.settings.settings import Settings

_NUMBERS = 1 << 64


class UnknownLabelError(Exception):
    """`audit_rates` names a label that the decider does not have: the message names both."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """
    The rates of the sample, and the hash that draws it.

    >>> draw = Draw(rate=0.5, rates={"mlops": 1.0}, salt="s")
    >>> draw.inclusion_probability("event-1", "mlops"), draw.inclusion_probability("event-1", "other")
    (1.0, None)

    Attributes:
        rate: The share of the tagged decisions that is copied, 0 to 1, for labels that `rates` does not name.
        rates: The same, by predicted label.
        salt: Hashed with the id, so that a producer cannot choose ids that are never drawn.
        most_bytes: The largest record that the topic `audit` takes; a decision whose copy is larger is not drawn.
    """

    rate: float
    rates: Mapping[str, float] = field(default_factory=dict)
    salt: str = ""
    most_bytes: int = 1_048_588

    @property
    def is_on(self) -> bool:
        """Whether any decision can be drawn."""
        return any(rate > 0 for rate in (self.rate, *self.rates.values()))

    def inclusion_probability(self, event_id: str, label: str) -> float | None:
        """The probability with which an event of this predicted label is drawn, if this one is; else None."""
        rate = self.rates.get(label, self.rate)
        digest = hashlib.sha256(f"{self.salt}:{event_id}".encode()).digest()
        return rate if int.from_bytes(digest[:8], "big") < rate * _NUMBERS else None

    def with_copy(self, publication: Publication) -> Publication:
        """The publication, with a copy for `audit` if it is a tagged decision of the model and is drawn."""
        outcome = publication.outcome
        if not isinstance(outcome, Tagged) or outcome.decision.decider != "model":
            return publication
        probability = self.inclusion_probability(outcome.event.id, outcome.decision.tag)
        if probability is None:
            return publication
        copy = audit_copy(publication.value or b"", probability)
        if weight(publication.key, copy, publication.headers) > self.most_bytes:
            return publication
        return replace(publication, audit=copy, observation=msgspec.structs.replace(publication.observation, audited=True))


def draw_of(settings: Settings, labels: Collection[str]) -> Draw:
    """
    The draw of the settings.

    Raises:
        UnknownLabelError: `audit_rates` names a label that is not among `labels`.
    """
    unknown = sorted(settings.audit_rate_by_label.keys() - set(labels))
    if unknown:
        msg = (
            f"audit_rates names the label {unknown[0]!r}, and the bundle has {few(sorted(labels))}. "
            f"Next: correct TAGSTREAM_AUDIT_RATES."
        )
        raise UnknownLabelError(msg)
    return Draw(rate=settings.audit_rate, rates=settings.audit_rate_by_label, salt=settings.audit_salt)
