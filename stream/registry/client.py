"""Asks a Schema Registry over HTTP, within bounds: the only file here that asks for something.

Two kinds of failure are told apart with care. A registry that does not answer, refuses us or is none is a broken machine: an exception,
so that no event becomes a dead letter for it. A single schema that the registry does not give is the fault of the event that names it.
No event may stop the stream, whatever it names, so a 404 or 403 counts as the second kind if the registry answers otherwise.
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

# Larger than the largest schema of a registry in the cloud (1 MB).
MOST_BYTES = 2 * 1024 * 1024
# A connection, and each read from it; with several addresses a whole request. Below the bound of a fetch, so that a second address is tried within it.
ATTEMPT_SECONDS = 5.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 1.0
# An address that gave no answer is asked after the others for so long, and not whether it has what another one lacks: events may
# name what nobody has, and would wait for it each.
SILENT_SECONDS = 30.0
# The types of schemas that it takes: every registry answers this to every user that it knows.
TYPES = "/schemas/types"
NEXT = "Next: see that it runs and that schema_registry.url is its address, then start again; `tagstream doctor` asks it too."
NOT_GIVEN = frozenset({403, 404})
REFUSED = frozenset({401, 403})


class RegistryError(Exception):
    """The Schema Registry does not answer, or not as one; the message says which address, why, and the next step."""

    exit_code = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NotGiven:
    """The registry works, and does not give what was asked for: `why`, as it stands in a dead letter."""

    why: str


class Client:
    """One registry at one or several addresses. Safe to call from several threads."""

    def __init__(self, settings: SchemaRegistry) -> None:
        """
        Read the files of the settings.

        Raises:
            SecurityError: A file cannot be used.
        """
        self._urls = settings.urls
        self._user = settings.username
        # By address: when it last gave no answer.
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
        The types of schemas that the registry knows, as `AVRO`.

        Args:
            until: On `time.monotonic`: no request begins after it.

        Raises:
            RegistryError: It does not answer, or not as a Schema Registry.
        """
        answer = self._answer(TYPES, until)
        found = _parsed(answer.body) if answer.status == OK else None
        if not isinstance(found, list):
            raise self._refusal(answer, TYPES)
        return [str(name) for name in found]

    def get(self, path: str, until: float, check: Callable[[], object] | None = None) -> Mapping[str, Any] | NotGiven:
        """
        The JSON object with a `schema` at a path; not given if no address that answers has it.

        Args:
            path: Begins with a slash.
            until: On `time.monotonic`: no request begins after it.
            check: Called before an answer that gives none is believed; raises if this is no registry. `types` unless given.

        Raises:
            RegistryError: The registry does not answer, or not as a Schema Registry.
        """
        answer = self._answer(path, until)
        found = _given(answer)
        if found is None:
            raise self._refusal(answer, path)
        if isinstance(found, NotGiven):
            # Perhaps the address is wrong, or nothing is allowed to us: then this raises.
            if check is None:
                self.types(until)
            else:
                check()
        return found

    def _answer(self, path: str, until: float) -> HttpAnswer:
        """The answer of the first address that has one, asked again and again; one that will not change with time."""
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
        """As `_answer`, each address once; without an answer that will not change, why the last address gave none."""
        # An address that lacks a schema may be a copy that is behind, and one that redirects none at all: the others are asked too.
        lacking: HttpAnswer | None = None
        moved: HttpAnswer | None = None
        why = ""
        for url in sorted(self._urls, key=self._is_silent):
            left = until - time.monotonic()
            if left <= 0 or (lacking is not None and self._is_silent(url)):
                break
            # Time is left afterwards, however many do not answer.
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
                f"{where} answers {path} with status {status}, a redirect to {answer.moved_to!r}, and not as a Schema Registry does. None is "
                f"followed, so that no password goes to another host. Next: set schema_registry.url to the registry's own address."
            )
        return RegistryError(
            f"{where} answers {path} with status {status}, and not as a Schema Registry does. Next: check schema_registry.url, its path too."
        )


def _given(answer: HttpAnswer) -> dict[str, Any] | NotGiven | None:
    """The JSON object with a schema in an answer, or why there is none; None if no Schema Registry answers so."""
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
    """The JSON value of a body; None if it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
