"""
The Open Inference Protocol v2: the same answers as tensors, for clients of Triton, KServe and the like.

A rejected row does not spoil its neighbours: its destination is `dlq`, its tag is empty, its numbers are zero, and the output `answer`
has the reason.
"""

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from stream.contract.decisions import ModelRef
from stream.serve.answering import Answering
from stream.serve.errors import RequestError
from stream.serve.faces import tensors
from stream.serve.faces.bodies import bounded, check_rows
from stream.serve.faces.described import OCTETS, describe
from stream.serve.faces.problems import json_response
from stream.serve.faces.tensors import NUMBER, TEXT, Output

TITLE, OPTIONAL = "title", ("description", "id")


class _Answer(msgspec.Struct):
    """The fields of an answer object that outputs show."""

    destination: str
    tag: str = ""
    confidence: float = 0.0
    probabilities: dict[str, float] = {}
    prediction_id: str = ""


def routes(answering: Answering, model: ModelRef, labels: Sequence[str], *, most_rows: int) -> APIRouter:
    """
    The paths below `/v2`, but those of health.

    Args:
        answering: Gives the answers.
        model: Name and version are those of the paths.
        labels: The columns of the output `probabilities`.
        most_rows: The most rows of a request.
    """
    router = APIRouter()
    columns = [TEXT, NUMBER, NUMBER, TEXT, TEXT, TEXT]
    names = ["tag", "confidence", "probabilities", "prediction_id", "destination", "answer"]
    known: dict[str, object] = {
        "name": model.name,
        "versions": [model.version],
        "platform": "tagstream",
        "inputs": [{"name": name, "datatype": TEXT, "shape": [-1]} for name in (TITLE, *OPTIONAL)],
        "outputs": [
            {"name": name, "datatype": kind, "shape": [-1, len(labels)] if name == "probabilities" else [-1]}
            for name, kind in zip(names, columns, strict=True)
        ],
        "parameters": {"labels": ",".join(labels), "digest": model.digest},
    }

    program = {"name": "tagstream", "version": metadata.version("tagstream"), "extensions": ["binary_tensor_data"]}

    @router.get("/v2", **describe("server"))
    def server() -> Response:
        return json_response(msgspec.json.encode(program))

    # The version has paths of its own, since a parameter of a path cannot be absent: generators of clients would leave them out.
    @router.get("/v2/models/{name}/versions/{version}", **describe("model_version"))
    def about_version(name: str, version: str) -> Response:
        _check(model, name, version)
        return json_response(msgspec.json.encode(known))

    @router.get("/v2/models/{name}", **describe("model"))
    def about(name: str) -> Response:
        return about_version(name, model.version)

    @router.get("/v2/models/{name}/versions/{version}/ready", **describe("ready_version"))
    def ready_version(name: str, version: str) -> Response:
        _check(model, name, version)
        return json_response(msgspec.json.encode({"name": model.name, "ready": True}))

    @router.get("/v2/models/{name}/ready", **describe("ready"))
    def ready(name: str) -> Response:
        return ready_version(name, model.version)

    @router.post("/v2/models/{name}/infer", **describe("infer"))
    async def infer(request: Request, name: str) -> Response:
        return await infer_version(request, name, model.version)

    @router.post("/v2/models/{name}/versions/{version}/infer", **describe("infer_version"))
    async def infer_version(request: Request, name: str, version: str) -> Response:
        _check(model, name, version)
        asked, binary = tensors.split(await bounded(request), request.headers.get(tensors.LENGTH_HEADER))
        values = _events(tensors.texts(asked.inputs, binary), most_rows)
        answers = await answering.answers(values)
        body, length = tensors.response(asked, _outputs(answers, labels), model=model.name, version=model.version)
        if length is None:
            return json_response(body)
        return Response(body, headers={tensors.LENGTH_HEADER: str(length)}, media_type=OCTETS)

    return router


def _check(model: ModelRef, name: str, version: str) -> None:
    if (name, version) != (model.name, model.version):
        sentence = (
            f"The only model here is {model.name}, version {model.version}. Next: ask for it, or see /v2/models/{model.name}."
        )
        raise RequestError(404, sentence)


def _events(columns: Mapping[str, list[str]], most_rows: int) -> list[bytes]:
    """The event of each row. An empty description or id is none: a tensor has an element for every row."""
    titles = columns.get(TITLE)
    if titles is None:
        tensors.bad("There is no tensor `title`")
    strange = columns.keys() - {TITLE, *OPTIONAL}
    if strange:
        tensors.bad(f"There is no input {min(strange)!r}; there are {', '.join((TITLE, *OPTIONAL))}")
    if len({len(column) for column in columns.values()}) > 1:
        tensors.bad("The tensors have different numbers of rows")
    check_rows(len(titles), most_rows)
    rows: list[dict[str, Any]] = [{TITLE: title} for title in titles]
    for name in OPTIONAL:
        for row, text in zip(rows, columns.get(name, ()), strict=False):
            if text:
                row[name] = text
    return [msgspec.json.encode(row) for row in rows]


def _outputs(answers: Sequence[bytes], labels: Sequence[str]) -> list[Output]:
    found = [msgspec.json.decode(answer, type=_Answer) for answer in answers]
    rows = (len(answers),)
    return [
        Output(name="tag", datatype="BYTES", shape=rows, data=[one.tag.encode() for one in found]),
        Output(name="confidence", datatype="FP64", shape=rows, data=[one.confidence for one in found]),
        Output(
            name="probabilities",
            datatype="FP64",
            shape=(len(answers), len(labels)),
            data=[one.probabilities.get(label, 0.0) for one in found for label in labels],
        ),
        Output(name="prediction_id", datatype="BYTES", shape=rows, data=[one.prediction_id.encode() for one in found]),
        Output(name="destination", datatype="BYTES", shape=rows, data=[one.destination.encode() for one in found]),
        Output(name="answer", datatype="BYTES", shape=rows, data=answers),
    ]
