"""The reason why no decision can be made about an event, returned by decoding, the model, the crash guard and the size check.

`rejected` in `outcome.py` alone makes a dead letter of a record and a refusal.
"""

from dataclasses import dataclass

from tagstream.monitoring.vocabulary import Reason, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """
    Why an event becomes a dead letter.

    Attributes:
        stage: Where in the worker it failed.
        reason: Why, from a closed list.
        message: The fault, without any text of the event itself.
        attempts: How often it was tried before it was given up.
    """

    stage: Stage
    reason: Reason
    message: str
    attempts: int = 1


class Refused(Exception):
    """Leaves the decoder's inner functions; `decode` returns its `refusal` as a value."""

    def __init__(self, stage: Stage, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(stage=stage, reason=reason, message=message)


class UnwritableError(ValueError):
    """A person's words may not be written: whoever reads the topic would refuse them. The message and `refusal` say why."""

    def __init__(self, refusal: Refusal) -> None:
        """Keep the refusal, so that a caller may tell a label that is unknown from a note that is too long."""
        super().__init__(refusal.message)
        self.refusal = refusal


def undecodable(reason: Reason, message: str) -> Refused:
    """The bytes are not a JSON object, or not one within the limits."""
    return Refused(Stage.DECODE, reason, message)


def invalid(reason: Reason, message: str) -> Refused:
    """The JSON object is not an event of the contract."""
    return Refused(Stage.VALIDATE, reason, message)
