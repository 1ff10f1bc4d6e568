"""What a page sends to `POST /feedback` of a viewer, and what it gets."""

from typing import Annotated, Literal

import msgspec

from tagstream.stream.contract.field_types import AskToken, EventId, Label, Uuid

PATH = "/feedback"
MOST_MARK_CHARACTERS = 100


class Vote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What a page sends.

    Attributes:
        event_id: The field `id` of the record.
        prediction_id: The field of the record.
        token: The record's `ask.token`.
        mark: The page's mark of this viewer. Only a digest is kept, another one on each decision.
        answer: Whether the tag is right.
        suggested_tag: The tag that the viewer holds right.
    """

    event_id: EventId
    prediction_id: Uuid
    token: AskToken
    mark: Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_MARK_CHARACTERS)]
    answer: Literal["yes", "no"]
    suggested_tag: Label | None = None


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a vote that counts."""

    message: str
