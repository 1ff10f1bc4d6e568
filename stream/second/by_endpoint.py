"""
Second opinions of an endpoint that speaks OpenAI's chat completions.

The request goes through `stream/http_request.py`, which bounds the whole answer in time and in size while it is read; stamina retries it.
"""

import email.utils
import math
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from urllib.parse import urlsplit

import stamina

from tagstream.monitoring.vocabulary import NoOpinion
from tagstream.stream.contract.outcome import timestamp
from tagstream.stream.contract.published import DecidedEvent
from tagstream.stream.contract.second_opinions import SecondEndpoint, SecondOpinion
from tagstream.stream.http_request import MANY_REQUESTS, OK, Bounds, HttpAnswer, ask
from tagstream.stream.logs import logger
from tagstream.stream.second.budget import Budget, Prices, Turns
from tagstream.stream.second.completion import Said, said
from tagstream.stream.second.prompt import TEMPERATURE, Asked, Prompt
from tagstream.stream.settings.second import Second
from tagstream.stream.settings.secret_files import secret_in, verifying_context

MOST_ANSWER_BYTES = 64 * 1024
# The pauses between requests for one item where the endpoint names none.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 2.0
# What servers answer to a request of which they do not know a part; llama-cpp-python says 500.
NOT_UNDERSTOOD = (400, 422, 500)
# After these nothing of the request has left.
NOTHING_SENT = (ConnectionRefusedError, socket.gaierror, ssl.SSLCertVerificationError)
DEFAULT_PORTS = {"http": 80, "https": 443}

log = logger("tagstream.second")


@dataclass(slots=True)
class _Spent:
    """What an item has taken so far."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    has_left: bool = False


@dataclass(slots=True)
class _FailedError(Exception):
    """A request without an answer. `retry` is False, True, or the seconds that the endpoint asks to wait."""

    reason: NoOpinion
    why: str
    retry: bool | float = field(default=False)


class EndpointAdviser:
    """Asks an endpoint, within the bounds of the settings. An answer that cannot be used is an opinion with a reason, and never raises."""

    def __init__(self, settings: Second, prompt: Prompt, budget: Budget, *, clock: Callable[[], float] = time.time) -> None:
        """
        Read the files of the settings.

        Args:
            settings: `second.*`, with an endpoint.
            prompt: What is asked.
            budget: What a day may cost; the opinions of earlier processes were counted.
            clock: Seconds since 1970.

        Raises:
            SecurityError: A file cannot be used.
        """
        assert settings.endpoint is not None, "without an endpoint nobody is asked"
        self._settings, self._prompt, self._budget, self._clock = settings, prompt, budget, clock
        address = urlsplit(settings.endpoint)
        self._tls = verifying_context(settings.ca_file, "second.ca_file") if address.scheme == "https" else None
        self._headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "tagstream"}
        if settings.key_file is not None:
            self._headers["Authorization"] = f"Bearer {secret_in(settings.key_file, 'second.key_file')}"
        self._endpoint = SecondEndpoint(
            host=f"{address.hostname}:{address.port or DEFAULT_PORTS[address.scheme]}",
            model_asked=prompt.model,
            temperature=TEMPERATURE,
            prompt_digest=prompt.digest,
        )
        self._prices = Prices(input=settings.input_price, output=settings.output_price)
        self._turns = Turns(settings.requests_a_minute)
        self._places = threading.BoundedSemaphore(settings.concurrency)

    def ask(self, item: DecidedEvent) -> SecondOpinion:
        """See `Adviser`. Ends within `second.timeout_seconds`; each further address of the host may take as long again to connect."""
        until = time.monotonic() + self._settings.timeout_seconds
        spent = _Spent()
        asked = self._prompt.asked(item)
        if asked is None:
            return self._opinion(item, Said(reason=NoOpinion.TOO_LARGE), spent, ())
        if not self._places.acquire(timeout=self._settings.timeout_seconds):
            return self._opinion(item, Said(reason=NoOpinion.LATE), spent, ())
        try:
            found = self._answer(asked, until, spent)
        except _FailedError as failed:
            log.warning("second_failed", reason=failed.reason.value, why=failed.why, consequence="the item stays with people")
            found = Said(reason=failed.reason)
        finally:
            self._places.release()
        if found.label is not None and found.label not in item.decision.probabilities:
            found = Said(reason=NoOpinion.NOT_A_LABEL, model=found.model, fingerprint=found.fingerprint)
        return self._opinion(item, found, spent, asked.sent if spent.has_left else ())

    def _opinion(self, item: DecidedEvent, found: Said, spent: _Spent, sent: tuple[str, ...]) -> SecondOpinion:
        answered = SecondEndpoint(
            host=self._endpoint.host,
            model_asked=self._endpoint.model_asked,
            model=found.model,
            fingerprint=found.fingerprint,
            temperature=self._endpoint.temperature,
            prompt_digest=self._endpoint.prompt_digest,
        )
        return SecondOpinion(
            event_id=item.event.id,
            prediction_id=item.decision.prediction_id,
            model_tag=item.decision.tag,
            label=found.label,
            reason=None if found.reason is None else found.reason.value,
            score=found.score,
            endpoint=answered,
            sent=sent,
            calls=spent.calls,
            input_tokens=spent.input_tokens,
            output_tokens=spent.output_tokens,
            cost=spent.cost,
            decided_at=timestamp(round(self._clock() * 1000)),
        )

    def _answer(self, asked: Asked, until: float, spent: _Spent) -> Said:
        """
        Ask until there is an answer, or no attempt or time is left.

        Raises:
            _FailedError: There is no answer.
        """

        def pause(error: Exception) -> bool | float:
            if not isinstance(error, _FailedError) or error.retry is False:
                return False
            seconds = LONGEST_PAUSE_SECONDS if error.retry is True else error.retry
            return time.monotonic() + seconds < until and error.retry

        for attempt in stamina.retry_context(
            on=pause,
            attempts=self._settings.attempts,
            timeout=None,
            wait_initial=FIRST_PAUSE_SECONDS,
            wait_max=LONGEST_PAUSE_SECONDS,
            wait_jitter=FIRST_PAUSE_SECONDS,
        ):
            with attempt:
                return self._once(asked, until, spent)
        raise AssertionError("stamina raises the last failure")  # noqa: EM101, TRY003 - never reached

    def _once(self, asked: Asked, until: float, spent: _Spent) -> Said:
        """
        Send one request, when it is its turn and the budget suffices.

        Raises:
            _FailedError: There is no answer.
        """
        wait = self._turns.take(time.monotonic(), until)
        if wait is None:
            raise _FailedError(NoOpinion.LATE, "no turn before the item's time is over")
        time.sleep(wait)
        now_ms = round(self._clock() * 1000)
        # A token has one byte or more. The JSON around the texts outweighs what a server's template puts there.
        most = self._prices.of(len(asked.body), self._settings.answer_tokens)
        if not self._budget.take(now_ms, most):
            raise _FailedError(NoOpinion.OVER_BUDGET, "the calls or the money of the day are spent")
        spent.calls += 1
        cost = most
        try:
            try:
                answer = self._sent(asked, until)
            except NOTHING_SENT as error:
                cost = 0.0
                raise _FailedError(NoOpinion.DOWN, _named(error), retry=True) from error
            except TimeoutError as error:
                spent.has_left = True
                raise _FailedError(NoOpinion.LATE, _named(error)) from error
            # Besides the failures of connections: http.client raises ValueError for some answers that are no HTTP.
            except (OSError, HTTPException, ValueError) as error:
                spent.has_left = True
                raise _FailedError(NoOpinion.DOWN, _named(error), retry=True) from error
            spent.has_left = True
            if answer.status != OK:
                cost = 0.0
                raise self._failed(answer)
            if len(answer.body) > MOST_ANSWER_BYTES:
                raise _FailedError(NoOpinion.TOO_LARGE, f"the answer has more than {MOST_ANSWER_BYTES} bytes")
            found = said(answer.body, self._prompt.labels, asked.mark)
            if found.use is not None:
                cost = self._prices.of(found.use.input_tokens, found.use.output_tokens)
                spent.input_tokens += found.use.input_tokens
                spent.output_tokens += found.use.output_tokens
        finally:
            spent.cost += cost
            self._budget.give_back(now_ms, most - cost)
        return found

    def _sent(self, asked: Asked, until: float) -> HttpAnswer:
        left = until - time.monotonic()
        if left <= 0:
            msg = "no time is left for a request"
            raise TimeoutError(msg)
        bounds = Bounds(seconds=left, until=until, most_bytes=MOST_ANSWER_BYTES)
        url = f"{self._settings.endpoint}/chat/completions"
        return ask(url, self._headers, bounds, tls=self._tls, body=asked.body)

    def _failed(self, answer: HttpAnswer) -> _FailedError:
        why = f"status {answer.status}"
        if answer.status in NOT_UNDERSTOOD and self._settings.response_format != "text":
            why += f" (does it know a response_format of type {self._settings.response_format}? If not, set second.response_format)"
        if not answer.is_passing:
            return _FailedError(NoOpinion.REFUSED, why)
        seconds = retry_after(answer.retry_after, self._clock())
        if seconds is None:
            return _FailedError(NoOpinion.DOWN, why, retry=True)
        if answer.status == MANY_REQUESTS:
            # The other items wait, too.
            self._turns.pause(time.monotonic() + min(seconds, self._settings.timeout_seconds))
        return _FailedError(NoOpinion.DOWN, f"{why}, again after {seconds:g} s", retry=seconds)


def retry_after(header: str, now: float) -> float | None:
    """
    The seconds that a header `Retry-After` asks to wait (RFC 9110, 10.2.3); None if it says nothing that can be read.

    Args:
        header: Seconds or a date.
        now: Seconds since 1970.

    >>> retry_after("2", 0.0), retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 20.0), retry_after("soon", 0.0), retry_after("-1", 0.0)
    (2.0, 40.0, None, None)
    """
    text = header.strip()
    try:
        seconds = (
            float(text) if text.isascii() and text.isdigit() else email.utils.parsedate_to_datetime(text).timestamp() - now
        )
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _named(error: Exception) -> str:
    """The class of an error; of an OSError its own words too, which hold no text of an event."""
    return f"{type(error).__name__}: {error}" if isinstance(error, OSError) else type(error).__name__
