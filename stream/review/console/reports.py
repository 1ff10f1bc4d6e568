"""`POST /reports` takes a reader's "this is wrong" from a site's server, and from the pages of sites that the operator names."""

from urllib.parse import parse_qsl

import msgspec
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.contract.reports import Report, report_of
from tagstream.stream.review.answer_saver import Unsaved
from tagstream.stream.review.console.access import AccessError
from tagstream.stream.review.console.pages import ReviewConsole
from tagstream.stream.review.store.records import TooMany
from tagstream.stream.web.origins import Origins

PATH = "/reports"
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
THANKS = "The report is taken: a person will look at it. It changes no tag by itself."
OTHER_SITE = "This site may not send reports from its pages. Next: the console's operator names it with --report-origin."


def routes(console: ReviewConsole, sites: Origins) -> APIRouter:
    """Return the route. Pages of `sites` may post to it, and so may servers, which send no `Origin`."""
    router = APIRouter()

    @router.options(PATH)
    def preflight(request: Request) -> Response:
        """Answer a browser's question whether a page of another site may send a report (CORS preflight)."""
        return sites.preflight(request.headers.get("origin", "")) or JSONResponse({"message": OTHER_SITE}, 403)

    @router.post(PATH)
    async def report(request: Request) -> Response:
        """Take a report: status 202, or a sentence with the reason for a refusal."""
        if not sites.allow(request.headers.get("origin"), request.headers.get("host")):
            return JSONResponse({"message": OTHER_SITE}, 403)
        try:
            caller = console.access.caller(request)
        except AccessError as error:
            return JSONResponse({"message": str(error)}, error.status)
        given = _parsed(await request.body(), request.headers.get("content-type", ""))
        report = report_of(given, console.now_ms())
        if isinstance(report, Refusal):
            return JSONResponse({"message": f"{report.message}. Next: correct the report."}, 400)
        return await run_in_threadpool(_sent, console, caller, report)

    return router


def _sent(console: ReviewConsole, caller: str, report: Report) -> Response:
    outcome = console.saving.report(
        caller, report.event_id, tag=report.suggested_tag, note=report.note, reporter=report.reporter
    )
    match outcome:
        case None:
            return JSONResponse({"message": THANKS}, 202)
        case TooMany():
            retry = {"Retry-After": str(outcome.retry_after_seconds)}
            return JSONResponse({"message": outcome.message}, 429, retry)
        case Unsaved():
            return JSONResponse({"message": outcome.message}, 503)


def _parsed(body: bytes, content_type: str) -> object:
    """Return the body as an object. `report_of` refuses a body that is not a report, and None."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == FORM:
        return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    if kind != JSON:
        return None
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
