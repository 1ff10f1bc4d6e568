"""`Tagger` and `AsyncTagger`: the pipeline's own bytes, whatever form an event comes in and whoever waits beside it."""

import asyncio
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tagstream import AsyncTagger, BundleError, Decided, Record, Rejected, RejectedError, SettingsError, Tagger
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.decide.from_settings import draw_of, pipeline_of
from tagstream.stream.library.gathering import Gathering
from tagstream.stream.library.tagger import settings_of
from tagstream.stream.settings.loading import load
from tests.waiting import HANG_SECONDS

TITLES = [f"{word} {number}" for number in range(40) for word in ("translation of", "images of", "deployment of", "a river by")]
NOW = 1_700_000_000.5
NONE_DRAWN = {"audit_rate": 0}


def at() -> float:
    """The time of all decisions."""
    return NOW


def event(title: str) -> bytes:
    """A value of `content`."""
    return json.dumps({"title": title}).encode()


def test_the_records_are_those_that_the_pipeline_of_a_worker_publishes(tiny_bundle_folder: Path) -> None:
    """Key, value and headers of each, with the copies for audit, for good events and bad ones, over several batches."""
    settings = {
        "audit_rate": 0.5,
        "batch_max_events": 7,
        "confidence_threshold": 0.3,
        "topics": {"tagged": "t", "review": "r", "dlq": "d", "audit": "a"},
    }
    records = [
        Record(key=b"k", value=event(title), headers=(("h", b"\xff"),), topic="c", offset=at) for at, title in enumerate(TITLES)
    ]
    records[3] = Record(key=None, value=b"{", topic="c", offset=3)
    found = Tagger(tiny_bundle_folder, settings=settings, clock=at).decide(records)

    chosen = load({}, {**settings, "bundle": tiny_bundle_folder}).settings
    pipeline = pipeline_of(chosen)
    pipeline.draw = draw_of(chosen, pipeline.decider.labels)
    names = {"tagged": "t", "review": "r", "dlq": "d", "audit": "a"}
    expected = [
        [(names[name], one.key, value, one.headers) for name, value in one.records]
        for one in pipeline.publications(records, clock=at)
    ]
    assert [[(one.topic, one.key, one.value, one.headers) for one in result.records] for result in found] == expected
    assert {len(result.records) for result in found} == {1, 2}
    assert isinstance(found[3], Rejected)


def test_an_event_is_a_title_its_fields_or_a_record(tiny_bundle_folder: Path) -> None:
    """Mixed in one call, each gets its own decision, in order."""
    tagger = Tagger(tiny_bundle_folder, settings=NONE_DRAWN, clock=at)
    asked = [
        "translation",
        {"title": "images", "description": "of streets", "n": 1},
        Record(key=b"k", value=event("deployment")),
        " ",
    ]
    alone = [tagger.decide([one])[0] for one in asked]
    assert tagger.decide(iter(asked)) == alone
    first, second, third, fourth = alone
    assert isinstance(first, Decided)
    assert isinstance(second, Decided)
    assert isinstance(third, Decided)
    assert second.fields()["n"] == 1
    assert third.records[0].key == b"k"
    assert isinstance(fourth, Rejected)
    assert fourth.code == "missing_title"
    assert tagger.tag("images", "of streets").tag == second.tag


def test_fields_have_the_contracts_names_and_records_the_shape_of_the_topic(tiny_bundle_folder: Path) -> None:
    """Where events of the topic have their title elsewhere, a program still calls its own fields `title` and `description`."""
    tagger = Tagger(tiny_bundle_folder, settings={"fields": {"title": "/payload/subject"}})
    record = Record(key=None, value=b'{"payload": {"subject": "translation"}}')
    of_topic, of_fields = tagger.decide([record, {"title": "translation"}])
    assert isinstance(of_topic, Decided)
    assert isinstance(of_fields, Decided)
    assert of_topic.decision.probabilities == of_fields.decision.probabilities


def test_a_text_that_is_no_event_is_an_error_that_says_why_without_the_text(tiny_bundle_folder: Path) -> None:
    """`tag` has one text and nothing to put in the place of its decision."""
    with pytest.raises(RejectedError, match="title is blank") as error:
        Tagger(tiny_bundle_folder).tag(" \t")
    assert error.value.rejected.records[0].topic == "content.dlq"


@pytest.mark.parametrize("wrong", [7, None, [("title", "x")], {"title": object()}, b'{"title": "x"}'])
def test_something_else_than_an_event_is_a_type_error(wrong: Any, tiny_bundle_folder: Path) -> None:
    """Bytes too: a record says whose key and headers they have."""
    with pytest.raises(TypeError):
        Tagger(tiny_bundle_folder).decide([wrong])


def test_what_cannot_be_loaded_is_said_at_once(tmp_path: Path, tiny_bundle_folder: Path) -> None:
    """A bundle that is none, and a setting that is none, with the nearest one."""
    with pytest.raises(BundleError, match="Next:"):
        Tagger(tmp_path)
    with pytest.raises(SettingsError, match="confidence_treshold"):
        Tagger(tiny_bundle_folder, settings={"confidence_treshold": 0.9})


def test_calls_that_wait_together_get_the_results_of_calls_alone(tiny_bundle_folder: Path) -> None:
    """Hundreds at once, good and bad, in batches of three."""
    settings = {**NONE_DRAWN, "batch_max_events": 3, "inference_threads": 2}
    alone = Tagger(tiny_bundle_folder, settings=settings, clock=at)
    asked = [*TITLES, " ", *TITLES[:3]]

    async def together() -> list[Any]:
        async with AsyncTagger(tiny_bundle_folder, settings=settings, clock=at) as tagger:
            found = await asyncio.gather(*(tagger.decide([one]) for one in asked))
            assert await tagger.decide([]) == []
            assert (await tagger.tag(TITLES[0])).records == alone.tag(TITLES[0]).records
            with pytest.raises(RejectedError):
                await tagger.tag("")
        return [result for results in found for result in results]

    assert asyncio.run(together()) == alone.decide(asked)


def test_an_async_tagger_decides_inside_its_block_only(tiny_bundle_folder: Path) -> None:
    """Before and after it there are no threads."""
    tagger = AsyncTagger(tiny_bundle_folder)

    async def outside() -> None:
        with pytest.raises(RuntimeError, match="async with"):
            await tagger.tag("translation")
        async with tagger:
            await tagger.tag("translation")
        with pytest.raises(RuntimeError, match="async with"):
            await tagger.tag("translation")

    asyncio.run(outside())


class Deciding:
    """Stands for a pipeline: gives each number back once it is let go, and notes the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()

    def __call__(self, batch: Sequence[int]) -> list[Publication]:
        """The numbers, or an error where 13 is among them."""
        self.batches.append(list(batch))
        if not self.go.wait(HANG_SECONDS):
            raise TimeoutError
        if 13 in batch:
            raise MemoryError
        return list(batch)  # type: ignore[arg-type]


def test_what_waits_while_the_model_is_busy_goes_together() -> None:
    """The first call goes alone and at once; those behind it fill batches; a caller that has given up takes no place."""
    decide = Deciding()

    async def run() -> list[Any]:
        gathering = Gathering[int](decide, threads=1, at_once=4, seconds=HANG_SECONDS)
        calls = [asyncio.create_task(gathering.found([number])) for number in range(8)]
        await asyncio.sleep(0)
        calls[2].cancel()
        await asyncio.sleep(0)
        decide.go.set()
        found = await asyncio.gather(*calls, return_exceptions=True)
        gathering.stop()
        return found

    found = asyncio.run(run())
    assert isinstance(found.pop(2), asyncio.CancelledError)
    assert found == [[0], [1], [3], [4], [5], [6], [7]]
    assert decide.batches == [[0], [1, 3, 4, 5], [6, 7]]


def test_a_batch_that_raises_is_the_error_of_those_in_it_alone() -> None:
    """The next batch is decided."""
    decide = Deciding()
    decide.go.set()

    async def run() -> list[Any]:
        gathering = Gathering[int](decide, threads=1, at_once=2, seconds=HANG_SECONDS)
        found = await asyncio.gather(gathering.found([1, 13]), gathering.found([2]), return_exceptions=True)
        gathering.stop()
        return found

    first, second = asyncio.run(run())
    assert isinstance(first, MemoryError)
    assert second == [2]


def test_a_model_that_hangs_ends_every_wait() -> None:
    """Of the batch, of those behind it, and of those who come later: the thread cannot be had back."""
    decide = Deciding()

    async def run() -> list[Any]:
        gathering = Gathering[int](decide, threads=1, at_once=1, seconds=0.05)
        found = await asyncio.gather(gathering.found([1]), gathering.found([2]), return_exceptions=True)
        found += await asyncio.gather(gathering.found([3]), return_exceptions=True)
        decide.go.set()
        gathering.stop()
        return found

    for error in asyncio.run(run()):
        assert isinstance(error, TimeoutError)
        assert "inference_timeout_seconds" in str(error)
    assert decide.batches == [[1]]


def test_settings_of_a_program_stand_above_those_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As flags do for a command."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAGSTREAM_AUDIT_RATE", "0.25")
    monkeypatch.setenv("TAGSTREAM_TOPICS__REVIEW", "people")
    found = settings_of({"audit_rate": 0.5, "topics": {"tagged": "news"}})
    assert (found.audit_rate, found.topics.tagged, found.topics.review) == (0.5, "news", "people")
