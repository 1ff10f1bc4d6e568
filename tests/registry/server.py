"""A Schema Registry on loopback, with the paths, answers and error codes of Confluent's, which its own clients speak to."""

import base64
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any
from urllib.parse import unquote, urlsplit

NOT_FOUND = {
    "schema": (40403, "Schema not found"),
    "subject": (40401, "Subject not found"),
    "version": (40402, "Version not found"),
}


class Registry:
    """
    Schemas by id, in the order in which they were registered.

    Attributes:
        asked: The path of each request, in order.
        user: `user:password` that requests must have; None: any may ask.
        override: Is asked first: status and body of the answer to a path, None for the registry's own.
        headers: Further ones of every answer.
        cut: Asked for each answer: does it break off before its end?
    """

    def __init__(self) -> None:
        """Hold no schema."""
        self.asked: list[str] = []
        self.user: str | None = None
        self.override: Callable[[str], tuple[int, bytes] | None] = lambda _: None
        self.headers: dict[str, str] = {}
        self.cut: Callable[[], bool] = lambda: False
        self.url = ""
        self._schemas: list[dict[str, Any]] = []
        self._subjects: dict[str, list[int]] = {}
        self._lock = threading.Lock()

    def register(self, subject: str, schema: str, kind: str = "AVRO", references: list[dict[str, Any]] | None = None) -> int:
        """The id of a schema, which is registered under the subject if it was not."""
        body = {"schema": schema, "schemaType": kind, "references": references or []}
        with self._lock:
            number = next((at for at, known in enumerate(self._schemas) if known == body), None)
            if number is None:
                number = len(self._schemas)
                self._schemas.append(body)
            versions = self._subjects.setdefault(subject, [])
            if number + 1 not in versions:
                versions.append(number + 1)
            return number + 1

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, object]:
        """Status and JSON of one request."""
        parts = [unquote(part) for part in urlsplit(path).path.strip("/").split("/")]
        match method, parts:
            case "GET", ["schemas", "types"]:
                return 200, ["JSON", "PROTOBUF", "AVRO"]
            case "GET", ["schemas", "ids", number] if re.fullmatch(r"-?\d+", number) and abs(int(number)) < 2**31:
                return self._schema(int(number)) or _missing("schema")
            case "GET", ["schemas", "guids", guid]:
                found = next((at for at in range(1, len(self._schemas) + 1) if guid_of(at) == guid), 0)
                return self._schema(found) or _missing("schema")
            case "POST", ["subjects", subject, "versions"]:
                number = self.register(subject, body["schema"], body.get("schemaType", "AVRO"), body.get("references"))
                return 200, self._whole(subject, number)
            case "GET", ["subjects", subject, "versions", version]:
                return self._version(subject, version)
        # A path that a registry does not have, such as that of an id which is no integer of Java.
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _version(self, subject: str, version: str) -> tuple[int, object]:
        known = self._subjects.get(subject)
        if known is None:
            return _missing("subject")
        place = len(known) if version == "latest" else int(version)
        return (200, self._whole(subject, known[place - 1])) if 1 <= place <= len(known) else _missing("version")

    def _schema(self, number: int) -> tuple[int, object] | None:
        if not 1 <= number <= len(self._schemas):
            return None
        found = dict(self._schemas[number - 1])
        # As registries do, for the type that there was first.
        if found["schemaType"] == "AVRO":
            del found["schemaType"]
        return 200, {**found, "guid": guid_of(number)}

    def _whole(self, subject: str, number: int) -> dict[str, Any]:
        version = self._subjects[subject].index(number) + 1
        return {**self._schemas[number - 1], "id": number, "guid": guid_of(number), "subject": subject, "version": version}


def guid_of(number: int) -> str:
    """The GUID of the schema with this id."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"schema {number}"))


def _missing(what: str) -> tuple[int, object]:
    code, message = NOT_FOUND[what]
    return 404, {"error_code": code, "message": message}


@contextmanager
def serving(registry: Registry, port: int = 0) -> Iterator[Registry]:
    """Serve the registry meanwhile, at `registry.url`."""

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            registry.asked.append(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            expected = None if registry.user is None else "Basic " + base64.b64encode(registry.user.encode()).decode()
            given = registry.override(self.path)
            if given is None and expected is not None and self.headers.get("Authorization") != expected:
                given = 401, b'{"error_code":401,"message":"Unauthorized"}'
            if given is None:
                status, found = registry.answer(self.command, self.path, body)
                given = status, json.dumps(found).encode()
            self.send_response(given[0])
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(given[1])))
            for name, content in registry.headers.items():
                self.send_header(name, content)
            self.end_headers()
            # A client that takes only so many bytes hangs up on an endless answer, as it should.
            with suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(given[1][:-1] if registry.cut() else given[1])

        do_GET = do_POST = _reply  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    registry.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def trickling(first: bytes, then: bytes) -> Iterator[str]:
    """Serve answers that never end, at the address that is given: `first` at once, then `then` again and again, ten times a second."""
    over = threading.Event()

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            # The client hangs up, as it should.
            with suppress(OSError):
                self.wfile.write(first)
                while not over.wait(0.1):
                    self.wfile.write(then)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            over.set()
            server.shutdown()
            thread.join()
