"""`--table`: answers from a table first, marked as such; what is stale, or on another text, is decided anew."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tagstream.monitoring.observer import NullObserver
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import ModelRef
from tagstream.stream.database.database import DatabaseUnavailableError
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.serve.table_answers import PAUSE_SECONDS, TableAnswers
from tagstream.stream.tables.predictions import Predictions, open_predictions
from tagstream.stream.tables.row import PredictionRow, hash_of_text, row_of
from tests.fakes import deciding
from tests.replacing import replace
from tests.unit.stream.serve.conftest import Served, ask, run, without_clock
from tests.waiting import HANG_SECONDS

EVENT = b'{"id":"a","title":"An image","n":1.50}'
SAME_TEXT = b'{"id":"b","title":"An image"}'
PIPELINE = Pipeline(decider=deciding(), observer=NullObserver())


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Predictions]:
    """A table with the decision on `EVENT`."""
    with open_predictions(f"sqlite:///{tmp_path}/table.db") as made:
        made.upsert([row_of_event(EVENT)])
        yield made


def row_of_event(event: bytes, pipeline: Pipeline = PIPELINE) -> PredictionRow:
    """The row of an event's decision."""
    (publication,) = pipeline.publications([Record(key=None, value=event)])
    row = row_of(publication)
    assert row is not None
    return row


def asked(table: Predictions, *events: bytes, pipeline: Pipeline = PIPELINE) -> list[dict[str, Any]]:
    """The answers."""
    parts = {"pipeline": pipeline, "cached": TableAnswers(table, pipeline)}
    answers: list[dict[str, Any]] = ask("POST", "/classify", parts, content=b"[%b]" % b",".join(events)).json()
    return answers


@pytest.mark.parametrize("event", [EVENT, SAME_TEXT, b'{"title":"An image","description":""}'])
def test_the_same_text_is_answered_from_the_table(table: Predictions, event: bytes) -> None:
    """By the id or by the text: the very bytes that the model's answer would have, and word that they are from the table."""
    found = ask("POST", "/classify", {"cached": TableAnswers(table, PIPELINE)}, content=event)
    fresh = ask("POST", "/classify", content=event)
    assert found.content.endswith(b',"cached":true}')
    assert without_clock(found.content) == without_clock(fresh.content)
    assert b"cached" not in fresh.content


def test_an_answer_of_the_table_says_when_it_was_decided(table: Predictions) -> None:
    """And `tagged_at` when it was given; an event's own field of that name goes to the model, so that no answer names a key twice."""
    early = replace(row_of_event(SAME_TEXT), tagged_at=1_700_000_000_123, decided_at=1_700_000_000_123)
    table.upsert([replace(early, prediction_id="0" * 8 + early.prediction_id[8:], text_hash=hash_of_text("A river", None))])
    old, new, own = asked(table, b'{"title":"A river"}', EVENT, b'{"title":"A river","decided_at":"mine"}')
    assert (old["decided_at"], old["cached"]) == ("2023-11-14T22:13:20.123Z", True)
    assert old["tagged_at"] > new["decided_at"] > old["decided_at"]
    assert (own["decided_at"], "cached" in own) == ("mine", False)


@pytest.mark.parametrize(
    "event",
    [
        b'{"id":"a","title":"A translation"}',
        b'{"id":"a","title":"An im\xe2\x80\x8bage"}',
        b'{"id":"a","cached":1,"title":"An image"}',
    ],
)
def test_another_text_is_decided(table: Predictions, event: bytes) -> None:
    """Also with the same id, also where a hidden character alone is new; and an answer never names a key twice."""
    (answer,) = asked(table, event)
    assert answer.get("cached") in {None, 1}


@pytest.mark.parametrize("threshold", [0.1, 0.999])
def test_another_threshold_is_stale(table: Predictions, threshold: float) -> None:
    """The decision would be another one today."""
    (answer,) = asked(table, EVENT, pipeline=Pipeline(decider=deciding(threshold=threshold), observer=NullObserver()))
    assert "cached" not in answer
    assert answer["threshold"] == threshold


def test_another_bundle_is_stale(table: Predictions) -> None:
    """It is decided anew by the bundle of today."""
    model = type(PIPELINE.decider.model)(name="m", version="2", digest="e" * 64)
    (answer,) = asked(table, EVENT, pipeline=Pipeline(decider=deciding(model=model), observer=NullObserver()))
    assert "cached" not in answer
    assert answer["model"]["version"] == "2"


def test_each_event_is_looked_up_for_the_model_of_its_arm(table: Predictions) -> None:
    """Where a rollout has a second model, the table's decision counts for the events that its own model decides, and names their epoch."""
    pipeline = Pipeline(decider=deciding(), observer=NullObserver())
    named = replace(PIPELINE.decider, model=msgspec.structs.replace(PIPELINE.decider.model, epoch="3", arm="champion"))
    second = deciding(model=ModelRef(name="m", version="2", digest="e" * 64, epoch="3", arm="challenger"))
    pipeline.choose(lambda event: second if event.id == "b" else named)
    first, other = asked(table, b'{"id":"c","title":"An image"}', SAME_TEXT, pipeline=pipeline)
    assert (first["cached"], first["model"]["epoch"], first["model"]["arm"]) == (True, "3", "champion")
    assert ("cached" in other, other["model"]["arm"]) == (False, "challenger")


def test_what_a_person_decided_holds(table: Predictions) -> None:
    """For its own event and text alone; another event with the text gets the model's decision."""
    row = row_of_event(EVENT)
    answer = json.loads(row.answer) | {"tag": "mlops", "decider": "reviewer"}
    person = replace(
        row,
        prediction_id="5a6b1f0e-6f4c-5a53-8f5e-0f6f7d3c9f10",
        tag="mlops",
        decider="reviewer",
        version=1,
        answer=json.dumps(answer),
    )
    table.upsert([person])
    own, other, changed = asked(table, EVENT, SAME_TEXT, b'{"id":"a","title":"A translation"}')
    assert (own["tag"], own["decider"], own["cached"], own["destination"]) == ("mlops", "reviewer", True, "tagged")
    assert (other["tag"], other["decider"], other["cached"]) == ("computer-vision", "model", True)
    assert (changed["tag"], changed["decider"]) == ("natural-language-processing", "model")


def test_rejected_and_unknown_rows_keep_their_place(table: Predictions) -> None:
    """Rows from the table stand between rows from the model."""
    answers = asked(table, b'{"x":1}', EVENT, b'{"id":"c","title":"A translation"}', SAME_TEXT, b"1")
    assert [answer["destination"] for answer in answers] == ["dlq", "tagged", "tagged", "tagged", "dlq"]
    assert [answer.get("id") for answer in answers] == [None, "a", "c", "b", None]
    assert [answer.get("cached") for answer in answers] == [None, True, None, True, None]
    assert (answers[4]["line"], answers[4]["row"]) == (5, 4)


def test_a_table_that_is_away_costs_the_table_alone(table: Predictions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model answers; the table is left alone for a while, then asked again; the metrics say it."""
    now = [0.0]
    calls = []

    def away(*_: object) -> dict[str, PredictionRow]:
        calls.append(1)
        msg = "away"
        raise DatabaseUnavailableError(msg)

    cached = TableAnswers(table, PIPELINE, clock=lambda: now[0])
    with monkeypatch.context() as patched:
        patched.setattr(Predictions, "by_persons", away)

        async def scenario(service: Served) -> tuple[list[httpx.Response], str]:
            found = [await service.client.post("/classify", content=EVENT) for _ in range(3)]
            return found, service.metrics.text().decode()

        found, metrics = run(scenario, cached=cached)
    assert [one.status_code for one in found] == [200] * 3
    assert len(calls) == 1
    assert 'tagstream_http_table_rows_total{result="failed"} 3.0' in metrics
    now[0] = PAUSE_SECONDS
    assert ask("POST", "/classify", {"cached": cached}, content=EVENT).json()["cached"] is True


def test_a_table_that_says_nothing_holds_up_nobody(table: Predictions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model answers; as long as the question is stuck in its thread no other request asks, even after the pause."""
    now = [0.0]
    free, calls = threading.Event(), []
    whole = Predictions.by_persons

    def stuck(self: Predictions, ids: list[str]) -> dict[str, PredictionRow]:
        calls.append(1)
        assert free.wait(HANG_SECONDS)
        return whole(self, ids)

    monkeypatch.setattr(Predictions, "by_persons", stuck)

    async def scenario(service: Served) -> tuple[list[httpx.Response], dict[str, Any]]:
        found = [await service.client.post("/classify", content=EVENT)]
        found.append(await service.client.post("/classify", content=EVENT))
        now[0] += 2 * PAUSE_SECONDS
        found.append(await service.client.post("/classify", content=EVENT))
        free.set()
        while "cached" not in (last := (await service.client.post("/classify", content=EVENT)).json()):
            pass
        return found, last

    found, last = run(scenario, cached=TableAnswers(table, PIPELINE, clock=lambda: now[0]), table_seconds=0.05)
    assert [(one.status_code, "cached" in one.json()) for one in found] == [(200, False)] * 3
    assert last["cached"] is True
    # One was stuck, and one was asked when it was over.
    assert len(calls) >= 2


def test_a_service_without_a_table_needs_no_library_of_databases() -> None:
    """The extra `http` alone starts it."""
    program = "import sys; sys.modules['sqlalchemy'] = None; import tagstream.stream.serve.run"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=HANG_SECONDS)
    assert done.returncode == 0, done.stderr.decode()
