"""
The Open Inference Protocol v2: the answers of `/classify` as tensors, for clients of Triton, KServe and similar servers.

A rejected row does not affect the other rows. Its destination is `dlq`, its tag is empty, its numbers are zero, and its output `answer`
has the reason.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.contract.shape import PLAIN, Shape, placed
from tagstream.stream.serve.errors import RequestError
from tagstream.stream.serve.faces import tensors
from tagstream.stream.serve.faces.answers import Model, ModelReady, Server, TensorMetadata
from tagstream.stream.serve.faces.bodies import bounded
from tagstream.stream.serve.faces.descriptions import OCTETS, describe
from tagstream.stream.serve.faces.problems import json_response
from tagstream.stream.serve.faces.tensors import NUMBER, TEXT, Output
from tagstream.stream.serve.row_answers import RowAnswers

TITLE, OPTIONAL = "title", ("description", "id")


class _AnswerFields(msgspec.Struct):
    """The fields of an answer object that outputs show."""

    destination: str
    tag: str = ""
    confidence: float = 0.0
    probabilities: dict[str, float] = {}
    prediction_id: str = ""


class _Asked:
    """Answers requests about the service's model. A rollout may change the model between requests, so a request reads the model once."""

    def __init__(
        self, answering: RowAnswers, model: Callable[[], ModelRef], labels: Sequence[str], most_rows: int, shape: Shape
    ) -> None:
        """See `routes`."""
        self._answering = answering
        self._model = model
        self._labels = labels
        self._most_rows = most_rows
        self._shape = shape
        columns = [TEXT, NUMBER, NUMBER, TEXT, TEXT, TEXT]
        names = ["tag", "confidence", "probabilities", "prediction_id", "destination", "answer"]
        self._inputs = [TensorMetadata(name=name, datatype=TEXT, shape=[-1]) for name in (TITLE, *OPTIONAL)]
        self._outputs = [
            TensorMetadata(name=name, datatype=kind, shape=[-1, len(labels)] if name == "probabilities" else [-1])
            for name, kind in zip(names, columns, strict=True)
        ]

    def about(self, name: str, version: str | None = None) -> Response:
        """Return the inputs, outputs and labels of the model."""
        now = self._now(name, version)
        known = Model(
            name=now.name,
            versions=[now.version],
            platform="tagstream",
            inputs=self._inputs,
            outputs=self._outputs,
            parameters={"labels": ",".join(self._labels), "digest": now.digest},
        )
        return json_response(msgspec.json.encode(known))

    def ready(self, name: str, version: str | None = None) -> Response:
        """Return ready if the named model decides; otherwise refuse the request."""
        return json_response(msgspec.json.encode(ModelReady(name=self._now(name, version).name, ready=True)))

    async def infer(self, request: Request, name: str, version: str | None = None) -> Response:
        """Return decisions on the rows of the tensors."""
        now = self._now(name, version)
        asked, binary = tensors.split(await bounded(request), request.headers.get(tensors.LENGTH_HEADER))
        values = _events(tensors.texts(asked.inputs, binary, most=self._most_rows), self._shape)
        answers = await self._answering.answers(values)
        body, length = tensors.response(asked, _outputs(answers, self._labels), model=now.name, version=now.version)
        if length is None:
            return json_response(body)
        return Response(body, headers={tensors.LENGTH_HEADER: str(length)}, media_type=OCTETS)

    def _now(self, name: str, version: str | None) -> ModelRef:
        model = self._model()
        if name != model.name or version not in {None, model.version}:
            sentence = f"The only model here is {model.name}, version {model.version}. Next: ask for it, or see /v2/models/{model.name}."
            raise RequestError(404, sentence)
        return model


def routes(
    answering: RowAnswers, model: Callable[[], ModelRef], labels: Sequence[str], *, most_rows: int, shape: Shape = PLAIN
) -> APIRouter:
    """
    Return the routes below `/v2`, without the health checks.

    Args:
        answering: Answers rows.
        model: Returns the model that decides now. The paths contain its name and version.
        labels: The columns of the output `probabilities`.
        most_rows: The maximum number of rows in a request.
        shape: The shape of the events that are made from the tensors.
    """
    router = APIRouter()
    asked = _Asked(answering, model, labels, most_rows, shape)
    program = Server(name="tagstream", version=metadata.version("tagstream"), extensions=["binary_tensor_data"])

    @router.get("/v2", **describe("server"))
    def server() -> Response:
        return json_response(msgspec.json.encode(program))

    # Paths with a version are routes of their own. A path parameter cannot be optional, so client generators would leave the version out.
    @router.get("/v2/models/{name}/versions/{version}", **describe("model_version"))
    def about_version(name: str, version: str) -> Response:
        return asked.about(name, version)

    @router.get("/v2/models/{name}", **describe("model"))
    def about(name: str) -> Response:
        return asked.about(name)

    @router.get("/v2/models/{name}/versions/{version}/ready", **describe("ready_version"))
    def ready_version(name: str, version: str) -> Response:
        return asked.ready(name, version)

    @router.get("/v2/models/{name}/ready", **describe("ready"))
    def ready(name: str) -> Response:
        return asked.ready(name)

    @router.post("/v2/models/{name}/infer", **describe("infer"))
    async def infer(request: Request, name: str) -> Response:
        return await asked.infer(request, name)

    @router.post("/v2/models/{name}/versions/{version}/infer", **describe("infer_version"))
    async def infer_version(request: Request, name: str, version: str) -> Response:
        return await asked.infer(request, name, version)

    return router


def _events(columns: Mapping[str, list[str]], shape: Shape) -> list[bytes]:
    """Return the event of each row. An empty description or id counts as absent, because a tensor has an element for every row."""
    titles = columns.get(TITLE)
    if titles is None:
        tensors.bad("There is no tensor `title`")
    strange = columns.keys() - {TITLE, *OPTIONAL}
    if strange:
        tensors.bad(f"There is no input {min(strange)!r}; there are {', '.join((TITLE, *OPTIONAL))}")
    if len({len(column) for column in columns.values()}) > 1:
        tensors.bad("The tensors have different numbers of rows")
    rows: list[dict[str, Any]] = [{TITLE: title} for title in titles]
    for name in OPTIONAL:
        for row, text in zip(rows, columns.get(name, ()), strict=False):
            if text:
                row[name] = text
    return [msgspec.json.encode(placed(row, shape)) for row in rows]


def _outputs(answers: Sequence[bytes], labels: Sequence[str]) -> list[Output]:
    found = [msgspec.json.decode(answer, type=_AnswerFields) for answer in answers]
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
