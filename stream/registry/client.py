"""Requests to a Schema Registry over HTTP, within bounds. No other module of this folder uses the network.

The client distinguishes two kinds of failure. A registry that does not answer, refuses us, or is not a Schema Registry is a machine
failure: an exception, so that no event becomes a dead letter. A single schema that the registry does not return is an error of the event
that names it. No event may stop the stream. So a 404 or 403 counts as the second kind, if the registry answers other requests.
"""

import base64
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from tagstream.stream.http_request import OK, REDIRECTS, Bounds, HttpAnswer, ask
from tagstream.stream.settings.schema_registry import SchemaRegistry
from tagstream.stream.settings.secret_files import secret_in, verifying_context

# The most bytes of an answer. It is more than the largest schema in Confluent's cloud (1 MB).
MOST_BYTES = 2 * 1024 * 1024
# The most seconds of a connection and of each read; with several addresses, of a whole request. It is less than the time of a fetch, so
# that a second address can be tried.
ATTEMPT_SECONDS = 5.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 1.0
# For this time after an unanswered request, an address is asked last. It is not asked for a schema that another address lacks: events
# may name schemas that no address has, and each such event would wait for the silent address.
SILENT_SECONDS = 30.0
# The path of the supported schema types. Every registry answers it to every user that it knows.
TYPES = "/schemas/types"
NEXT = "Next: see that it runs and that schema_registry.url is its address, then start again; `tagstream doctor` asks it too."
NOT_GIVEN = frozenset({403, 404})
REFUSED = frozenset({401, 403})


class RegistryError(Exception):
    """The Schema Registry does not answer, or its answers are not a Schema Registry's; the message has address, reason and next step."""

    exit_code = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NotGiven:
    """The registry works, but does not return the schema. `why` is the reason, as a dead letter states it."""

    why: str


class Client:
    """A client of one registry at one or several addresses. Safe for several threads."""

    def __init__(self, settings: SchemaRegistry) -> None:
        """
        Read the files of the settings.

        Raises:
            SecurityError: A file cannot be used.
        """
        self._urls = settings.urls
        self._user = settings.username
        # When each address last did not answer.
        self._silent: dict[str, float] = {}
        tls = any(url.startswith("https:") for url in self._urls)
        self._tls = verifying_context(settings.ca_file, "schema_registry.ca_file") if tls else None
        self._headers = {"Accept": "application/vnd.schemaregistry.v1+json, application/json", "User-Agent": "tagstream"}
        if settings.username is not None and settings.password_file is not None:
            password = secret_in(settings.password_file, "schema_registry.password_file")
            user = base64.b64encode(f"{settings.username}:{password}".encode())
            self._headers["Authorization"] = f"Basic {user.decode('ascii')}"

    def types(self, until: float) -> list[str]:
        """
        Return the schema types that the registry supports, such as `AVRO`.

        Args:
            until: The time on `time.monotonic` after which no request begins.

        Raises:
            RegistryError: The registry does not answer, or is not a Schema Registry.
        """
        answer = self._answer(TYPES, until)
        found = _parsed(answer.body) if answer.status == OK else None
        if not isinstance(found, list):
            raise self._refusal(answer, TYPES)
        return [str(name) for name in found]

    def get(self, path: str, until: float, check: Callable[[], object] | None = None) -> Mapping[str, Any] | NotGiven:
        """
        Return the JSON object with a `schema` at a path; `NotGiven` if no answering address has it.

        Args:
            path: The path, with a leading slash.
            until: The time on `time.monotonic` after which no request begins.
            check: Called before `NotGiven` is returned; raises if the addresses are not a Schema Registry. None: `types`.

        Raises:
            RegistryError: The registry does not answer, or is not a Schema Registry.
        """
        answer = self._answer(path, until)
        found = _given(answer)
        if found is None:
            raise self._refusal(answer, path)
        if isinstance(found, NotGiven):
            # The address may be wrong, or we may have no rights at all. Then this raises.
            if check is None:
                self.types(until)
            else:
                check()
        return found

    def _answer(self, path: str, until: float) -> HttpAnswer:
        """Ask all addresses repeatedly until one gives a final answer, and return it."""
        pause, why = FIRST_PAUSE_SECONDS, "no time was left to ask"
        while True:
            found, said = self._asked_in_turn(path, until)
            if found is not None:
                return found
            why = said or why
            if time.monotonic() + pause >= until:
                break
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        msg = f"the Schema Registry gives no answer in time (schema_registry.timeout_seconds); {why}. No event is lost. {NEXT}"
        raise RegistryError(msg)

    def _asked_in_turn(self, path: str, until: float) -> tuple[HttpAnswer | None, str]:
        """Ask each address once. Return the first final answer; else None, and why the last address gave none."""
        # If an address lacks a schema or redirects, the other addresses are asked too: the address may be a replica that is behind, or
        # not a registry at all.
        lacking: HttpAnswer | None = None
        moved: HttpAnswer | None = None
        why = ""
        for url in sorted(self._urls, key=self._is_silent):
            left = until - time.monotonic()
            if left <= 0 or (lacking is not None and self._is_silent(url)):
                break
            # After an answer that lacks the schema, each request gets a third of the time left, so that time remains after it.
            seconds = min(left if lacking is None else left / 3, ATTEMPT_SECONDS)
            ends = until if len(self._urls) == 1 else time.monotonic() + seconds
            try:
                answer = self._ask(url, path, seconds, ends)
            except (OSError, HTTPException) as error:
                why = f"{url}: {type(error).__name__}: {error}"
                self._silent[url] = time.monotonic()
                continue
            if answer.is_passing:
                why = f"{url} answers with status {answer.status}"
                self._silent[url] = time.monotonic()
            elif answer.status in REDIRECTS:
                moved = moved or answer
                self._silent[url] = time.monotonic()
            elif answer.status in NOT_GIVEN:
                lacking = lacking or answer
            elif answer.status == OK or lacking is None:
                return answer, ""
        return lacking or moved, why

    def _is_silent(self, url: str) -> bool:
        return time.monotonic() - self._silent.get(url, -math.inf) < SILENT_SECONDS

    def _ask(self, url: str, path: str, seconds: float, until: float) -> HttpAnswer:
        bounds = Bounds(seconds=seconds, until=until, most_bytes=MOST_BYTES)
        return ask(url + path, self._headers, bounds, tls=self._tls)

    def _refusal(self, answer: HttpAnswer, path: str) -> RegistryError:
        status, where = answer.status, " or ".join(self._urls)
        if status in REFUSED:
            user = "a client without a user" if self._user is None else f"user {self._user!r}"
            step = "check schema_registry.username and the content of schema_registry.password_file"
            return RegistryError(f"the Schema Registry at {where} refuses {user} (status {status}). Next: {step}.")
        if status in REDIRECTS:
            return RegistryError(
                f"{where} answers {path} with status {status}, a redirect to {answer.moved_to!r}, and not as a Schema Registry does. Redirects are "
                f"not followed, so that no password goes to another host. Next: set schema_registry.url to the registry's own address."
            )
        return RegistryError(
            f"{where} answers {path} with status {status}, and not as a Schema Registry does. Next: check schema_registry.url, its path too."
        )


def _given(answer: HttpAnswer) -> dict[str, Any] | NotGiven | None:
    """Return the JSON object with a schema in an answer, or why there is none; None if the answer is not a Schema Registry's."""
    if answer.status in NOT_GIVEN:
        return NotGiven(why="unknown to it" if answer.status == 404 else "not for our user")  # noqa: PLR2004
    if answer.status != OK:
        return None
    if len(answer.body) > MOST_BYTES:
        return NotGiven(why=f"larger than {MOST_BYTES} bytes")
    found = _parsed(answer.body)
    if not isinstance(found, dict):
        return None
    return found if isinstance(found.get("schema"), str) else NotGiven(why="not in its answer")


def _parsed(body: bytes) -> object:
    """Return the JSON value of a body; None if the body is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
