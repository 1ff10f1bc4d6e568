"""
Tensors of the Open Inference Protocol v2: text in, text and numbers out, as JSON or in the binary data extension.

A binary text tensor has, for each element, its length (4 bytes, little-endian) and its UTF-8 bytes. Binary data follows the JSON. The
header `Inference-Header-Content-Length` has the length of the JSON.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

import msgspec
from msgspec import UNSET, UnsetType

from tagstream.stream.serve.errors import RequestError
from tagstream.stream.serve.faces.answers import InferResponse, OutputTensor
from tagstream.stream.serve.faces.bodies import check_rows

LENGTH_HEADER = "inference-header-content-length"
# The length of a body always fits into this number of digits.
MOST_DIGITS = 9
# The size of the length field before each element.
LENGTH_BYTES = 4
TEXT, NUMBER = "BYTES", "FP64"
Parameters = dict[str, str | int | float | bool | None]


class Input(msgspec.Struct):
    """A tensor of a request."""

    name: str
    shape: list[int]
    datatype: str
    data: list[object] | None = None
    parameters: Parameters = {}


class RequestedOutput(msgspec.Struct):
    """An output that a request names."""

    name: str
    parameters: Parameters = {}


class TensorRequest(msgspec.Struct):
    """The JSON of a request."""

    inputs: list[Input]
    id: str | None = None
    outputs: list[RequestedOutput] | None = None
    parameters: Parameters = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """
    A tensor of an answer.

    Attributes:
        name: The name of the output.
        datatype: `BYTES` for texts, or `FP64` for numbers.
        shape: The length of each dimension.
        data: The elements, row by row.
    """

    name: str
    datatype: Literal["BYTES", "FP64"]
    shape: tuple[int, ...]
    data: Sequence[bytes] | Sequence[float]

    @property
    def binary(self) -> bytes:
        """The elements in the encoding of the binary data extension."""
        if self.datatype == NUMBER:
            return struct.pack(f"<{len(self.data)}d", *self.data)
        return b"".join(struct.pack("<I", len(one)) + one for one in self.data if isinstance(one, bytes))


def bad(sentence: str) -> NoReturn:
    """
    Refuse a request that violates the protocol.

    Raises:
        RequestError: Always.
    """
    raise RequestError(400, f"{sentence}. Next: see /docs for an example.")


def split(body: bytes, length: str | None) -> tuple[TensorRequest, bytes]:
    """
    Split a body into the request's JSON and the binary data after it.

    Raises:
        RequestError: The JSON is not a request, or the header's length is wrong.
    """
    size = len(body)
    if length is not None:
        if not (len(length) <= MOST_DIGITS and length.isascii() and length.isdigit() and int(length) <= size):
            bad(f"The header {LENGTH_HEADER} is not a length within the body")
        size = int(length)
    try:
        return msgspec.json.decode(body[:size], type=TensorRequest), body[size:]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        bad(f"The body is no request of the Open Inference Protocol ({error})")


def texts(given: Sequence[Input], binary: bytes, *, most: int) -> dict[str, list[str]]:
    """
    Return the texts of each tensor, by the tensor's name.

    Args:
        given: The tensors.
        binary: The binary data after the JSON.
        most: The maximum number of elements in a tensor.

    Raises:
        RequestError: A tensor does not hold texts, does not match its shape, or has more than `most` elements.
    """
    found: dict[str, list[str]] = {}
    at = 0
    for tensor in given:
        if tensor.datatype != TEXT:
            bad(f"The tensor {tensor.name!r} is of {tensor.datatype!r}, {TEXT} is expected")
        if tensor.name in found:
            bad(f"The tensor {tensor.name!r} comes twice")
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            check_rows(len(tensor.data or ()), most)
            found[tensor.name] = _flat(tensor)
        elif isinstance(size, int) and 0 <= size <= len(binary) - at:
            found[tensor.name] = _unpacked(tensor.name, binary[at : at + size], most)
            at += size
        else:
            bad(f"The binary data of the tensor {tensor.name!r} is not there")
        rows = len(found[tensor.name])
        if tensor.shape not in ([rows], [rows, 1]):
            bad(f"The tensor {tensor.name!r} has {rows} elements, and its shape is neither [{rows}] nor [{rows}, 1]")
    if at != len(binary):
        bad("There is binary data that belongs to no tensor")
    return found


def _flat(tensor: Input) -> list[str]:
    found: list[str] = []
    for element in tensor.data or ():
        # In a tensor of shape [rows, 1], each element may be a list of one.
        (one,) = element if isinstance(element, list) and len(element) == 1 else (element,)
        if not isinstance(one, str):
            bad(f"The tensor {tensor.name!r} has an element that is no string")
        found.append(one)
    return found


def _unpacked(name: str, data: bytes, most: int) -> list[str]:
    found: list[str] = []
    at = 0
    while at < len(data):
        head = data[at : at + LENGTH_BYTES]
        size = int.from_bytes(head, "little")
        text = data[at + LENGTH_BYTES : at + LENGTH_BYTES + size]
        if len(head) < LENGTH_BYTES or len(text) < size:
            bad(f"The binary data of the tensor {name!r} ends within an element")
        try:
            found.append(text.decode())
        except UnicodeDecodeError:
            bad(f"Element {len(found)} of the tensor {name!r} is not UTF-8")
        check_rows(len(found), most)
        at += LENGTH_BYTES + size
    return found


def response(request: TensorRequest, made: Sequence[Output], *, model: str, version: str) -> tuple[bytes, int | None]:
    """
    Return the body of an answer, and the length of its JSON; the length is None if no binary data follows the JSON.

    Args:
        request: Names the wanted outputs. If it names none, the answer has all outputs.
        made: All available outputs.
        model: The model's name in the answer.
        version: The model's version in the answer.

    Raises:
        RequestError: The request names an unknown output, or names an output twice.
    """
    by_name = {output.name: output for output in made}
    asked = request.outputs or [RequestedOutput(name) for name in by_name]
    if len({one.name for one in asked}) < len(asked):
        bad("An output is named twice")
    all_binary = request.parameters.get("binary_data_output") is True
    shown: list[OutputTensor] = []
    binary: list[bytes] = []
    for one in asked:
        output = by_name.get(one.name)
        if output is None:
            bad(f"There is no output {one.name!r}; there are {', '.join(by_name)}")
        if one.parameters.get("classification"):
            bad("The classification extension is not supported; the output `probabilities` has the probability of each label")
        data: list[str | float] | UnsetType = UNSET
        parameters: dict[str, int] | UnsetType = UNSET
        if one.parameters.get("binary_data", all_binary) is True:
            binary.append(output.binary)
            parameters = {"binary_data_size": len(binary[-1])}
        else:
            data = [value.decode() if isinstance(value, bytes) else value for value in output.data]
        shown.append(
            OutputTensor(name=output.name, datatype=output.datatype, shape=output.shape, parameters=parameters, data=data)
        )
    given = UNSET if request.id is None else request.id
    body = msgspec.json.encode(InferResponse(model_name=model, model_version=version, outputs=shown, id=given))
    return (body + b"".join(binary), len(body)) if binary else (body, None)
