"""Tensors of the Open Inference Protocol, as JSON and by the extension for binary data."""

import contextlib
import json
import struct
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.stream.serve.errors import RequestError
from tagstream.stream.serve.faces.tensors import LENGTH_HEADER, Input, split, texts
from tests.unit.stream.serve.conftest import ask

PATH = "/v2/models/m/infer"


def packed(elements: list[bytes]) -> bytes:
    """Text as the extension has it."""
    return b"".join(struct.pack("<I", len(one)) + one for one in elements)


def title(**fields: Any) -> dict[str, Any]:
    """The tensor of a title."""
    return {"name": "title", "datatype": "BYTES", "shape": [1], "data": ["An image"]} | fields


def asked(*tensors: dict[str, Any], binary: bytes = b"", length: str | None = None, **more: Any) -> httpx.Response:
    """The answer to a request, of which some tensors may be binary."""
    head = json.dumps({"inputs": tensors, **more}).encode()
    given = length if length is not None else str(len(head)) if binary else None
    headers = {} if given is None else {LENGTH_HEADER: given.encode()}
    return ask("POST", PATH, content=head + binary, headers=headers)


def test_binary_in_and_out() -> None:
    """The text may have any character; the numbers come as doubles, digit for digit."""
    data = packed(["Übersetzung: translation".encode(), b"image"])
    sent = title(shape=[2], data=None, parameters={"binary_data_size": len(data)})
    wanted = [
        {"name": "confidence", "parameters": {"binary_data": True}},
        {"name": "tag"},
        {"name": "answer", "parameters": {"binary_data": True}},
    ]
    found = asked(sent, binary=data, outputs=wanted)
    size = int(found.headers[LENGTH_HEADER])
    head, binary = json.loads(found.content[:size]), found.content[size:]
    confidence, tag, answer = head["outputs"]
    assert tag["data"] == ["natural-language-processing", "computer-vision"]
    at = confidence["parameters"]["binary_data_size"]
    lines = [one.encode() for one in texts([Input(**{**answer, "data": None})], binary[at:], most=9)["answer"]]
    assert list(struct.unpack("<2d", binary[:at])) == [json.loads(line)["confidence"] for line in lines]
    assert json.loads(lines[0])["title"] == "Übersetzung: translation"


def test_all_outputs_may_be_asked_for_in_binary() -> None:
    """Clients of Triton do so unless told otherwise."""
    found = asked(title(), parameters={"binary_data_output": True})
    head = json.loads(found.content[: int(found.headers[LENGTH_HEADER])])
    assert len(found.content) == int(found.headers[LENGTH_HEADER]) + sum(
        one["parameters"]["binary_data_size"] for one in head["outputs"]
    )


@pytest.mark.parametrize(
    ("tensors", "part"),
    [
        ([], "no tensor `title`"),
        ([title(datatype="FP32")], "BYTES is expected"),
        ([title(), title()], "comes twice"),
        ([title(shape=[2])], "neither [1] nor [1, 1]"),
        ([title(shape=[])], "neither"),
        ([title(shape=[1, 1, 1])], "neither"),
        ([title(shape=[-1])], "neither"),
        ([title(data=[1])], "no string"),
        ([title(data=[["a", "b"]])], "no string"),
        ([title(data=None)], "has 0 elements"),
        ([title(), title(name="body")], "no input 'body'"),
        ([title(), title(name="id", shape=[2], data=["a", "b"])], "different numbers of rows"),
        ([title(data=None, parameters={"binary_data_size": 4})], "is not there"),
        ([title(data=None, parameters={"binary_data_size": -1})], "is not there"),
        ([title(data=None, parameters={"binary_data_size": "4"})], "is not there"),
        ([{"name": "title"}], "no request"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tensors: list[dict[str, Any]], part: str) -> None:
    """400, and the sentence names the tensor."""
    found = asked(*tensors)
    assert found.status_code == 400
    assert part in found.json()["error"]


@pytest.mark.parametrize(
    ("binary", "size", "part"),
    [
        (b"\x02\x00\x00\x00a", 5, "ends within an element"),
        (b"\x02\x00", 2, "ends within an element"),
        (packed([b"\xff"]), 5, "not UTF-8"),
        (packed([b"a"]) + b"x", 5, "belongs to no tensor"),
        (b"\xff\xff\xff\xff", 4, "ends within an element"),
    ],
)
def test_binary_data_that_does_not_fit_is_refused(binary: bytes, size: int, part: str) -> None:
    """Lengths are a client's word."""
    found = asked(title(data=None, parameters={"binary_data_size": size}), binary=binary)
    assert found.status_code == 400
    assert part in found.json()["error"]


@pytest.mark.parametrize("length", ["-1", "99999999", "9" * 5000, "x", "٣", ""])
def test_the_length_of_the_json_is_a_length_within_the_body(length: str) -> None:
    """Else 400."""
    assert asked(title(), length=length).status_code == 400


def test_an_unknown_output_is_refused() -> None:
    """The sentence says which there are."""
    found = asked(title(), outputs=[{"name": "logits"}])
    assert (found.status_code, "probabilities" in found.json()["error"]) == (400, True)
    assert asked(title(), outputs=[{"name": "tag", "parameters": {"classification": 3}}]).status_code == 400


def test_an_output_comes_once() -> None:
    """Else a small request would be a large answer."""
    found = asked(title(), outputs=[{"name": "tag"}, {"name": "tag"}])
    assert (found.status_code, "twice" in found.json()["error"]) == (400, True)


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]))))
def test_packed_text_is_read_as_it_was(elements: list[str]) -> None:
    """Any text, the empty one too."""
    data = packed([one.encode() for one in elements])
    tensor = Input(name="title", shape=[len(elements)], datatype="BYTES", parameters={"binary_data_size": len(data)})
    assert texts([tensor], data, most=len(elements)) == {"title": elements}


@given(st.binary(), st.none() | st.text(max_size=3))
def test_no_bytes_are_more_than_a_refusal(body: bytes, length: str | None) -> None:
    """Whatever comes is a request or a `RequestError`."""
    with contextlib.suppress(RequestError):
        request, binary = split(body, length)
        texts(request.inputs, binary, most=2)
