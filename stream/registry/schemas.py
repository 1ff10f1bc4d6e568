"""The schemas of a registry as functions that read values; fetched when first needed, several at once, and kept in bounded memory."""

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from tagstream.monitoring.vocabulary import Reason, Stage
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.registry.avro import Read, SchemaError, reader_of
from tagstream.stream.registry.client import NEXT, Client, NotGiven, RegistryError
from tagstream.stream.registry.frame import SchemaName

# Requests at once, so that a batch whose events name many schemas ends within its bound.
REQUESTS_AT_ONCE = 8
# An unknown schema is asked for again after this time: somebody may have registered it. The first time soon: the registry's own
# copies may not all have it yet.
FIRST_UNKNOWN_SECONDS, UNKNOWN_SECONDS = 3.0, 30.0
# Other schemas that one schema may need.
MOST_REFERENCES = 32
# Registries count in Java's integers; a path with a larger number is not found, as under a wrong address.
MOST_ID = 2**31 - 1

Kept = TypeVar("Kept")
_Get = Callable[[str], Mapping[str, Any] | NotGiven]


class _Latest(Generic[Kept]):
    """Keeps so many values, the last ones used."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[SchemaName, Kept] = OrderedDict()

    def get(self, name: SchemaName) -> Kept | None:
        found = self._kept.get(name)
        if found is not None:
            self._kept.move_to_end(name)
        return found

    def put(self, name: SchemaName, value: Kept) -> None:
        self._kept[name] = value
        self._kept.move_to_end(name)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)


class _Once:
    """Does something once, whichever thread needs it first; again only if it raised."""

    def __init__(self, do: Callable[[], object]) -> None:
        self._do = do
        self._lock = threading.Lock()
        self._done = False

    def __call__(self) -> None:
        with self._lock:
            if not self._done:
                self._do()
                self._done = True


class Schemas:
    """The schemas of one registry. Safe to call from several threads."""

    def __init__(
        self,
        client: Client,
        *,
        seconds: float,
        most: int,
        max_bytes: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Keep none yet.

        Args:
            client: Asks the registry.
            seconds: The most that all requests for one call of `readers` may take together.
            most: So many schemas are kept, and so many names of unknown ones.
            max_bytes: The largest event.
            monotonic: Gives seconds, by which a refusal grows old.
        """
        self._client = client
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._monotonic = monotonic
        self._known: _Latest[Read] = _Latest(most)
        # Apart, so that events that name no schema cannot push out those that are needed.
        self._refused: _Latest[tuple[Refusal, float]] = _Latest(most)
        self._lock = threading.Lock()

    def readers(self, names: Iterable[SchemaName]) -> dict[SchemaName, Read | Refusal]:
        """
        For each name the function that reads its values, or why there is none.

        Raises:
            RegistryError: The registry did not answer in time, refuses us, or is none.
        """
        found: dict[SchemaName, Read | Refusal] = {}
        missing: list[SchemaName] = []
        with self._lock:
            for name in dict.fromkeys(names):
                kept = self._kept(name)
                if kept is None:
                    missing.append(name)
                else:
                    found[name] = kept
        if missing:
            found |= self._fetched(missing)
        return found

    def _kept(self, name: SchemaName) -> Read | Refusal | None:
        read = self._known.get(name)
        if read is not None:
            return read
        refused = self._refused.get(name)
        return refused[0] if refused is not None and self._monotonic() < refused[1] else None

    def _fetched(self, names: list[SchemaName]) -> dict[SchemaName, Read | Refusal]:
        until = time.monotonic() + self._seconds
        # Names that nobody has would else be two requests each.
        get = partial(self._client.get, until=until, check=_Once(partial(self._client.types, until)))
        pool = ThreadPoolExecutor(min(len(names), REQUESTS_AT_ONCE), thread_name_prefix="schema-registry")
        try:
            asked = {name: pool.submit(self._fetch, name, get) for name in names}
            # The client keeps to the bound; a name server that does not answer keeps to none.
            wait(asked.values(), timeout=self._seconds)
            done = {name: one for name, one in asked.items() if one.done()}
            found = {name: one.result() for name, one in done.items() if one.exception() is None}
            # Schemas that came are kept though the bound was missed, so that the next call goes on where this one ended.
            self._keep(found, whole=len(found) == len(names))
            for one in done.values():
                one.result()
            if len(done) < len(names):
                msg = (
                    f"the Schema Registry did not give {len(names)} schemas within {self._seconds:g} s (schema_registry.timeout_seconds). "
                    f"No event is lost. {NEXT}"
                )
                raise RegistryError(msg)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return found

    def _keep(self, found: Mapping[SchemaName, Read | Refusal], *, whole: bool) -> None:
        """`whole`: all that was asked for was found; else a call soon asks for the rest, and must not begin anew."""
        with self._lock:
            for name, one in found.items():
                if isinstance(one, Refusal):
                    first = whole and self._refused.get(name) is None
                    seconds = FIRST_UNKNOWN_SECONDS if first else UNKNOWN_SECONDS
                    self._refused.put(name, (one, self._monotonic() + seconds))
                else:
                    self._known.put(name, one)

    def _fetch(self, name: SchemaName, get: _Get) -> Read | Refusal:
        if isinstance(name, int) and name > MOST_ID:
            return _refusal(Reason.UNKNOWN_SCHEMA, f"no registry gives a schema the id {name}")
        said = f"GUID {name}" if isinstance(name, uuid.UUID) else f"id {name}"
        path = f"/schemas/guids/{name}" if isinstance(name, uuid.UUID) else f"/schemas/ids/{name}"
        answer = get(path)
        if isinstance(answer, NotGiven):
            return _refusal(Reason.UNKNOWN_SCHEMA, f"the Schema Registry has no schema of {said} for us: it is {answer.why}")
        # A registry leaves out the type of the first kind of schema that there was.
        kind = answer.get("schemaType") or "AVRO"
        if kind == "JSON":
            return _as_it_is
        if kind != "AVRO":
            return _refusal(Reason.UNSUPPORTED_SCHEMA, f"the schema of {said} is of another type than AVRO and JSON")
        try:
            references: dict[tuple[str, str], str] = {}
            self._collect(answer, references, get)
            return reader_of(str(answer.get("schema")), list(references.values()), self._max_bytes)
        except SchemaError as error:
            return _refusal(Reason.UNSUPPORTED_SCHEMA, f"the schema of {said} cannot be read: {error}")

    def _collect(self, answer: Mapping[str, Any], found: dict[tuple[str, str], str], get: _Get) -> None:
        """
        The texts of the schemas that a schema refers to, those that others need before them.

        Raises:
            SchemaError: One is not there, or there are too many.
        """
        for reference in answer.get("references") or ():
            if not isinstance(reference, Mapping):
                msg = "what it refers to has no name"
                raise SchemaError(msg)
            place = str(reference.get("subject")), str(reference.get("version"))
            if place in found:
                continue
            if len(found) >= MOST_REFERENCES:
                msg = f"it refers to more than {MOST_REFERENCES} others"
                raise SchemaError(msg)
            # Before its own references are read, so that a circle ends.
            found[place] = ""
            below = get(f"/subjects/{quote(place[0], safe='')}/versions/{quote(place[1], safe='')}")
            if isinstance(below, NotGiven):
                msg = f"a schema that it refers to is {below.why}"
                raise SchemaError(msg)
            self._collect(below, found, get)
            del found[place]
            found[place] = str(below.get("schema"))


def _as_it_is(payload: bytes) -> bytes:
    return payload


def _refusal(reason: Reason, message: str) -> Refusal:
    return Refusal(stage=Stage.DECODE, reason=reason, message=message)
