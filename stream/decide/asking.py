"""Draws the tagged decisions that viewers are asked about, and puts a token on each. A worker loads this file only if `ask_rate` is above 0."""

from dataclasses import dataclass

import msgspec

from tagstream.stream.contract.asking import DAY_MS, LAST_DAY, AskKeys
from tagstream.stream.contract.event import weight
from tagstream.stream.contract.outcome import ASK_FIELD, Publication, Tagged, asked_value
from tagstream.stream.decide.pipeline import Draw
from tagstream.stream.settings.secret_files import ask_keys
from tagstream.stream.settings.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """
    Puts a token on drawn decisions of the model. The draw is independent of the audit's draw, and the same at every delivery.

    Attributes:
        draw: Draws by a hash of the event's id.
        keys: Sign the tokens.
        most_bytes: The largest outcome; a decision that is larger with its token gets none.
    """

    draw: Draw
    keys: AskKeys
    most_bytes: int

    def __call__(self, publication: Publication) -> Publication:
        """
        The publication, with a token if it is drawn.

        An event with a field `ask` of its own keeps this field and gets no token. An event whose record has no time gets none either,
        because a token without a day would be valid for ever.
        """
        outcome = publication.outcome
        if not isinstance(outcome, Tagged) or outcome.decision.decider != "model":
            return publication
        event, decision = outcome.event, outcome.decision
        if self.draw.inclusion_probability(event.id, decision.tag) is None or ASK_FIELD in event.fields:
            return publication
        day = -1 if event.record.timestamp_ms is None else event.record.timestamp_ms // DAY_MS
        if not 0 <= day <= LAST_DAY:
            return publication
        value = asked_value(publication.value or b"", self.keys.token(event.id, decision.prediction_id, day))
        if weight(publication.key, value, publication.headers) > self.most_bytes:
            return publication
        return msgspec.structs.replace(publication, value=value)


def asking_of(settings: Settings) -> Asking:
    """
    The draw and the keys of the settings.

    Raises:
        SecurityError: The file of the keys cannot be used.
    """
    draw = Draw(rate=settings.ask_rate, salt=f"ask {settings.audit_salt}")
    return Asking(draw=draw, keys=AskKeys(ask_keys(settings.security)), most_bytes=settings.max_outcome_bytes)
