"""The application of `tagstream serve`: `/classify`, health, metrics and the page, behind the token check and the request guard."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from tagstream.monitoring.metrics.http import CONTENT_TYPE, HttpMetrics
from tagstream.monitoring.vocabulary import HttpFace
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.contract.shape import PLAIN, Shape
from tagstream.stream.serve import feedback
from tagstream.stream.serve.access import Token
from tagstream.stream.serve.errors import RequestError
from tagstream.stream.serve.faces import page, votes, watch
from tagstream.stream.serve.faces.bodies import bounded, check_elements, check_rows, gives_json
from tagstream.stream.serve.faces.descriptions import completed, describe
from tagstream.stream.serve.faces.problems import answer_errors, json_response, refusal
from tagstream.stream.serve.feedback import Feedback
from tagstream.stream.serve.row_answers import REJECTED, RowAnswers
from tagstream.stream.tracing.trace_headers import carried
from tagstream.stream.web.guard import RequestGuard, RequestRules
from tagstream.stream.web.serving import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 4 * 1024 * 1024
# The bodies of all requests in progress. Memory holds several copies of each body: bytes, events, texts and answers.
MAX_HELD_BYTES = 32 * 1024 * 1024
PUBLISHED_HEADER = "Tagstream-Published"
TITLE = "tagstream serve"
ABOUT = "Tags machine-learning content with the model of the stream, for clients that cannot wait for a topic. The decisions are the same."


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """
    The parts of the application.

    Attributes:
        answering: Answers rows.
        metrics: The metrics of the process.
        model: Returns the model that decides now.
        trouble: Returns why the service is not ready; None if the service is ready.
        unknown: Returns why the rollout's models are not known; None if the models are known.
        most_rows: The maximum number of rows in a request.
        most_requests: The maximum number of requests in progress.
        token: The token that every request must carry; None for no token.
        names: Host names that a request may have as `Host`, beside localhost and addresses.
        shape: Where an event has its fields.
        feedback: Takes the answers of viewers; None if no key of their tokens is set.
    """

    answering: RowAnswers
    metrics: HttpMetrics
    model: Callable[[], ModelRef]
    trouble: Callable[[], str | None]
    most_rows: int
    most_requests: int
    unknown: Callable[[], str | None] = lambda: None
    token: str | None = None
    names: Sequence[str] = ()
    shape: Shape = PLAIN
    feedback: Feedback | None = None


class _App(FastAPI):
    """FastAPI with the service's own schemas in its OpenAPI document, with the event schema of a shape, and perhaps with viewers' answers."""

    shape = PLAIN
    viewers = False

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        return completed(super().openapi(), self.shape, viewers=self.viewers)


def application(service: Service) -> ASGIApp:
    """Return the ASGI application."""
    # FastAPI's own page is off, because the page loads script and style from another site.
    app = _App(title=TITLE, description=ABOUT, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.shape, app.viewers = service.shape, service.feedback is not None
    _classify(app, service)
    _health(app, service)
    app.include_router(watch.routes(service.metrics, service.trouble))
    answer_errors(app)
    _page(app)
    rules = RequestRules(
        # A token already guards each request, so any Host name is accepted.
        names=None if service.token is not None else service.names,
        programs=True,
        max_requests=service.most_requests,
        max_body_bytes=MAX_BODY_BYTES,
        max_held_bytes=MAX_HELD_BYTES,
        shorten="send several requests, or use tagstream batch",
        refusal=refusal,
    )
    guarded: ASGIApp = RequestGuard(app, rules)
    if service.token is not None:
        guarded = Token(guarded, service.token)
    if service.feedback is not None:
        guarded = _beside(guarded, feedback.application(service.feedback))
    return _measured(guarded, service.metrics)


def _beside(app: ASGIApp, viewers: ASGIApp) -> ASGIApp:
    """Give the answers of viewers to an application of their own: they have no token of the service."""

    async def divided(scope: Scope, receive: Receive, send: Send) -> None:
        chosen = viewers if scope["type"] == "http" and scope["path"] == votes.PATH else app
        await chosen(scope, receive, send)

    return divided


def _classify(app: FastAPI, service: Service) -> None:
    @app.post("/classify", dependencies=[Depends(gives_json)], **describe("classify"))
    async def classify(
        request: Request,
        publish: Annotated[  # noqa: FBT002 - a parameter of the query
            bool,
            Query(
                description="Also send the events that are not rejected to the stream, and answer after the broker has confirmed them."
            ),
        ] = False,
    ) -> Response:
        body = await bounded(request)
        values, many = _events(body, service.most_rows)
        check_rows(len(values), service.most_rows)
        answers = await service.answering.answers(values, publish=publish, headers=carried(request.headers.raw))
        headers = {PUBLISHED_HEADER: str(sum(not answer.startswith(REJECTED) for answer in answers))} if publish else None
        if many:
            return json_response(b"[%b]" % b",".join(answers), headers=headers)
        return json_response(answers[0], 422 if answers[0].startswith(REJECTED) else 200, headers)


def _events(body: bytes, most: int) -> tuple[list[bytes], bool]:
    """Return the bytes of each event, and True if the body is an array. Any other body is one event, which the pipeline may reject."""
    if not body.lstrip(b" \t\r\n").startswith(b"["):
        return [body], False
    try:
        check_elements(body, most)
        return [bytes(event) for event in msgspec.json.decode(body, type=list[msgspec.Raw])], True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(
            400, f"The body begins like a JSON array and is not valid JSON ({error}), so nothing was decided. Next: correct it."
        ) from error


def _health(app: FastAPI, service: Service) -> None:
    def ready() -> Response:
        trouble = service.trouble()
        # This path needs no token, so the answer leaves out the reason. The log has the reason.
        model = service.model()
        words = (
            f"it is not known whether the model was changed; {model.name} {model.version} decides\n"
            if service.unknown()
            else ""
        )
        return PlainTextResponse(f"{trouble or 'ready'}\n{words}", 200 if trouble is None else 503)

    @app.get("/healthz", response_class=PlainTextResponse, **describe("healthz"))
    async def healthz() -> Response:
        return PlainTextResponse("alive\n")

    @app.get("/readyz", response_class=PlainTextResponse, **describe("readyz"))
    async def readyz() -> Response:
        return ready()

    @app.get("/metrics", response_class=PlainTextResponse, **describe("metrics"))
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)


def _page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(page.document(app.openapi()))

    @app.get("/docs.css", include_in_schema=False)
    async def style() -> Response:
        return Response(page.STYLE, media_type="text/css")


def _measured(app: ASGIApp, metrics: HttpMetrics) -> ASGIApp:
    """Count the requests for decisions and the answers of viewers, also those that a guard or the token check refuses."""

    async def measured(scope: Scope, receive: Receive, send: Send) -> None:
        door = _door(scope) if scope["type"] == "http" else None
        if door is None:
            await app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await app(scope, receive, sent)
        finally:
            metrics.request(door, status, time.perf_counter() - started)

    return measured


def _door(scope: Scope) -> HttpFace | None:
    path: str = scope["path"]
    if path == "/classify":
        return HttpFace.CLASSIFY
    return HttpFace.FEEDBACK if path == votes.PATH else None
