"""The JSON of the service's answers. The service sends these structs, and `/openapi.json` describes them."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from tagstream.stream.contract.field_types import Moment
from tagstream.stream.contract.outcome import Decision, ModelRef
from tagstream.stream.decide.answer import Rejection

Count = Annotated[int, msgspec.Meta(ge=0)]


class DecidingModel(ModelRef, frozen=True, kw_only=True, omit_defaults=True):
    """`ModelRef` under the name that clients know."""


class Answer(Decision, frozen=True, kw_only=True, omit_defaults=True):
    """
    The answer object of `/classify`, without the event's own fields: a decision, or a rejection, which has none of the decision's fields.

    This struct only describes the object. `answer_of` writes the bytes.
    """

    model: DecidingModel
    destination: Literal["tagged", "review", "dlq"]
    tagged_at: Moment
    decided_at: Moment | UnsetType = UNSET
    cached: bool | UnsetType = UNSET
    line: Count | UnsetType = UNSET
    row: Count | UnsetType = UNSET
    error: Rejection | UnsetType = UNSET


class Problem(Struct, frozen=True, kw_only=True):
    """A refused request, in the form of RFC 9457."""

    title: str
    status: int
    detail: str
