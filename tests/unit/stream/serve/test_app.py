"""The service: the objects of `classify --json`, refusals with sentences, health and the page."""

import asyncio
import json
import threading
from collections.abc import Sequence
from http import HTTPStatus

import httpx
import pytest

from tagstream.model_export.data.reader import InputRow
from tagstream.monitoring.observer import NullObserver
from tagstream.stream.batch.run import decided
from tagstream.stream.contract.event import Record
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.kafka.errors import BrokerAbsentError
from tagstream.stream.kafka.producer import RecordTooLargeError, UndeliveredError
from tagstream.stream.serve.app import MAX_BODY_BYTES
from tagstream.stream.settings.secret_files import SecurityError
from tests.fakes import deciding
from tests.unit.stream.serve.conftest import MOST_WAITING, Broker, Served, ask, run, without_clock
from tests.waiting import HANG_SECONDS, until

EVENTS = [
    b'{"id": 6, "title": "A translation of texts", "views": 12345678901234567890}',
    b'{"title": "maybe an image", "description": "of a cat"}',
    b'{"id": "no title"}',
    b'{"title": "NaN", "x": NaN}',
]


def by_classify(events: list[bytes]) -> list[bytes]:
    """The lines of `classify --json`."""
    pipeline = Pipeline(decider=deciding(), observer=NullObserver())
    return [found.answer for found in decided(pipeline, [InputRow(line, event) for line, event in enumerate(events, start=1)])]


def test_an_array_is_answered_by_the_lines_of_classify() -> None:
    """Byte by byte but for the clock: decisions, numbers beyond a float, and rejections in their place."""
    found = ask("POST", "/classify", content=b"[%b]" % b" ,\n".join(EVENTS[:3]))
    assert found.status_code == 200
    lines = by_classify(EVENTS[:3])
    assert found.content.count(b"12345678901234567890") == 1
    answers = json.loads(found.content)
    assert [one["destination"] for one in answers] == ["tagged", "review", "dlq"]
    for line in lines:
        assert without_clock(line) in found.content
    assert lines[2] in found.content


@pytest.mark.parametrize(
    ("event", "status"), [(EVENTS[0], 200), (EVENTS[1], 200), (EVENTS[2], 422), (EVENTS[3], 422), (b"", 422)]
)
def test_one_event_is_answered_by_one_object(event: bytes, status: int) -> None:
    """A rejected one by its reason, with a status that a client sees."""
    found = ask("POST", "/classify", content=event)
    assert found.status_code == status
    assert without_clock(found.content) == without_clock(by_classify([event])[0])


def test_an_empty_array_has_no_answers() -> None:
    """That is no error: nothing was asked."""
    assert ask("POST", "/classify", content=b" [ ] ").json() == []


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"[", 400),
        (b"[1,]", 400),
        (b"[" * 100_000, 400),
        (b'[{"title": "a"}' + b', {"title": "a"}' * MOST_WAITING + b"]", 413),
        (b" " * (MAX_BODY_BYTES + 1), 413),
    ],
    ids=["an open array", "half an element", "too deep", "too many rows", "too large"],
)
def test_what_is_no_request_is_refused_with_a_sentence(content: bytes, status: int) -> None:
    """The sentence ends with the next step."""
    found = ask("POST", "/classify", content=content)
    assert found.status_code == status
    assert "Next: " in found.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/nothing", {}, 404),
        ("GET", "/classify", {}, 405),
        ("POST", "/classify?publish=perhaps", {}, 400),
        ("POST", "/classify", {"Content-Encoding": "gzip"}, 415),
        ("POST", "/classify", {"Host": "evil.example"}, 421),
        ("POST", "/classify", {"Origin": "https://evil.example"}, 403),
        ("POST", "/classify", {"Accept": "text/html"}, 406),
        ("POST", "/classify", {"Accept": "application/json;q=0, */*"}, 406),
    ],
)
def test_every_refusal_is_one_object(method: str, path: str, headers: dict[str, str], status: int) -> None:
    """A problem by RFC 9457."""
    found = ask(method, path, headers=headers, content=b"{}" if method == "POST" else b"")
    assert found.status_code == status
    assert found.headers["content-type"] == "application/problem+json"
    assert list(found.json()) == ["title", "status", "detail"]
    assert (found.json()["title"], found.json()["status"]) == (HTTPStatus(status).phrase, status)
    assert "Next: " in found.json()["detail"]
    assert ("allow" in found.headers) == (status == 405)


@pytest.mark.parametrize("accept", ["", "*/*", "text/html, application/*;q=0.1", "application/json; charset=utf-8"])
def test_an_answer_that_its_client_takes_is_given(accept: str) -> None:
    """Health is given whatever is asked for, since a probe that fails ends the process."""
    headers = {"Accept": accept}
    assert ask("POST", "/classify", headers=headers, content=EVENTS[0]).status_code == 200
    for path in ("/healthz", "/readyz", "/metrics"):
        assert ask("GET", path, headers={"Accept": "image/png"}).status_code == 200


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/healthz", "alive"),
        ("/readyz", "ready"),
        ("/docs", "curl http://127.0.0.1:8091/classify"),
        ("/", "classify"),
        ("/docs.css", "font"),
        ("/metrics", "tagstream_http_requests_total"),
    ],
)
def test_what_can_be_read(path: str, part: str) -> None:
    """Health, the page and the metrics."""
    found = ask("GET", path)
    assert found.status_code == 200
    assert part in found.text


def test_readiness_says_that_a_rollout_is_not_known_and_not_why() -> None:
    """The service takes requests all the same."""
    found = ask("GET", "/readyz", {"unknown": "no broker at 10.0.0.7:9092"})
    assert (found.status_code, found.text) == (200, "ready\nit is not known whether the model was changed; m 1 decides\n")
    assert ask("GET", "/readyz").text == "ready\n"


def test_the_page_has_every_path_and_loads_nothing_from_elsewhere() -> None:
    """Its policy forbids it, and no link leads out."""

    async def scenario(service: Served) -> tuple[str, dict[str, object]]:
        return (await service.client.get("/docs")).text, (await service.client.get("/openapi.json")).json()["paths"]

    page, paths = run(scenario)
    assert all(path in page for path in paths)
    assert "http://" not in page.replace("http://127.0.0.1:8091", "")
    assert "https://" not in page


def test_published_events_go_to_the_topic_as_they_came() -> None:
    """The same bytes, with the trace that the request carries; a rejected one is not sent."""

    async def scenario(service: Served) -> tuple[httpx.Response, Broker]:
        content = b"[%b]" % b",".join(EVENTS[:3])
        found = await service.client.post("/classify?publish=true", content=content, headers={"traceparent": "00-a-b-01"})
        return found, service.broker

    found, broker = run(scenario)
    assert (found.status_code, found.headers["tagstream-published"]) == (200, "2")
    assert [record.value for record in broker.records] == EVENTS[:2]
    assert {(record.topic, record.key, record.headers) for record in broker.records} == {
        ("content", None, (("traceparent", b"00-a-b-01"),))
    }


@pytest.mark.parametrize(
    ("broker", "status", "part"),
    [
        (Broker(word=UndeliveredError("no word")), 503, "not confirmed 1 of 1 events (no word)"),
        (Broker(word=RecordTooLargeError("large")), 413, "too large for the topic content"),
        (Broker(raises=SecurityError("the file ca.pem is missing. Next: put it there")), 503, "(the file ca.pem is missing.)"),
        (Broker(raises=BrokerAbsentError("nothing listens at x:1. Next: start it")), 503, "(nothing listens at x:1.)"),
    ],
)
def test_an_event_without_the_brokers_word_is_no_success(broker: Broker, status: int, part: str) -> None:
    """The client is told, and may send it again: the same event gets the same decision."""
    found = ask("POST", "/classify?publish=true", {"broker": broker}, content=EVENTS[0])
    assert found.status_code == status
    assert part in found.json()["detail"]


def test_a_broker_that_comes_back_is_used() -> None:
    """The producer is made anew at the next request."""

    async def scenario(service: Served) -> list[int]:
        found = [await service.client.post("/classify?publish=true", content=EVENTS[0])]
        service.broker.raises = None
        found.append(await service.client.post("/classify?publish=true", content=EVENTS[0]))
        return [one.status_code for one in found]

    assert run(scenario, broker=Broker(raises=BrokerAbsentError("away"))) == [503, 200]


def test_a_client_of_the_broker_that_breaks_ends_the_service() -> None:
    """An unknown error is no state to go on in: who asked, who waits and who asks later get 503, and the owner ends the process."""
    entered, free = threading.Event(), threading.Event()

    class Breaks(Broker):
        def deliver(self, records: Sequence[Record]) -> list[UndeliveredError | None]:
            entered.set()
            assert free.wait(HANG_SECONDS)
            msg = f"a bug with {len(records)}"
            raise ZeroDivisionError(msg)

    async def scenario(service: Served) -> tuple[BaseException | None, list[int]]:
        waiting = [asyncio.create_task(service.client.post("/classify?publish=true", content=EVENTS[0]))]
        assert await asyncio.to_thread(entered.wait, HANG_SECONDS)
        waiting.append(asyncio.create_task(service.client.post("/classify?publish=true", content=EVENTS[0])))
        # It is decided, and then waits for the broker.
        await asyncio.to_thread(
            until, lambda: b'rows_total{destination="tagged"} 2.0' in service.metrics.text(), "it is decided"
        )
        free.set()
        found = [(await one).status_code for one in waiting]
        found.append((await service.client.post("/classify?publish=true", content=EVENTS[0])).status_code)
        return service.answering.broken, [*found, (await service.client.get("/readyz")).status_code]

    broken, statuses = run(scenario, broker=Breaks())
    assert isinstance(broken, ZeroDivisionError)
    assert statuses == [503] * 4


def test_requests_and_rows_are_counted() -> None:
    """By face and status, and by destination."""

    async def scenario(service: Served) -> str:
        await service.client.post("/classify?publish=true", content=b"[%b]" % b",".join(EVENTS[:3]))
        await service.client.post("/classify", content=b"[")
        return service.metrics.text().decode()

    found = run(scenario)
    for line in (
        'tagstream_http_requests_total{door="classify",status="200"} 1.0',
        'tagstream_http_requests_total{door="classify",status="400"} 1.0',
        'tagstream_http_rows_total{destination="tagged"} 1.0',
        'tagstream_http_rows_total{destination="review"} 1.0',
        'tagstream_http_rows_total{destination="dlq"} 1.0',
        "tagstream_http_waiting_rows 0.0",
    ):
        assert line in found
