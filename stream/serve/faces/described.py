"""The description of each path in `/openapi.json` and `/docs`: sentences, schemas and examples."""

from typing import Any

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
SENTENCE: Schema = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
TEXT: Schema = {"type": "string", "minLength": 1}
EVENT_SCHEMA: Schema = {
    "type": "object",
    "properties": {
        "id": {"type": ["string", "integer", "null"]},
        "title": TEXT,
        "description": {"type": ["string", "null"]},
    },
    "required": ["title"],
}
ANSWER_SCHEMA: Schema = {
    "type": "object",
    "properties": {"destination": {"type": "string", "enum": ["tagged", "review", "dlq"]}, "cached": {"const": True}},
    "required": ["destination"],
}
TENSOR: Schema = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "enum": ["title", "description", "id"]},
        "datatype": {"const": "BYTES"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2},
        "data": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name", "datatype", "shape", "data"],
}
INFER_SCHEMA: Schema = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "inputs": {"type": "array", "items": TENSOR, "minItems": 1}},
    "required": ["inputs"],
}
INFER = {
    "inputs": [
        {"name": "title", "datatype": "BYTES", "shape": [1], "data": [EVENT["title"]]},
        {"name": "description", "datatype": "BYTES", "shape": [1], "data": [EVENT["description"]]},
    ]
}
OBJECT: Schema = {"type": "object"}
REFUSED = {
    400: "The request is not as it is described here.",
    403: "A page of another site sent the request.",
    408: "The body did not arrive in time.",
    413: "The body is too large, or has too many rows.",
    415: "The body is compressed.",
    421: "The Host header has a name that this server does not answer to.",
    503: "The queue is full, the server ends, or the broker does not confirm: send it again after Retry-After.",
    504: "No decision came within the deadline.",
}
COMMON = (401, 421)
MISSING = {401: "There is no token, or another one.", 404: "There is no such model or version."}


def _json(description: str, schema: Schema, example: object = None) -> dict[str, Any]:
    content: Schema = {"schema": schema} if example is None else {"schema": schema, "example": example}
    return {"description": description, "content": {"application/json": content}}


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: _json((REFUSED | MISSING)[status], SENTENCE) for status in statuses}


def _body(schema: Schema, example: object) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}}


def _text(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


_MANY: Schema = {"type": "array", "items": ANSWER_SCHEMA}
_PATHS: dict[str, dict[str, Any]] = {
    "classify": {
        "summary": "Decide on one event, or on an array of them",
        "description": "Each answer is the object of `tagstream classify --json`. An event that is rejected is answered by its reason: "
        "status 422 where it came alone, and in its place in an array.",
        "responses": {
            200: _json(
                "The answer, or an array of answers in the order of the events.", {"anyOf": [ANSWER_SCHEMA, _MANY]}, DECISION
            ),
            422: _json("The one event is rejected.", ANSWER_SCHEMA, REJECTION),
            **_refusals(*COMMON, *REFUSED),
        },
        "openapi_extra": _body({"anyOf": [EVENT_SCHEMA, {"type": "array", "items": EVENT_SCHEMA}]}, EVENT),
    },
    "infer": {
        "summary": "Decide on rows of tensors (Open Inference Protocol v2)",
        "description": "Inputs `title`, and perhaps `description` and `id`, of datatype BYTES and shape [rows]. Outputs `tag`, `confidence`, "
        "`probabilities`, `prediction_id`, `destination`, and `answer`, which is the object of /classify. A rejected row has the "
        "destination `dlq` and an empty tag.",
        "responses": {200: _json("The outputs.", OBJECT), **_refusals(*COMMON, 404, *REFUSED)},
        "openapi_extra": _body(INFER_SCHEMA, INFER),
    },
    "server": {
        "summary": "Name and version of the server",
        "responses": {200: _json("The server.", OBJECT), **_refusals(*COMMON)},
    },
    "model": {
        "summary": "Inputs, outputs and labels of the model",
        "responses": {200: _json("The model.", OBJECT), **_refusals(*COMMON, 404)},
    },
    "ready": {
        "summary": "Is the model ready?",
        "responses": {200: _json("It is.", OBJECT), **_refusals(*COMMON, 404)},
    },
    "live": {"summary": "Does the server live?", "responses": {200: _json("It does.", OBJECT), **_refusals(421)}},
    "v2ready": {
        "summary": "Does the server take requests?",
        "responses": {200: _json("It does.", OBJECT), 503: _json("It ends, or its model is broken.", OBJECT), **_refusals(421)},
    },
    "healthz": {"summary": "Does the process live?", "responses": {200: _text("It does."), **_refusals(421)}},
    "readyz": {
        "summary": "Does it take requests?",
        "responses": {200: _text("It does."), 503: _text("It does not; the text says why."), **_refusals(421)},
    },
    "metrics": {"summary": "Metrics for Prometheus", "responses": {200: _text("The metrics."), **_refusals(421)}},
}


def describe(path: str) -> dict[str, Any]:
    """Arguments of a route of FastAPI: its summary, answers and examples."""
    return _PATHS[path]
