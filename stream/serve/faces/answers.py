"""The JSON of each answer of the service: what is sent is made of these structs, and `/openapi.json` describes them."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from tagstream.stream.contract.field_types import Moment
from tagstream.stream.contract.outcome import Decision, ModelRef
from tagstream.stream.decide.answer import Rejection

Count = Annotated[int, msgspec.Meta(ge=0)]


class DecidingModel(ModelRef, frozen=True, kw_only=True, omit_defaults=True):
    """`ModelRef` by the name that clients know."""


class Answer(Decision, frozen=True, kw_only=True, omit_defaults=True):
    """
    The object of `/classify`, an event's own fields apart: a decision, or a rejection, which has no field of a decision. The bytes are
    those of `answer_of`, so this struct is for the description alone.
    """

    model: DecidingModel
    destination: Literal["tagged", "review", "dlq"]
    tagged_at: Moment
    cached: bool | UnsetType = UNSET
    line: Count | UnsetType = UNSET
    row: Count | UnsetType = UNSET
    error: Rejection | UnsetType = UNSET


class Problem(Struct, frozen=True, kw_only=True):
    """A request that is refused, by RFC 9457."""

    title: str
    status: int
    detail: str


class ProtocolError(Struct, frozen=True, kw_only=True):
    """A request that is refused, as the Open Inference Protocol has it. The others here are of this protocol too."""

    error: str


class Live(Struct, frozen=True, kw_only=True):
    """Whether the server lives."""

    live: bool


class Ready(Struct, frozen=True, kw_only=True):
    """Whether the server takes requests."""

    ready: bool


class ModelReady(Struct, frozen=True, kw_only=True):
    """Whether the model decides."""

    name: str
    ready: bool


class Server(Struct, frozen=True, kw_only=True):
    """The program."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(Struct, frozen=True, kw_only=True):
    """An input or an output; a dimension of any length is -1."""

    name: str
    datatype: str
    shape: list[int]


class Model(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The model, its inputs and its outputs."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: dict[str, str] | UnsetType = UNSET


class OutputTensor(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tensor with its elements, or with the length of those that stand behind the JSON."""

    name: str
    datatype: Literal["BYTES", "FP64"]
    shape: tuple[Count, ...]
    parameters: dict[str, int] | UnsetType = UNSET
    data: list[str | float] | UnsetType = UNSET


class InferResponse(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The tensors that a request asked for; `id` is the request's."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | UnsetType = UNSET
