"""A registry that is down, refuses us or is none is an exception; a schema that it does not give is not."""

import json
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tagstream.monitoring.vocabulary import Reason
from tagstream.stream.broker.ports import free_ports
from tagstream.stream.contract.refusal import Refusal
from tagstream.stream.registry.client import MOST_BYTES, Client, NotGiven, RegistryError
from tagstream.stream.registry.schemas import FIRST_UNKNOWN_SECONDS, REQUESTS_AT_ONCE, UNKNOWN_SECONDS, Schemas
from tagstream.stream.settings.schema_registry import SchemaRegistry
from tagstream.stream.settings.secret_files import SecurityError
from tests.registry.server import Registry, serving, trickling

SECRET = "tr0ub4dor-and-3"  # noqa: S105 - must never be printed
AVRO = '{"type": "record", "name": "E", "fields": [{"name": "title", "type": "string"}]}'
# Above what an answer on loopback takes; where a test waits for its end, it is short.
SECONDS, SHORT_SECONDS = 120.0, 1.0


def until(seconds: float = SECONDS) -> float:
    """So many seconds from now."""
    return time.monotonic() + seconds


def client(*urls: str, **given: Any) -> Client:
    """A client of these addresses."""
    return Client(SchemaRegistry(url=",".join(urls), **given))


def schemas(registry: Registry, **given: Any) -> Schemas:
    """The schemas of a registry."""
    return Schemas(client(registry.url), **{"seconds": SECONDS, "most": 100, "max_bytes": 1000, **given})


def nobody() -> str:
    """An address at which nothing listens."""
    [port] = free_ports(1)
    return f"http://127.0.0.1:{port}"


def test_a_registry_that_is_down_is_an_exception() -> None:
    """The message says the address, the reason and the next step; it is asked until the time is over."""
    with pytest.raises(RegistryError, match=r"gives no answer in time .*http://127\.0\.0\.1.*refused.* Next: "):
        client(nobody()).get("/schemas/ids/1", until(SHORT_SECONDS))


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_status_that_passes_is_asked_again(registry: Registry, status: int) -> None:
    """The registry restarts: its third answer is right."""
    registry.register("s", AVRO)
    registry.override = lambda _: (status, b"{}") if len(registry.asked) < 3 else None
    found = client(registry.url).get("/schemas/ids/1", until())
    assert not isinstance(found, NotGiven)
    assert found["schema"] == AVRO
    registry.override = lambda _: (status, b"{}")
    with pytest.raises(RegistryError, match=f"answers with status {status}"):
        client(registry.url).get("/schemas/ids/1", until(SHORT_SECONDS))


def test_another_address_is_tried_in_turn(registry: Registry) -> None:
    """One of two is down."""
    registry.register("s", AVRO)
    found = client(nobody(), registry.url + "/").get("/schemas/ids/1", until())
    assert not isinstance(found, NotGiven)


@pytest.mark.parametrize("status", [403, 404])
def test_an_address_that_lacks_a_schema_is_not_the_last_word(registry: Registry, status: int) -> None:
    """It is a copy that is behind, or another server: the next address has the schema."""
    registry.register("s", AVRO)
    with serving(Registry()) as behind:
        behind.override = lambda path: (status, b"{}") if "ids" in path else None
        found = client(behind.url, registry.url).get("/schemas/ids/1", until())
        assert not isinstance(found, NotGiven)
        assert found["schema"] == AVRO


def test_an_address_that_is_down_is_not_asked_for_each_invented_id(registry: Registry) -> None:
    """Else each such event would wait for it, and many of them would stop the stream."""
    with serving(Registry()) as other:
        other.override = lambda _: (503, b"{}")
        asked = client(registry.url, other.url)
        for number in range(1, 10):
            assert isinstance(asked.get(f"/schemas/ids/{number}", until()), NotGiven)
        assert other.asked == ["/schemas/ids/1"]


def test_an_address_that_is_down_is_asked_last(registry: Registry) -> None:
    """The first of two is: it is waited for once, and not before each schema."""
    registry.register("s", AVRO)
    with serving(Registry()) as other:
        other.override = lambda _: (503, b"{}")
        asked = client(other.url, registry.url)
        for _ in range(5):
            assert not isinstance(asked.get("/schemas/ids/1", until()), NotGiven)
        assert len(other.asked) == 1


def test_an_address_that_refuses_us_does_not_make_a_missing_schema_a_failure(registry: Registry) -> None:
    """The first address is a registry, and it has no such schema."""
    with serving(Registry()) as other:
        other.override = lambda _: (401, b"{}")
        assert client(registry.url, other.url).get("/schemas/ids/1", until()) == NotGiven(why="unknown to it")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, b"<html>"), "not as a Schema Registry does"),
        ((200, b"[]"), "not as a Schema Registry does"),
        ((404, b"<html>"), "not as a Schema Registry does"),
        ((302, b""), "not as a Schema Registry does"),
        ((400, b"{}"), "not as a Schema Registry does"),
        ((401, b"{}"), "refuses a client without a user"),
        ((403, b"{}"), "refuses a client without a user"),
    ],
)
def test_a_wrong_address_or_user_is_an_exception_and_never_a_dead_letter(
    registry: Registry, answer: tuple[int, bytes], said: str
) -> None:
    """The server at the address gives one answer to everything: all events would be lost to the dead letters at once."""
    registry.override = lambda _: answer
    with pytest.raises(RegistryError, match=rf"{said}.* Next: "):
        client(registry.url).get("/schemas/ids/1", until())


@pytest.mark.parametrize(("status", "why"), [(404, "unknown to it"), (403, "not for our user")])
def test_one_schema_that_is_not_given_is_the_events_fault(registry: Registry, status: int, why: str) -> None:
    """The registry answers otherwise, so no event can stop the stream by naming a schema that nobody may read."""
    registry.override = lambda path: (status, b"<html>") if path.startswith("/schemas/guids/") else None
    assert client(registry.url).get("/schemas/guids/x", until()) == NotGiven(why=why)


def test_an_answer_without_an_end_is_cut(registry: Registry) -> None:
    """No more is read than the largest schema has; what answers so to everything is no registry."""
    registry.override = lambda path: (200, b" " * (MOST_BYTES + 1)) if "ids" in path else None
    assert isinstance(client(registry.url).get("/schemas/ids/1", until()), NotGiven)
    registry.override = lambda _: (200, b" " * (MOST_BYTES + 1))
    with pytest.raises(RegistryError, match="not as a Schema Registry does"):
        client(registry.url).get("/schemas/ids/1", until())


TRICKLES = {
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "one header": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "a body": (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
    "the size of a part": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
}


@pytest.mark.parametrize("name", TRICKLES)
def test_a_byte_now_and_then_holds_nobody(registry: Registry, name: str) -> None:
    """Each read ends in time and the answer never does: the whole is bounded, and another address is asked after it."""
    registry.register("s", AVRO)
    with trickling(*TRICKLES[name]) as slow:
        with pytest.raises(RegistryError, match=r"gives no answer in time .*the answer does not end.* Next: "):
            client(slow).types(until(SHORT_SECONDS))
        assert not isinstance(client(slow, registry.url).get("/schemas/ids/1", until()), NotGiven)


def test_an_answer_that_breaks_off_is_asked_again(registry: Registry) -> None:
    """It promises more bytes than it has: no schema, and no other kind of answer either; the second one is whole."""
    registry.register("s", AVRO)
    registry.cut = lambda: len(registry.asked) < 2
    assert not isinstance(client(registry.url).get("/schemas/ids/1", until()), NotGiven)
    assert len(registry.asked) == 2


def test_a_redirect_is_not_followed(registry: Registry) -> None:
    """Not to another host, which would get the password, not to a file and not in a circle; the place is said without its query."""
    registry.register("s", AVRO)
    with serving(Registry()) as moved:
        moved.override = lambda _: (302, b"")
        for place in (registry.url, "file:///etc/hostname", f"{moved.url}/schemas/ids/1"):
            moved.headers["Location"] = f"{place}?token=secret"
            with pytest.raises(RegistryError, match=f"a redirect to '{place}', and not as a Schema Registry") as caught:
                client(moved.url).get("/schemas/ids/1", until())
            assert "secret" not in str(caught.value)
        assert registry.asked == []
        assert not isinstance(client(moved.url, registry.url).get("/schemas/ids/1", until()), NotGiven)


def test_an_answer_without_a_schema_is_the_events_fault_only_if_a_registry_gave_it(registry: Registry) -> None:
    """A proxy that answers `{}` to everything is no registry, and no event is blamed for it."""
    registry.override = lambda path: (200, b"{}") if "ids" in path else None
    found = schemas(registry).readers([1])[1]
    assert isinstance(found, Refusal)
    assert found.reason is Reason.UNKNOWN_SCHEMA
    registry.override = lambda _: (200, b"{}")
    with pytest.raises(RegistryError, match="not as a Schema Registry does"):
        schemas(registry).readers([1])


def test_a_user_signs_in_and_the_password_is_not_printed(registry: Registry, tmp_path: Path) -> None:
    """HTTP Basic, with the password of a file; a wrong one is said without it."""
    registry.user = f"w:{SECRET}"
    registry.register("s", AVRO)
    path = tmp_path / "password"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    asked = client(registry.url, username="w", password_file=path)
    assert not isinstance(asked.get("/schemas/ids/1", until()), NotGiven)
    assert asked.types(until()) == ["JSON", "PROTOBUF", "AVRO"]
    path.write_text("another")
    with pytest.raises(RegistryError, match=r"refuses user 'w' \(status 401\)") as caught:
        client(registry.url, username="w", password_file=path).types(until())
    assert "another" not in str(caught.value)
    with pytest.raises(SecurityError, match=r"schema_registry\.password_file .* Next: "):
        client(registry.url, username="w", password_file=tmp_path / "absent")


def test_a_certificate_is_always_verified(tmp_path: Path) -> None:
    """There is no switch for it; a file without a certificate is refused as the client is made."""
    asked = client("https://127.0.0.1:1")
    assert asked._tls is not None
    assert asked._tls.verify_mode is ssl.CERT_REQUIRED
    (tmp_path / "ca").write_text("no certificate")
    with pytest.raises(SecurityError, match=r"schema_registry\.ca_file .* Next: "):
        client("https://127.0.0.1:1", ca_file=tmp_path / "ca")


def test_an_unknown_schema_is_asked_for_again_after_a_while(registry: Registry) -> None:
    """Until then it is remembered: events that name nothing do not become as many requests."""
    now = [0.0]
    known = schemas(registry, monotonic=lambda: now[0])
    for _ in range(3):
        assert isinstance(known.readers([1])[1], Refusal)
    # The second request asks whether it is a registry at all.
    assert registry.asked == ["/schemas/ids/1", "/schemas/types"]
    # Soon the first time, since a registry's copies are behind each other for seconds; then seldom.
    now[0] = FIRST_UNKNOWN_SECONDS
    registry.asked.clear()
    for _ in range(3):
        assert isinstance(known.readers([1])[1], Refusal)
    assert registry.asked == ["/schemas/ids/1", "/schemas/types"]
    registry.register("s", AVRO)
    now[0] += UNKNOWN_SECONDS - 1
    assert isinstance(known.readers([1])[1], Refusal)
    now[0] += 1
    assert not isinstance(known.readers([1])[1], Refusal)


def test_memory_is_bounded_and_unknown_names_push_out_no_schema(registry: Registry) -> None:
    """So many schemas are kept, the last ones used; names of none are kept apart, and bounded too."""
    first, second, third = (registry.register("s", AVRO.replace("E", name)) for name in ("A", "B", "C"))
    known = schemas(registry, most=2)
    known.readers([first, second])
    known.readers(range(1000, 1010))
    registry.asked.clear()
    known.readers([first])
    known.readers([third])
    known.readers([first])
    assert registry.asked == [f"/schemas/ids/{third}"]
    known.readers([second])
    assert registry.asked == [f"/schemas/ids/{third}", f"/schemas/ids/{second}"]
    assert len(known._known._kept) == len(known._refused._kept) == 2


def test_many_names_are_asked_for_at_once_and_within_one_bound(registry: Registry) -> None:
    """A batch whose events name many schemas waits once; what is not answered then is an exception."""
    found = schemas(registry).readers(range(1, 5 * REQUESTS_AT_ONCE))
    assert all(isinstance(one, Refusal) for one in found.values())
    registry.override = lambda _: (503, b"{}")
    with pytest.raises(RegistryError):
        schemas(registry, seconds=SHORT_SECONDS).readers(range(1, 5 * REQUESTS_AT_ONCE))


def test_names_that_nobody_has_are_one_request_each(registry: Registry) -> None:
    """One batch asks once whether this is a registry, not for each of them."""
    schemas(registry).readers(range(1, 50))
    assert sorted(registry.asked) == sorted(["/schemas/types", *(f"/schemas/ids/{number}" for number in range(1, 50))])


def test_what_was_fetched_is_kept_though_the_bound_was_missed(registry: Registry) -> None:
    """The next call asks for the rest alone; else a batch of many names would miss the bound for ever."""
    first = registry.register("s", AVRO)
    now = [0.0]
    known = schemas(registry, seconds=SHORT_SECONDS, monotonic=lambda: now[0])
    registry.override = lambda path: (503, b"{}") if path == "/schemas/ids/3" else None
    with pytest.raises(RegistryError, match="answers with status 503"):
        known.readers([first, 2, 3])
    registry.override = lambda _: None
    registry.asked.clear()
    # A worker tries again after a pause.
    now[0] = FIRST_UNKNOWN_SECONDS
    assert [isinstance(one, Refusal) for one in known.readers([first, 2, 3]).values()] == [False, True, True]
    assert registry.asked == ["/schemas/ids/3", "/schemas/types"]


def reference(subject: str) -> dict[str, Any]:
    """A reference to the first version of a subject."""
    return {"name": subject, "subject": subject, "version": 1}


def test_a_schema_may_refer_to_others(registry: Registry) -> None:
    """They are fetched with it, those that others need first."""
    inner = '{"type": "record", "name": "Inner", "fields": [{"name": "title", "type": "string"}]}'
    middle = '{"type": "record", "name": "Middle", "fields": [{"name": "inner", "type": "Inner"}]}'
    outer = '{"type": "record", "name": "Outer", "fields": [{"name": "m", "type": "Middle"}, {"name": "i", "type": "Inner"}]}'
    registry.register("a/inner", inner)
    registry.register("middle", middle, references=[reference("a/inner")])
    number = registry.register("outer", outer, references=[reference("middle"), reference("a/inner")])
    read = schemas(registry).readers([number])[number]
    assert not isinstance(read, Refusal)
    assert json.loads(read(b"\4Hi\4Ho")) == {"m": {"inner": {"title": "Hi"}}, "i": {"title": "Ho"}}


@pytest.mark.parametrize(
    "given",
    [
        lambda registry: registry.register("s", AVRO, references=[reference("nowhere")]),
        lambda registry: registry.register("s", AVRO, references=[reference("s")]),
        lambda registry: registry.register("s", AVRO, references=["s"]),  # type: ignore[list-item]
        lambda registry: registry.register("s", "no schema"),
        lambda registry: registry.register("s", "{}", "OTHER"),
    ],
    ids=["a reference to nowhere", "a circle", "no object", "no schema", "another type"],
)
def test_a_schema_that_cannot_be_read_is_the_events_fault(registry: Registry, given: Callable[[Registry], int]) -> None:
    """It has a code of its own; the circle ends, and its schema is read without it."""
    number = given(registry)
    found = schemas(registry).readers([number])[number]
    if isinstance(found, Refusal):
        assert found.reason is Reason.UNSUPPORTED_SCHEMA
    else:
        assert found(b"\4Hi") == b'{"title":"Hi"}'


def test_a_registry_that_comes_back_is_asked_at_its_address() -> None:
    """A failure is not kept."""
    registry, [port] = Registry(), free_ports(1)
    registry.register("s", AVRO)
    registry.url = f"http://127.0.0.1:{port}"
    known = schemas(registry, seconds=SHORT_SECONDS)
    with pytest.raises(RegistryError):
        known.readers([1])
    with serving(registry, port):
        assert not isinstance(schemas(registry).readers([1])[1], Refusal)
        assert not isinstance(known.readers([1])[1], Refusal)
