"""The decision on an event, and the three outcomes that an event can have.

A decision depends only on the event, the bundle and the settings, so that a redelivered event repeats the same bytes.
"""

import hashlib
import uuid
from dataclasses import dataclass
from typing import Literal

import msgspec

from monitoring.observer import Signals
from monitoring.vocabulary import ReviewReason, TextFlag
from stream.contract.events import ContentEvent
from stream.contract.refusal import Refusal

CONTRACT_VERSION = 1
PREDICTION_NAMESPACE = uuid.UUID("6d0f7c3e-5b0a-5d57-9c53-4a7c1c0f5a1e")
# RFC 4122: four bits say version 5, two say which variant; all others are the hash's.
_UUID_KEPT = ~(0xF000 << 64 | 0xC000 << 48)
_UUID_VERSION_5 = 0x5000 << 64 | 0x8000 << 48


class ModelRef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    The bundle that decided, or the rules: name, version and SHA-256.

    `arithmetic` is there only where the worker's processor computes otherwise than the machine that made the bundle: the digest
    of its own logits of the golden texts. The same event may then get other figures here, so its decision has another id.
    """

    name: str
    version: str
    digest: str
    arithmetic: str | None = None

    @property
    def identity(self) -> str:
        """The digest, and the arithmetic where it differs: two workers with the same one make the same decisions."""
        return self.digest if self.arithmetic is None else f"{self.digest}+{self.arithmetic}"


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    The fields that `tagged` and `review` add to an event, in their order on the wire (before `tagged_at`).

    `tags` is published only where the bundle has the option `multilabel`: `tag` and the other labels that the text is about.
    """

    tag: str
    tags: tuple[str, ...] = ()
    confidence: float
    probabilities: dict[str, float]
    prediction_id: str
    decider: Literal["model", "reviewer", "rules"]
    model: ModelRef
    threshold: float
    truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """The model's confidence reaches the threshold. `signals` is for monitoring alone and is not published."""

    event: ContentEvent
    decision: Decision
    signals: Signals | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsReview:
    """
    A person is asked, since the decision carries no promise of being right.

    Attributes:
        event: The event.
        decision: The decision of the model or of the rules.
        reasons: Why a person is asked, one or more.
        inclusion_probability: The probability that a person is asked about such an event; 1 unless events are sampled.
        text_flags: The kinds of hidden characters in the text; published only if there are any.
        signals: As in `Tagged`.
    """

    event: ContentEvent
    decision: Decision
    reasons: tuple[ReviewReason, ...]
    inclusion_probability: float = 1.0
    text_flags: tuple[TextFlag, ...] = ()
    signals: Signals | None = None


Outcome = Tagged | NeedsReview | Refusal
"""The topics `tagged`, `review` and `content.dlq`, in this order."""


def prediction_id(event_id: str, model_identity: str) -> str:
    """
    The id of a decision: the same event under the same model and contract always has the same one.

    Args:
        event_id: The event's.
        model_identity: `ModelRef.identity`: the bundle's digest, on every processor that computes as the one that made the bundle.

    >>> prediction_id("a", "0" * 64) == prediction_id("a", "0" * 64)
    True
    """
    # `str(uuid.uuid5(...))` written out, and a test compares the two: the library call takes a third of the time of a whole outcome.
    name = f"{CONTRACT_VERSION}:{model_identity}:{event_id}".encode()
    number = int.from_bytes(hashlib.sha1(PREDICTION_NAMESPACE.bytes + name, usedforsecurity=False).digest()[:16], "big")
    text = f"{number & _UUID_KEPT | _UUID_VERSION_5:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
