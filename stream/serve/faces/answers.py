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


class ProtocolError(Struct, frozen=True, kw_only=True):
    """A refused request, in the form of the Open Inference Protocol. The structs below are of this protocol too."""

    error: str


class Live(Struct, frozen=True, kw_only=True):
    """The answer of `/v2/health/live`."""

    live: bool


class Ready(Struct, frozen=True, kw_only=True):
    """The answer of `/v2/health/ready`."""

    ready: bool


class ModelReady(Struct, frozen=True, kw_only=True):
    """The answer to the question whether a model is ready."""

    name: str
    ready: bool


class Server(Struct, frozen=True, kw_only=True):
    """Name, version and extensions of the server."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(Struct, frozen=True, kw_only=True):
    """An input or an output. A dimension of variable length is -1."""

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
    """A tensor with its elements, or with the length of its binary data, which follows the JSON."""

    name: str
    datatype: Literal["BYTES", "FP64"]
    shape: tuple[Count, ...]
    parameters: dict[str, int] | UnsetType = UNSET
    data: list[str | float] | UnsetType = UNSET


class InferResponse(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The tensors that a request asked for, with the `id` of the request."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | UnsetType = UNSET
