"""Refusals: why no decision can be made about an event. Decoding, the model, the crash guard and the size check return them.

Only `rejected` in `outcome.py` makes a dead letter of a record and a refusal.
"""

from dataclasses import dataclass

from tagstream.monitoring.vocabulary import Reason, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """
    Why an event becomes a dead letter.

    Attributes:
        stage: The step of the worker at which the event failed.
        reason: The reason, from a closed list.
        message: The fault, without any text of the event itself.
        attempts: The number of attempts before the event was given up.
    """

    stage: Stage
    reason: Reason
    message: str
    attempts: int = 1


class Refused(Exception):
    """Carries a refusal out of the decoder's inner functions. `decode` returns the `refusal` as a value."""

    def __init__(self, stage: Stage, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(stage=stage, reason=reason, message=message)


class UnwritableError(ValueError):
    """A person's answer or report may not be written: every reader of the topic would refuse it. The message and `refusal` say why."""

    def __init__(self, refusal: Refusal) -> None:
        """Keep the refusal, so that a caller can tell, for example, an unknown label from a note that is too long."""
        super().__init__(refusal.message)
        self.refusal = refusal


def undecodable(reason: Reason, message: str) -> Refused:
    """The bytes are not a JSON object within the limits."""
    return Refused(Stage.DECODE, reason, message)


def invalid(reason: Reason, message: str) -> Refused:
    """The JSON object is not an event of the contract."""
    return Refused(Stage.VALIDATE, reason, message)
