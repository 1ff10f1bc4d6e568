"""The schemas of a registry, as functions that read values. Schemas are fetched when first needed, and kept in bounded memory."""

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

# The most parallel requests. A batch whose events name many schemas must end within its bound.
REQUESTS_AT_ONCE = 8
# An unknown schema is requested again after this time, since it may be registered meanwhile. The first repetition comes soon: some of the
# registry's replicas may not have the schema yet.
FIRST_UNKNOWN_SECONDS, UNKNOWN_SECONDS = 3.0, 30.0
# The most schemas that one schema may refer to.
MOST_REFERENCES = 32
# Registry ids are Java integers. A path with a larger number gives a 404, as a wrong address does.
MOST_ID = 2**31 - 1

Kept = TypeVar("Kept")
_Get = Callable[[str], Mapping[str, Any] | NotGiven]


class _Latest(Generic[Kept]):
    """An LRU cache of `most` values."""

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
    """Calls a function once for all threads. The function is called again only if it raised."""

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
    """The schemas of one registry. Safe for several threads."""

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
        Begin without schemas.

        Args:
            client: The client of the registry.
            seconds: The most seconds for all requests of one call of `readers`.
            most: The most schemas that are kept, and the most names of unknown schemas.
            max_bytes: The largest event as JSON.
            monotonic: The clock for the age of refusals, in seconds.
        """
        self._client = client
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._monotonic = monotonic
        self._known: _Latest[Read] = _Latest(most)
        # Kept apart from `_known`, so that events with unknown schemas cannot push out needed schemas.
        self._refused: _Latest[tuple[Refusal, float]] = _Latest(most)
        self._lock = threading.Lock()

    def readers(self, names: Iterable[SchemaName]) -> dict[SchemaName, Read | Refusal]:
        """
        Return, for each name, the function that reads its values, or the refusal of its events.

        Raises:
            RegistryError: The registry does not answer in time, refuses us, or is not a Schema Registry.
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
        # One check for all names: otherwise each unknown name would cost a second request.
        get = partial(self._client.get, until=until, check=_Once(partial(self._client.types, until)))
        pool = ThreadPoolExecutor(min(len(names), REQUESTS_AT_ONCE), thread_name_prefix="schema-registry")
        try:
            asked = {name: pool.submit(self._fetch, name, get) for name in names}
            # The client keeps its bound, but a DNS server that does not answer is not bounded. So this wait has a timeout.
            wait(asked.values(), timeout=self._seconds)
            done = {name: one for name, one in asked.items() if one.done()}
            found = {name: one.result() for name, one in done.items() if one.exception() is None}
            # Schemas that came are kept even after a timeout, so that the next call continues from there.
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
        """Keep schemas and refusals. Without `whole` (an answer is missing), refusals are kept longer, since another call follows soon."""
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
        # A registry leaves out the type of an Avro schema.
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
        Collect the texts of the schemas that a schema refers to into `found`, in the order of their dependencies.

        Raises:
            SchemaError: A referenced schema is not available, or there are too many.
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
            # Noted before its own references are read, so that a cycle ends.
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
