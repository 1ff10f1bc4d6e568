"""The description of each path in `/openapi.json` and `/docs`: sentences, schemas and examples."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from tagstream.stream.contract.schema.events import of_shape
from tagstream.stream.contract.schema.structs import required
from tagstream.stream.contract.shape import PLAIN, Shape, placed
from tagstream.stream.serve.faces import answers, votes
from tagstream.stream.serve.faces.problems import JSON, PROBLEM

Schema = dict[str, Any]

EVENT = {
    "id": "paper-1",
    "title": "Attention is all you need",
    "description": "A network for translation that needs no recurrence.",
}
DECISION = EVENT | {
    "tag": "natural-language-processing",
    "confidence": 0.9871,
    "probabilities": {"natural-language-processing": 0.9871, "computer-vision": 0.0052, "mlops": 0.0031, "other": 0.0046},
    "prediction_id": "5a6b1f0e-6f4c-5a53-8f5e-0f6f7d3c9f10",
    "decider": "model",
    "model": {"name": "tagstream", "version": "1", "digest": "0" * 64},
    "threshold": 0.62,
    "truncated": False,
    "tagged_at": "2026-11-28T09:00:00.000Z",
    "destination": "tagged",
}
REJECTION = {
    "destination": "dlq",
    "line": 1,
    "row": 0,
    "error": {"stage": "validate", "code": "missing_title", "message": "title is missing"},
}


def _object(properties: dict[str, Schema], *always: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(always)}


def _named(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _answers(*structs: type[msgspec.Struct]) -> dict[str, Schema]:
    """Return the schemas of answers and of their nested structs, by name. A field without a value is absent from an answer, never null."""
    _, found = msgspec.json.schema_components(structs, ref_template=_named("{name}")["$ref"])
    return {
        name: _object({field: _there(schema) for field, schema in one["properties"].items()}, *one["required"])
        for name, one in found.items()
    }


def _there(schema: Schema) -> Schema:
    kept = {name: content for name, content in required(schema).items() if name != "default"}
    # Client generators need the type of an enum too.
    return {"type": "string", **kept} if "enum" in kept else kept


_MADE = _answers(answers.Answer, answers.Problem)
_VOTES = _answers(votes.Vote, votes.Taken)
# The schemas of paths refer to these names, and client generators use the names for their types. An answer has the event's own fields
# and a decision or a rejection. The schemas of requests describe the recommended form; the service accepts more.
COMPONENTS: dict[str, Schema] = {
    **_MADE,
    "Answer": {**_MADE["Answer"], "required": ["destination"]},
    "Event": _object(
        {
            "id": {"type": ["string", "integer", "null"]},
            "title": {"type": "string", "minLength": 1},
            "description": {"type": ["string", "null"]},
        },
        "title",
    ),
}
VOTE = {
    "event_id": EVENT["id"],
    "prediction_id": DECISION["prediction_id"],
    "token": "T84AAAAAAAAAAAAAAAAAAAAA",
    "mark": "2204117",
    "answer": "no",
    "suggested_tag": "mlops",
}
REFUSED = {
    400: "The request does not match this description.",
    403: "A page of another site sent the request.",
    406: "The Accept header allows none of the content types of the answer.",
    408: "The body did not arrive in time.",
    413: "The body is too large, or has too many rows.",
    415: "The body is compressed.",
    421: "The Host header has a name that this server does not answer to.",
    503: "The queue is full, the server is stopping, or the broker does not confirm. Send the request again after Retry-After.",
    504: "No decision came within the deadline.",
}
# What a vote is refused for, where it is not for the reason of another request.
VOTE_REFUSED = {
    403: "The token was not made for this decision, or the operator has not named the page's site.",
    410: "The event's record is older than the tokens that count.",
    422: "The body is no vote, or names a tag that is no label.",
    429: "Too many votes came with this token, from this address, or in total. Send it again after Retry-After.",
    503: "The broker has not confirmed the vote, or too many are under way. Send it again after Retry-After: it counts once.",
}
MISSING = {401: "The token is missing or wrong."}


def _json(description: str, schema: Schema, example: object = None) -> dict[str, Any]:
    content: Schema = {"schema": schema} if example is None else {"schema": schema, "example": example}
    return {"description": description, "content": {JSON: content}}


def _problems(*statuses: int, more: Mapping[int, str] = MappingProxyType({})) -> dict[int | str, dict[str, Any]]:
    content = {PROBLEM: {"schema": _named("Problem")}}
    return {status: {"description": {**REFUSED, **MISSING, **more}[status], "content": content} for status in statuses}


def _body(schema: Schema, example: object) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema, "example": example}}}}


def _text(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


_EVENTS: Schema = {"anyOf": [_named("Event"), {"type": "array", "items": _named("Event")}]}
_ANSWERS: Schema = {"anyOf": [_named("Answer"), {"type": "array", "items": _named("Answer")}]}
_PATHS: dict[str, dict[str, Any]] = {
    "classify": {
        "summary": "Decide on one event, or on an array of them",
        "description": "Each answer is the object of `tagstream classify --json`. The answer to a rejected event "
        "has the reason, with status 422 if the event was sent alone. In an array, the answer has the event's place.",
        "responses": {
            200: _json("The answer, or an array of answers in the order of the events.", _ANSWERS, DECISION),
            422: _json("The one event is rejected.", _named("Answer"), REJECTION),
            **_problems(401, *REFUSED),
        },
        "openapi_extra": _body(_EVENTS, EVENT),
    },
    "healthz": {"summary": "Is the process alive?", "responses": {200: _text("The process is alive."), **_problems(421)}},
    "readyz": {
        "summary": "Is the server ready?",
        "responses": {
            200: _text("The server is ready."),
            503: _text("The server is not ready; the text has the reason."),
            **_problems(421),
        },
    },
    "metrics": {"summary": "Metrics for Prometheus", "responses": {200: _text("The metrics."), **_problems(421)}},
}
_FEEDBACK = {
    "operationId": "feedback",
    "summary": "Take what a viewer says about a decision",
    "description": "For pages that show records of `tagged` which have `ask`. Needs no token of the service: `token` is the record's `ask.token`.",
    "responses": {
        str(status): said
        for status, said in {
            200: _json("The same viewer has given the same answer before. It counts once.", _named("Taken")),
            202: _json("The broker has the answer.", _named("Taken")),
            **_problems(400, 408, 413, 415, 421, *VOTE_REFUSED, more=VOTE_REFUSED),
        }.items()
    },
    **_body(_named("Vote"), VOTE),
}
_FASTAPIS_OWN = "#/components/schemas/HTTPValidationError"


def describe(name: str) -> dict[str, Any]:
    """Return the arguments of a FastAPI route: its operation id, summary, answers and examples."""
    return {**_PATHS[name], "operation_id": name}


def completed(document: dict[str, Any], shape: Shape = PLAIN, *, viewers: bool = False) -> dict[str, Any]:
    """
    Return FastAPI's document with `COMPONENTS` as its only schemas, with events of this shape, and perhaps with viewers' answers.

    FastAPI's own answer 422 is left out, because the service never sends it.
    """
    for methods in document["paths"].values():
        for operation in methods.values():
            if _FASTAPIS_OWN in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    components = COMPONENTS
    if shape is not PLAIN:
        asked = document["paths"]["/classify"]["post"]["requestBody"]
        asked["content"] = {kind: {**said, "example": placed(EVENT, shape)} for kind, said in asked["content"].items()}
        components = components | {"Event": of_shape(shape)}
    if viewers:
        document["paths"][votes.PATH] = {"post": _FEEDBACK}
        components = components | _VOTES
    return {**document, "components": {"schemas": components}}
