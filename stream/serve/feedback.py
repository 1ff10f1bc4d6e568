"""
`POST /feedback` takes what a viewer says about a decision, and puts it on the topic `reports`.

A viewer's browser has no token of the service. It has the decision's token, which a worker has signed. Whoever reads `tagged` has these
tokens, so the limits here are against floods, and not against somebody who votes under several marks.

This is an application of its own with bounds of its own, so that a flood of viewers takes nothing from the requests for decisions.
"""

import asyncio
import hashlib
import ipaddress
import os
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
from fastapi import FastAPI, Request
from fastapi.responses import Response

from tagstream.monitoring.vocabulary import OFF_SUBJECT, few
from tagstream.stream.contract.asking import DAY_MS, AskKeys, day_of, viewer_of
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.reports import Report, write_report
from tagstream.stream.serve.errors import RETRY_SECONDS, RequestError
from tagstream.stream.serve.faces.bodies import bounded
from tagstream.stream.serve.faces.problems import JSON, answer_errors, json_response, refusal
from tagstream.stream.serve.faces.votes import PATH, Taken, Vote
from tagstream.stream.web.guard import RequestGuard, RequestRules
from tagstream.stream.web.origins import Origins
from tagstream.stream.web.serving import ASGIApp

# Several times the longest answer with all characters escaped.
MAX_BODY_BYTES = 8 * 1024
MOST_REQUESTS = 256
# A token is refused when the record of its event is older.
MOST_DAYS = 30
HOUR_SECONDS = 3600
# The most answers in an hour of the clock: with one token, from one address, and in total. The total also bounds the memory of the counts.
OF_A_TOKEN, OF_AN_ADDRESS, OF_ALL = 300, 60, 10_000
# The newest answers that are remembered, so that a repeated one is not written again. The console counts it once in any case.
MOST_KNOWN = 20_000

THANKS = Taken(message="The answer is taken. It changes no tag by itself.")
AGAIN = Taken(message="This answer is taken already. It counts once.")
OTHER_SITE = (
    "This site may not send answers from its pages. Next: the operator of tagstream serve names it with --feedback-origin."
)
NO_JSON = f"The body is not {JSON}. Next: send one JSON object with this content type."
NO_ANSWER = (
    "The body is no answer ({why}). Next: send event_id, prediction_id, token and mark as strings, answer as yes or no, and with no perhaps "
    "suggested_tag."
)
FORGED = (
    "This token was not made for this event and decision, or its key is no longer accepted. Next: send id, prediction_id and ask.token of "
    "one record of tagged, unchanged."
)
STALE = f"This token is older than {MOST_DAYS} days, so the answer does not count. Next: show the page without the question."
NO_LABEL = "suggested_tag is no label. Next: send one of {labels}, or {off}, or leave it out."
UNNEEDED = "suggested_tag is for an answer no: this viewer says that the tag is right. Next: leave it out."
UNCONFIRMED = (
    "The broker has not confirmed this answer, so it is not known whether it counts. Next: send it again; an answer that is sent twice "
    "counts once."
)
TOO_MANY = {
    "token": "This decision has {most} answers of this hour, which is the most that is taken. Next: send it in {minutes} minutes.",
    "address": "{most} answers came from this address within this hour, which is the most that is taken. Next: send it in {minutes} minutes.",
    "all": "More answers came within this hour than are taken ({most}). Next: send it in {minutes} minutes.",
}


class Allowance:
    """
    Counts the answers of the hour, in the memory of this process. Only digests are kept, by a key that ends with the process.

    A refused answer does not count, so the counts never have more entries than twice `OF_ALL`.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Count from zero. `clock` returns Unix seconds."""
        self._clock = clock
        self._key = os.urandom(32)
        self._hour = -1
        self._taken: Counter[bytes] = Counter()

    def admit(self, token: str, address: str) -> None:
        """
        Count an answer with this token from this address.

        Raises:
            RequestError: There were too many within this hour.
        """
        now = self._clock()
        if (hour := int(now // HOUR_SECONDS)) != self._hour:
            self._hour = hour
            self._taken.clear()
        bounds = {
            "token": (self._digest("token", token), OF_A_TOKEN),
            "address": (self._digest("address", network_of(address)), OF_AN_ADDRESS),
            "all": (b"", OF_ALL),
        }
        seconds = int((hour + 1) * HOUR_SECONDS - now) + 1
        for kind, (whose, most) in bounds.items():
            if self._taken[whose] >= most:
                sentence = TOO_MANY[kind].format(most=most, minutes=-(-seconds // 60))
                raise RequestError(429, sentence, {"Retry-After": str(seconds)})
        self._taken.update(whose for whose, _ in bounds.values())

    def _digest(self, kind: str, text: str) -> bytes:
        return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16, key=self._key, person=kind.encode()).digest()


def network_of(address: str) -> str:
    """
    Return what counts as one address: of IPv6 the first 64 bits, since a single customer has all addresses behind them.

    >>> network_of("2001:db8::1") == network_of("2001:db8::2"), network_of("192.0.2.1"), network_of("somebody")
    (True, '192.0.2.1', 'somebody')
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((int(found), 64), strict=False))


@dataclass(frozen=True, slots=True)
class _Known:
    """An answer that was sent, or is being sent."""

    said: tuple[str, str | None]
    sent: "asyncio.Task[None]"


@dataclass(kw_only=True)
class Feedback:
    """
    Checks the answers of viewers and sends them on, for one event loop.

    Attributes:
        keys: Have signed the tokens.
        labels: Returns the labels of the model that decides now.
        publish: Sends records to `reports`; returns when the broker has them.
        origins: The origins whose pages may ask, beside the service's own.
        names: Host names that a request may have as `Host`, beside localhost and addresses; None for any name.
        behind_proxy: True if all requests come through a proxy, which adds the client's address as the last one to `X-Forwarded-For`.
        clock: Returns Unix seconds.
    """

    keys: AskKeys
    labels: Callable[[], Sequence[str]]
    publish: Callable[[Sequence[Record]], Awaitable[None]]
    origins: Iterable[str] = ()
    names: Iterable[str] | None = ()
    behind_proxy: bool = False
    clock: Callable[[], float] = time.time
    _known: "OrderedDict[tuple[str, str], _Known]" = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self._allowance = Allowance(self.clock)

    async def take(self, given: Vote, address: str) -> bool:
        """
        Send this answer on. Return False if the same viewer has given the same answer before.

        Raises:
            RequestError: The answer is refused, or the broker has not confirmed it.
        """
        report = self._checked(given)
        assert report.viewer is not None
        name, said = (given.prediction_id, report.viewer), (given.answer, given.suggested_tag)
        known = self._known.get(name)
        if known is not None and known.said == said:
            await asyncio.shield(known.sent)
            return False
        self._allowance.admit(given.token, address)
        # A client that goes away takes nothing back: the task sends the answer all the same.
        known = self._known[name] = _Known(said, asyncio.create_task(self._send(report)))
        known.sent.add_done_callback(lambda task: self._forget_failed(name, task))
        self._known.move_to_end(name)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        await asyncio.shield(known.sent)
        return True

    def _checked(self, given: Vote) -> Report:
        key = self.keys.key_of(given.token, given.event_id, given.prediction_id)
        if key is None:
            raise RequestError(403, FORGED)
        now_ms = int(self.clock() * 1000)
        if day_of(given.token) < now_ms // DAY_MS - MOST_DAYS:
            raise RequestError(410, STALE)
        if given.suggested_tag is not None and given.answer == "yes":
            raise RequestError(422, UNNEEDED)
        if given.suggested_tag is not None and given.suggested_tag not in {*(labels := self.labels()), OFF_SUBJECT}:
            raise RequestError(422, NO_LABEL.format(labels=few(labels), off=OFF_SUBJECT))
        return Report(
            event_id=given.event_id,
            suggested_tag=given.suggested_tag,
            reported_at=timestamp(now_ms),
            prediction_id=given.prediction_id,
            viewer=viewer_of(key, given.prediction_id, given.mark),
            answer=given.answer,
        )

    async def _send(self, report: Report) -> None:
        try:
            await self.publish([Record(key=report.event_id.encode(), value=write_report(report))])
        except RequestError as error:
            raise RequestError(503, UNCONFIRMED, {"Retry-After": str(RETRY_SECONDS)}) from error

    def _forget_failed(self, name: tuple[str, str], task: "asyncio.Task[None]") -> None:
        # An answer that failed may be sent again. A newer answer of the same viewer stays.
        if (task.cancelled() or task.exception() is not None) and (known := self._known.get(name)) and known.sent is task:
            del self._known[name]


def application(feedback: Feedback) -> ASGIApp:
    """Return the application, which has only this path."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    sites = Origins(feedback.origins)

    # One route for both methods, so that a 405 names both in `Allow`.
    @app.api_route(PATH, methods=["OPTIONS", "POST"])
    async def answer(request: Request) -> Response:
        return await vote(request) if request.method == "POST" else preflight(request)

    def preflight(request: Request) -> Response:
        return sites.preflight(request.headers.get("origin", "")) or refusal(403, OTHER_SITE)

    async def vote(request: Request) -> Response:
        if not sites.allow(request.headers.get("origin"), request.headers.get("host")):
            raise RequestError(403, OTHER_SITE)
        new = await feedback.take(await _given(request), _address(request, behind_proxy=feedback.behind_proxy))
        return json_response(msgspec.json.encode(THANKS if new else AGAIN), 202 if new else 200)

    answer_errors(app)
    rules = RequestRules(
        names=feedback.names,
        # The route knows the origins that may post.
        cross_site=[PATH],
        programs=True,
        max_requests=MOST_REQUESTS,
        max_body_bytes=MAX_BODY_BYTES,
        max_held_bytes=MOST_REQUESTS * MAX_BODY_BYTES,
        shorten="send one answer alone",
        refusal=refusal,
    )
    # The page shows the sentence of a refusal, so it must be able to read the guard's refusals too.
    return sites.shared(RequestGuard(app, rules), PATH)


async def _given(request: Request) -> Vote:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise RequestError(415, NO_JSON)
    try:
        given = msgspec.json.decode(await bounded(request), type=Vote)
        # Half a surrogate pair is no text.
        f"{given.event_id}{given.mark}{given.suggested_tag}".encode()
    except msgspec.ValidationError as error:
        raise RequestError(422, NO_ANSWER.format(why=error)) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise RequestError(400, NO_ANSWER.format(why="it is not strict JSON")) from error
    if not given.event_id.strip() or not given.mark.strip():
        raise RequestError(422, NO_ANSWER.format(why="event_id or mark is blank"))
    return given


def _address(request: Request, *, behind_proxy: bool) -> str:
    peer = request.client.host if request.client else ""
    # A client may invent the addresses before the last one. Some proxies add a line of their own below the client's.
    lines = request.headers.getlist("x-forwarded-for") if behind_proxy else []
    last = lines[-1].rpartition(",")[2].strip() if lines else ""
    return last or peer
