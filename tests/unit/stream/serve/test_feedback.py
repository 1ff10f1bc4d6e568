"""`POST /feedback`: a signed answer goes to `reports` once; whatever else comes gets a sentence, and nothing is written."""

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagstream.stream.contract.asking import DAY_MS, AskKeys, viewer_of
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.reports import Report, read_report
from tagstream.stream.kafka.errors import BrokerAbsentError
from tagstream.stream.kafka.producer import UndeliveredError
from tagstream.stream.serve.faces.votes import Vote
from tagstream.stream.serve.feedback import (
    MAX_BODY_BYTES,
    MOST_DAYS,
    MOST_KNOWN,
    OF_A_TOKEN,
    OF_ALL,
    OF_AN_ADDRESS,
    Allowance,
    Feedback,
)
from tests.fakes import LABELS
from tests.unit.stream.serve.conftest import Broker, Served, ask, run
from tests.waiting import HANG_SECONDS

KEYS = AskKeys((b"k" * 32, b"o" * 32))
EVENT, DECISION, OTHER_DECISION = "e-1", "56cf42d5-89f5-55af-a5d8-1add448c8a2b", "8e45d1f9-a147-5944-9a2d-1255e85c5bc0"
NOW = 1_700_000_000.0
TODAY = int(NOW * 1000) // DAY_MS
SITE = "https://news.example"


async def nowhere(_records: Sequence[Record]) -> None:
    """Replaced by the service's own queue."""
    raise AssertionError


def feedback(**parts: Any) -> Feedback:
    """What takes answers, with these parts."""
    return Feedback(**{"keys": KEYS, "labels": lambda: LABELS, "publish": nowhere, "clock": lambda: NOW} | parts)


def vote(day: int = TODAY, keys: AskKeys = KEYS, **changed: Any) -> dict[str, Any]:
    """The answer of a viewer; None leaves a field out."""
    event_id, decision = changed.get("event_id", EVENT), changed.get("prediction_id", DECISION)
    signed = {"event_id": event_id, "prediction_id": decision, "token": keys.token(str(event_id), str(decision), day)}
    return {name: value for name, value in (signed | {"mark": "m-1", "answer": "no"} | changed).items() if value is not None}


def posted(
    *votes: dict[str, Any], headers: dict[str, str] | None = None, **parts: Any
) -> tuple[list[httpx.Response], list[Report]]:
    """The answers to these votes one after the other, and what is on `reports`."""

    async def scenario(service: Served) -> tuple[list[httpx.Response], list[Report]]:
        answers = [await service.client.post("/feedback", json=one, headers=headers) for one in votes]
        return answers, written(service.broker)

    return run(scenario, feedback=feedback(**parts.pop("feedback", {})), **parts)


def written(broker: Broker) -> list[Report]:
    """The reports that the broker has; each has its event's id as its key."""
    found = [read_report(record) for record in broker.records]
    assert all(record.topic == "reports" for record in broker.records)
    assert [record.key for record in broker.records] == [one.event_id.encode() for one in found if isinstance(one, Report)]
    return [one for one in found if isinstance(one, Report)]


def test_an_answer_is_on_reports_when_it_is_taken() -> None:
    """With a digest of the mark and not the mark, the decision, the time, and the suggested tag; without anything else of the viewer."""
    [found], [report] = posted(vote(suggested_tag="mlops"))
    assert found.status_code == 202
    assert report == Report(
        event_id=EVENT,
        suggested_tag="mlops",
        reported_at="2023-11-14T22:13:20.000Z",
        prediction_id=DECISION,
        viewer=viewer_of(KEYS.keys[0], DECISION, "m-1"),
        answer="no",
    )


def test_a_viewers_repeated_answer_is_written_once_and_a_new_one_again() -> None:
    """Another mark is another viewer, and another decision another question."""
    votes = [vote(), vote(), vote(answer="yes"), vote(answer="yes"), vote(mark="m-2"), vote(prediction_id=OTHER_DECISION)]
    found, reports = posted(*votes)
    assert [one.status_code for one in found] == [202, 200, 202, 200, 202, 202]
    assert [one.answer for one in reports] == ["no", "yes", "no", "no"]
    assert len({(one.prediction_id, one.viewer) for one in reports}) == 3


def test_a_key_that_signs_no_more_is_still_accepted() -> None:
    """And the viewer's digest is of that key, so that a change of keys makes no new viewer."""
    [found], [report] = posted(vote(keys=AskKeys(KEYS.keys[1:])))
    assert found.status_code == 202
    assert report.viewer == viewer_of(KEYS.keys[1], DECISION, "m-1")


GOOD = vote()
BAD: dict[str, tuple[dict[str, Any], int, str]] = {
    "a token of another key": (vote(keys=AskKeys((b"x" * 32,))), 403, "its key is no longer accepted"),
    "a token of another event": (GOOD | {"event_id": "e-2"}, 403, "not made for this event"),
    "a token of another decision": (GOOD | {"prediction_id": OTHER_DECISION}, 403, "not made for this event"),
    "an invented token": (GOOD | {"token": "A" * 24}, 403, "not made for this event"),
    "an old token with a new day": (
        GOOD | {"token": KEYS.token(EVENT, DECISION, TODAY)[:3] + GOOD["token"][3:-1] + "A"},
        403,
        "token",
    ),
    "a stale token": (vote(day=TODAY - MOST_DAYS - 1), 410, f"older than {MOST_DAYS} days"),
    "a label that is none": (vote(suggested_tag="no such label"), 422, f"Next: send one of {LABELS[0]}"),
    "yes and another tag": (vote(answer="yes", suggested_tag=LABELS[0]), 422, "leave it out"),
    "perhaps": (vote(answer="perhaps"), 422, "answer as yes or no"),
    "no mark": (vote(mark=None), 422, "mark"),
    "a blank mark": (vote(mark=" "), 422, "blank"),
    "a mark that is an essay": (vote(mark="m" * 101), 422, "mark"),
    "a token that is none": (GOOD | {"token": "t"}, 422, "token"),
    "an unknown field": (GOOD | {"email": "a@b.example"}, 422, "email"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_answer_gets_a_sentence_and_is_not_written(bad: str) -> None:
    """The sentence says what, why and the next step; a good answer after it counts."""
    given_, status, said = BAD[bad]
    [refused, taken], reports = posted(given_, vote())
    assert refused.status_code == status, refused.text
    assert said in refused.json()["detail"]
    assert "Next: " in refused.json()["detail"]
    assert taken.status_code == 202
    assert len(reports) == 1


def test_a_token_of_the_last_day_counts() -> None:
    """And so does one of tomorrow, of a producer whose clock is ahead."""
    found, reports = posted(vote(day=TODAY - MOST_DAYS), vote(day=TODAY + 1, mark="m-2"))
    assert [one.status_code for one in found] == [202, 202]
    assert len(reports) == 2


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[" * 8000, "application/json", 422),
        (b"\xff", "application/json", 400),
        (b"[]", "application/json", 422),
        (b"null", "application/json", 422),
        (b" " * (MAX_BODY_BYTES + 1), "application/json", 413),
        (json.dumps(GOOD).encode(), "text/plain", 415),
        (b"event_id=e-1", "application/x-www-form-urlencoded", 415),
        (json.dumps(GOOD | {"mark": "\ud800"}).encode(), "application/json", 400),
    ],
)
def test_what_is_no_answer_is_refused_with_a_sentence(content: bytes, kind: str, status: int) -> None:
    """A body of any form and size."""
    found = ask("POST", "/feedback", {"feedback": feedback()}, content=content, headers={"Content-Type": kind})
    assert found.status_code == status
    assert "Next: " in found.json()["detail"]


def flooded(count: int, one: Callable[[int], dict[str, Any]], address: Callable[[int], str]) -> list[httpx.Response]:
    """The last answers, after `count` ones of other viewers."""

    async def scenario(service: Served) -> list[httpx.Response]:
        found = [
            await service.client.post("/feedback", json=one(number), headers={"X-Forwarded-For": f"6.6.6.6, {address(number)}"})
            for number in range(count + 1)
        ]
        assert len(written(service.broker)) == count
        return found

    return run(scenario, feedback=feedback(behind_proxy=True))


def test_a_flood_from_one_address_is_refused_and_another_address_is_not() -> None:
    """The address that the proxy saw counts, not an invented one; of IPv6 the first half."""
    found = flooded(
        OF_AN_ADDRESS, lambda number: vote(event_id=f"e-{number}", mark=f"m-{number}"), lambda number: f"2001:db8::{number:x}"
    )
    assert {one.status_code for one in found[:-1]} == {202}
    assert found[-1].status_code == 429
    assert int(found[-1].headers["retry-after"]) <= 3600
    assert "from this address" in found[-1].json()["detail"]


def test_a_line_that_the_proxy_adds_counts_and_not_the_clients_line_above() -> None:
    """Some proxies do not add to the header's line but write another one."""

    async def scenario(service: Served) -> list[int]:
        return [
            (
                await service.client.post(
                    "/feedback",
                    json=vote(event_id=f"e-{number}", mark=f"m-{number}"),
                    headers=[("X-Forwarded-For", f"192.0.2.{number}"), ("X-Forwarded-For", "198.51.100.7")],
                )
            ).status_code
            for number in range(OF_AN_ADDRESS + 1)
        ]

    assert run(scenario, feedback=feedback(behind_proxy=True)) == [202] * OF_AN_ADDRESS + [429]


def test_a_flood_with_one_token_is_refused_whatever_its_addresses() -> None:
    """Each comes from another address and has another mark."""
    found = flooded(OF_A_TOKEN, lambda number: vote(mark=f"m-{number}"), lambda number: f"192.0.{number // 250}.{number % 250}")
    assert {one.status_code for one in found[:-1]} == {202}
    assert found[-1].status_code == 429
    assert "This decision has" in found[-1].json()["detail"]


def test_the_counts_are_bounded_and_begin_anew_each_hour() -> None:
    """More than the total of an hour is refused and does not count, so memory does not grow with a flood."""
    now = [NOW]
    allowance = Allowance(lambda: now[0])

    def admitted(count: int) -> int:
        taken = 0
        for number in range(count):
            try:
                allowance.admit(f"t-{number}", f"a-{number}")
            except Exception as error:  # noqa: BLE001
                assert getattr(error, "status", None) == 429  # noqa: PT017
            else:
                taken += 1
        return taken

    assert admitted(OF_ALL + 5_000) == OF_ALL
    assert len(allowance._taken) == 2 * OF_ALL + 1
    now[0] += 3600
    assert admitted(1) == 1
    assert len(allowance._taken) == 3


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),
        ({"Origin": SITE}, 202),
        ({"Origin": SITE, "Sec-Fetch-Site": "cross-site"}, 202),
        ({"Origin": "http://127.0.0.1:8091", "Sec-Fetch-Site": "same-origin"}, 202),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
    ],
)
def test_only_pages_of_named_sites_may_answer(headers: dict[str, str], status: int) -> None:
    """And of the service itself, and a site's server, which sends no origin. A page of a named site may read the answer."""
    [found], reports = posted(vote(), headers=headers, feedback={"origins": [SITE]})
    assert found.status_code == status
    assert len(reports) == (status == 202)
    assert found.headers.get("access-control-allow-origin") == (headers.get("Origin") if status == 202 else None)


def test_a_browser_is_told_which_site_may_answer() -> None:
    """The question before a page's first answer (CORS preflight)."""
    parts = {"feedback": feedback(origins=[SITE])}
    allowed, refused = (
        ask("OPTIONS", "/feedback", dict(parts), headers={"Origin": origin}) for origin in (SITE, "https://evil.example")
    )
    assert (allowed.status_code, allowed.headers["access-control-allow-headers"]) == (204, "content-type")
    assert refused.status_code == 403


def test_another_method_is_told_which_ones_there_are() -> None:
    """A page's developer who opens the address in a browser reads POST in `Allow`."""
    found = ask("GET", "/feedback", {"feedback": feedback()})
    assert (found.status_code, {*found.headers["allow"].split(", ")}) == (405, {"OPTIONS", "POST"})


@pytest.mark.parametrize(("bad", "status"), [(vote(day=0), 410), (vote(mark="m" * MAX_BODY_BYTES), 413)])
def test_a_refusal_can_be_read_by_the_page(bad: dict[str, Any], status: int) -> None:
    """Otherwise its viewer would see that something failed, and not what; the guard's refusals are no exception."""
    [found], _ = posted(bad, headers={"Origin": SITE}, feedback={"origins": [SITE]})
    assert (found.status_code, found.headers.get_list("access-control-allow-origin")) == (status, [SITE])


def test_viewers_need_no_token_of_the_service_and_reach_nothing_else() -> None:
    """The token guards every other path."""

    async def scenario(service: Served) -> list[int]:
        answers = [await service.client.post(path, json=vote()) for path in ("/feedback", "/classify")]
        return [one.status_code for one in answers]

    assert run(scenario, feedback=feedback(), token="t" * 16) == [202, 401]


def test_the_path_is_described_and_its_answers_are_counted() -> None:
    """A client generator finds it, and an operator sees how many votes come and how they end."""

    async def scenario(service: Served) -> tuple[dict[str, Any], str]:
        for one in (vote(), vote(), vote(day=0)):
            await service.client.post("/feedback", json=one)
        await service.client.options("/feedback", headers={"Origin": SITE})
        return (await service.client.get("/openapi.json")).json(), service.metrics.text().decode()

    document, counted = run(scenario, feedback=feedback(origins=[SITE]))
    described = document["paths"]["/feedback"]["post"]
    assert set(described["responses"]) >= {"200", "202", "403", "410", "422", "429", "503"}
    msgspec.convert(described["requestBody"]["content"]["application/json"]["example"], Vote)
    assert set(document["components"]["schemas"]["Vote"]["properties"]) == set(Vote.__struct_fields__)
    for status in (200, 202, 204, 410):
        assert f'tagstream_http_requests_total{{door="feedback",status="{status}"}} 1.0' in counted


def test_without_keys_there_is_no_such_path() -> None:
    """The service is as it was."""
    assert ask("POST", "/feedback", json=vote()).status_code == 404
    assert "/feedback" not in ask("GET", "/openapi.json").json()["paths"]


@pytest.mark.parametrize(
    "broker", [Broker(word=UndeliveredError("no word")), Broker(raises=BrokerAbsentError("no broker. Next: start one"))]
)
def test_an_answer_that_the_broker_has_not_confirmed_is_503_and_may_be_sent_again(broker: Broker) -> None:
    """It is not remembered as taken."""

    async def scenario(service: Served) -> list[httpx.Response]:
        found = [await service.client.post("/feedback", json=vote())]
        service.broker.word = service.broker.raises = None
        return [*found, await service.client.post("/feedback", json=vote())]

    first, second = run(scenario, feedback=feedback(), broker=broker)
    assert (first.status_code, second.status_code) == (503, 202)
    assert "Next: send it again" in first.json()["detail"]
    assert first.headers["retry-after"]


def test_two_clicks_at_once_are_written_once() -> None:
    """The second waits for the word on the first."""

    async def scenario(service: Served) -> list[int]:
        answers = await asyncio.gather(*(service.client.post("/feedback", json=vote()) for _ in range(5)))
        assert len(written(service.broker)) == 1
        return sorted(one.status_code for one in answers)

    assert run(scenario, feedback=feedback()) == [200, 200, 200, 200, 202]


def test_a_viewer_who_leaves_is_counted_all_the_same() -> None:
    """The page was closed while the broker confirmed: the answer is written once, and a repeated one finds it."""
    free = threading.Event()

    class Slow(Broker):
        def deliver(self, records: Sequence[Record]) -> list[UndeliveredError | None]:
            assert free.wait(HANG_SECONDS)
            return super().deliver(records)

    async def scenario(service: Served) -> int:
        first = asyncio.create_task(service.client.post("/feedback", json=vote()))
        await asyncio.sleep(0.05)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        free.set()
        again = await service.client.post("/feedback", json=vote())
        assert len(written(service.broker)) == 1
        return again.status_code

    assert run(scenario, feedback=feedback(), broker=Slow()) == 200


def test_what_is_remembered_of_answers_is_bounded() -> None:
    """The oldest one is forgotten; if it comes again, the console counts it once."""

    async def publish(_records: Sequence[Record]) -> None:
        """Confirm at once."""

    async def scenario() -> int:
        taking = feedback(publish=publish)
        taking._allowance.admit = lambda _token, _address: None  # type: ignore[method-assign]
        for number in range(MOST_KNOWN + 3):
            await taking.take(_struct(vote(mark=f"m-{number}")), "")
        return len(taking._known)

    assert asyncio.run(scenario()) == MOST_KNOWN


def _struct(given_: dict[str, Any]) -> Vote:
    return Vote(**given_)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
NEARLY = st.fixed_dictionaries({}, optional={name: ANYTHING | st.just(value) for name, value in GOOD.items()}).map(
    lambda given_: json.dumps(given_).encode()
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(max_size=200) | NEARLY | ANYTHING.map(lambda value: json.dumps(value).encode()), min_size=1, max_size=10)
)
def test_any_body_gets_an_answer_and_only_a_signed_one_is_written(bodies: list[bytes]) -> None:
    """Never a 500, and never a report without a token."""

    async def scenario(service: Served) -> list[int]:
        kind = {"Content-Type": "application/json"}
        found = [(await service.client.post("/feedback", content=body, headers=kind)).status_code for body in bodies]
        assert all(one.event_id == EVENT for one in written(service.broker))
        return found

    assert set(run(scenario, feedback=feedback())) <= {200, 202, 400, 403, 422}
