"""`Tagger` and `AsyncTagger`: the pipeline's own bytes, whatever form an event comes in and whoever waits beside it."""

import asyncio
import json
import pickle
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from tagstream import (
    AsyncTagger,
    BundleError,
    Decided,
    ModelTimeoutError,
    Record,
    Rejected,
    RejectedError,
    SettingsError,
    Tagger,
)
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.decide.from_settings import draw_of, pipeline_of
from tagstream.stream.library import tagger as module
from tagstream.stream.library.program_settings import settings_of
from tagstream.stream.registry.client import RegistryError
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.schema_registry import SchemaRegistry
from tagstream.stream.settings.security import Security
from tagstream.stream.settings.settings import Settings
from tests.waiting import HANG_SECONDS

TITLES = [f"{word} {number}" for number in range(40) for word in ("translation of", "images of", "deployment of", "a river by")]
NOW = 1_700_000_000.5
NONE_DRAWN = {"audit_rate": 0}
SECRET = "the-name-of-a-secret"  # noqa: S105 - looked for, and not found


@pytest.fixture(autouse=True)
def _nothing_has_arrived_yet() -> Iterator[None]:
    """Every test is a process that has just started."""
    module._arrived.cache_clear()
    yield
    module._arrived.cache_clear()


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


@pytest.mark.parametrize(
    "wrong",
    [7, None, [("title", "x")], {"title": object()}, b'{"title": "x"}', {1: "x"}, {"title": b"x"}, Record(key=None, value="x")],  # type: ignore[arg-type]
)
def test_something_else_than_an_event_is_a_type_error_with_its_place(wrong: Any, tiny_bundle_folder: Path) -> None:
    """Bytes too: a record says whose key and headers they have."""
    with pytest.raises(TypeError, match="event 1 of"):
        Tagger(tiny_bundle_folder).decide(["a", wrong])


@pytest.mark.parametrize("one", ["title", b"title", {"title": "x"}, Record(key=None, value=b"{}")])
def test_one_event_is_not_several(one: Any, tiny_bundle_folder: Path) -> None:
    """A text would be decided letter by letter, and fields name by name."""
    with pytest.raises(TypeError, match=r"for one use \[event\]"):
        Tagger(tiny_bundle_folder).decide(one)


@pytest.mark.parametrize("title", [b"x", None, 1])
def test_a_title_is_a_text(title: Any, tiny_bundle_folder: Path) -> None:
    """Of bytes nobody knows the encoding."""
    with pytest.raises(TypeError, match="title is a text"):
        Tagger(tiny_bundle_folder).tag(title)


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"title": "half \udc80"}, "lone_surrogate"),
        ({"title": "x", "n": float("nan")}, "non_finite_number"),
        ({"title": "nul \0"}, "nul_character"),
        ({"title": "x", "id": "i" * 300}, "invalid_id"),
    ],
)
def test_one_bad_event_is_rejected_and_the_others_are_decided(
    event: dict[str, Any], code: str, tiny_bundle_folder: Path
) -> None:
    """As on the topic; nothing is turned into something else."""
    first, second, third = Tagger(tiny_bundle_folder).decide(["a", event, "b"])
    assert isinstance(first, Decided)
    assert isinstance(third, Decided)
    assert isinstance(second, Rejected)
    assert second.code == code


def test_results_and_errors_pass_between_processes(tiny_bundle_folder: Path) -> None:
    """A pool of processes pickles them."""
    tagger = Tagger(tiny_bundle_folder)
    decided, rejected = tagger.decide(["a", ""])
    assert [
        pickle.loads(pickle.dumps(one))  # noqa: S301 - our own bytes
        for one in (decided, rejected)
    ] == [decided, rejected]
    with pytest.raises(RejectedError) as raised:
        tagger.tag("")
    again = pickle.loads(pickle.dumps(raised.value))  # noqa: S301 - our own bytes
    assert (str(again), again.rejected) == (str(raised.value), rejected)


def sent(tagger: Tagger) -> Tagger:
    """The tagger as it arrives in another process."""
    arrived = pickle.loads(pickle.dumps(tagger))  # noqa: S301 - our own bytes
    assert isinstance(arrived, Tagger)
    return arrived


def test_a_tagger_that_was_sent_decides_as_the_one_here(
    tiny_bundle_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Records, titles and tables get the same bytes, and no setting of the other machine counts."""
    monkeypatch.setenv("TAGSTREAM_BUNDLE", str(tiny_bundle_folder))
    monkeypatch.setenv("TAGSTREAM_CONFIDENCE_THRESHOLD", "0.3")
    settings = {
        "audit_rates": "other=0.5",
        "audit_salt": "mine",
        "cloudevents_source": "/s",
        "topics.tagged": "t",
        "contents": {"news": {"title": "/subject"}},
        "fields.title": "/payload/subject",
    }
    tagger = Tagger(settings=settings, clock=at)
    monkeypatch.setenv("TAGSTREAM_CONFIDENCE_THRESHOLD", "0.9")
    monkeypatch.setenv("TAGSTREAM_BUNDLE", str(tmp_path))
    arrived = sent(tagger)
    records = [Record(topic="news", key=None, value=b'{"subject": "images"}')]
    records.append(Record(topic="content", key=None, value=b'{"payload": {"subject": "images"}}'))
    table = pa.table({"title": TITLES})
    assert arrived.decide([*records, *TITLES]) == tagger.decide([*records, *TITLES])
    assert arrived.tag_table(table) == tagger.tag_table(table)
    assert {threshold.as_py() for threshold in arrived.tag_table(table)["threshold"]} == {0.3}


def test_every_setting_that_a_tagger_reads_is_sent(tiny_bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that a tagger reads and does not send would make other decisions in another process."""
    read: set[str] = set()

    class Noting(Settings):
        def __getattribute__(self, name: str) -> object:
            read.add(name)
            return super().__getattribute__(name)

    monkeypatch.setattr(module, "settings_of", lambda *_, **__: Noting(bundle=tiny_bundle_folder))
    tagger = Tagger()
    tagger.decide(["images", Record(key=None, value=event("images"))])
    tagger.tag_table(pa.table({"title": ["images"]}))
    asked = read & set(Settings.model_fields)
    # The seconds of a batch bound those of a registry, and no decision. The share of viewers is checked with the settings, and only a
    # worker asks viewers.
    assert asked - {"schema_registry", "inference_timeout_seconds", "ask_rate"} <= module.SENT
    assert {"bundle", "decider", "confidence_threshold", "max_event_bytes", "topics", "audit_rates"} <= asked


def test_no_user_and_no_file_of_a_password_is_sent(tiny_bundle_folder: Path) -> None:
    """The bytes hold none of the settings by which brokers and a Schema Registry are reached."""
    given = {"username": SECRET, "password_file": f"/{SECRET}"}
    settings = settings_of(None, environment=False, bundle=tiny_bundle_folder).model_copy(
        update={
            "group": SECRET,
            "security": Security(protocol="SASL_SSL", **given),
            "schema_registry": SchemaRegistry(url="https://127.0.0.1:1", **given),
        }
    )
    tagger = Tagger(tiny_bundle_folder)
    tagger._settings = settings
    assert SECRET.encode() not in pickle.dumps(tagger)


def test_a_value_in_a_frame_is_not_rejected_where_the_registry_cannot_be_asked(tiny_bundle_folder: Path) -> None:
    """A process that a tagger was sent to has no password for it: that is a broken machine, and no fault of the event."""
    registry = {"url": "http://127.0.0.1:1", "timeout_seconds": 0.2}
    arrived = sent(Tagger(tiny_bundle_folder, settings={"schema_registry": registry}))
    assert isinstance(arrived.decide(["images"])[0], Decided)
    with pytest.raises(RegistryError):
        arrived.decide([Record(key=None, value=b"\0\0\0\0\1\2ab")])


def test_a_process_loads_the_model_of_what_arrives_once(tiny_bundle_folder: Path) -> None:
    """A model is not loaded for each task of an engine, also where the method alone is sent."""
    tagger = Tagger(tiny_bundle_folder)
    method = pickle.loads(pickle.dumps(tagger.tag_table))  # noqa: S301 - our own bytes
    assert sent(tagger) is sent(tagger) is method.__self__


def test_another_bundle_in_the_other_process_is_refused(tiny_bundle_folder: Path) -> None:
    """It would decide otherwise there: the error has both names and the next step."""
    made, (settings, model, clock, _) = Tagger(tiny_bundle_folder).__reduce__()
    other = msgspec.structs.replace(model, version="another", digest="e" * 64)
    with pytest.raises(BundleError, match=r"another \(e{12}\).*Next: install the same version"):
        made(settings, other, clock, None)


def test_the_bundle_of_the_package_is_not_sent_as_a_path(tiny_bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine may have the package in another folder; there the bundle of its own package is loaded."""
    monkeypatch.setattr(module, "DEFAULT_BUNDLE", tiny_bundle_folder)
    assert str(tiny_bundle_folder).encode() not in pickle.dumps(Tagger(tiny_bundle_folder))


def test_an_async_tagger_says_why_it_is_not_sent(tiny_bundle_folder: Path) -> None:
    """It has threads."""
    with pytest.raises(TypeError, match="make one in each"):
        pickle.dumps(AsyncTagger(tiny_bundle_folder))


def test_a_table_has_the_decisions_of_its_rows(tiny_bundle_folder: Path) -> None:
    """Columns of other names are the event's fields; a row that is no event has the reason."""
    tagger = Tagger(tiny_bundle_folder, settings=NONE_DRAWN, clock=at)
    found = tagger.tag_table(pa.table({"headline": [*TITLES, ""], "key": range(len(TITLES) + 1)}), title="headline", id="key")
    *decisions, rejected = tagger.decide([{"title": title, "id": str(key)} for key, title in enumerate([*TITLES, ""])])
    assert found["prediction_id"].to_pylist()[:-1] == [one.decision.prediction_id for one in decisions]
    assert found["destination"].to_pylist()[:-1] == [one.records[0].topic for one in decisions]
    assert found["error"].to_pylist()[-1]["code"] == rejected.code


def test_the_threshold_of_a_label_that_is_none_is_an_error(tiny_bundle_folder: Path) -> None:
    """It lists the labels."""
    with pytest.raises(ValueError, match="is no label of"):
        Tagger(tiny_bundle_folder).asked_below("nope")


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
            with pytest.raises(RuntimeError, match="open already"):
                await tagger.__aenter__()
        with pytest.raises(RuntimeError, match="async with"):
            await tagger.tag("translation")

    asyncio.run(outside())


class Held(AsyncTagger):
    """Decides once it is let go, or raises where one asks for it; notes the batches."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, settings={**NONE_DRAWN, "inference_threads": 1, **settings}, clock=at)
        self.batches: list[int] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def _publications(self, batch: Sequence[module.Asked]) -> list[Publication]:
        self.batches.append(len(batch))
        self.begun.set()
        assert self.go.wait(HANG_SECONDS)
        if any(b"no memory" in (record.value or b"") for record, _ in batch):
            raise MemoryError
        return super()._publications(batch)


def test_a_batch_that_raises_is_the_error_of_those_in_it_alone(tiny_bundle_folder: Path) -> None:
    """The next batch is decided."""

    async def run() -> list[Any]:
        tagger = Held(tiny_bundle_folder, batch_max_events=2)
        tagger.go.set()
        async with tagger:
            return await asyncio.gather(
                tagger.decide(["images", "no memory"]), tagger.decide(["images"]), return_exceptions=True
            )

    first, second = asyncio.run(run())
    assert isinstance(first, MemoryError)
    assert second == Tagger(tiny_bundle_folder, settings=NONE_DRAWN, clock=at).decide(["images"])


def test_a_model_that_hangs_ends_every_wait(tiny_bundle_folder: Path) -> None:
    """Of the batch, of those behind it, and of those who come later: the thread cannot be had back."""
    tagger = Held(tiny_bundle_folder, batch_max_events=1, inference_timeout_seconds=0.05)

    async def run() -> list[Any]:
        async with tagger:
            found = await asyncio.gather(tagger.tag("images"), tagger.tag("images"), return_exceptions=True)
            found += await asyncio.gather(tagger.tag("images"), return_exceptions=True)
        tagger.go.set()
        return found

    for error in asyncio.run(run()):
        assert isinstance(error, ModelTimeoutError)
        assert "inference_timeout_seconds" in str(error)
    assert tagger.batches == [1]


def test_those_who_wait_as_a_tagger_is_closed_are_told_so(tiny_bundle_folder: Path) -> None:
    """It is no time-out of the model."""

    async def run() -> list[Any]:
        tagger = Held(tiny_bundle_folder, batch_max_events=1)
        async with tagger:
            calls = [asyncio.create_task(tagger.tag("images")) for _ in range(2)]
            assert await asyncio.to_thread(tagger.begun.wait, HANG_SECONDS)
        tagger.go.set()
        return await asyncio.gather(*calls, return_exceptions=True)

    assert [(type(error), "closed" in str(error)) for error in asyncio.run(run())] == [(RuntimeError, True)] * 2


def test_settings_of_a_program_stand_above_those_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As flags do for a command; by their names, or as tables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAGSTREAM_AUDIT_RATE", "0.25")
    monkeypatch.setenv("TAGSTREAM_TOPICS__REVIEW", "people")
    found = settings_of({"audit_rate": 0.5, "topics.tagged": "news", "topics": {"audit": "checks"}}, environment=True)
    assert (found.audit_rate, found.topics.tagged, found.topics.review, found.topics.audit) == (0.5, "news", "people", "checks")


def test_a_program_can_leave_the_environment_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Variables and file of something else with our prefix stop it otherwise, and are named."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tagstream.toml").write_text("audit_rate = 0.5\n")
    monkeypatch.setenv("TAGSTREAM_API_KEY", "secret")
    assert settings_of(None, environment=False).audit_rate == load({}, folder=tmp_path / "none").settings.audit_rate
    with pytest.raises(SettingsError, match="TAGSTREAM_API_KEY") as refused:
        settings_of(None, environment=True)
    assert "secret" not in str(refused.value)
    with pytest.raises(SettingsError, match="settings="):
        settings_of({"audit_rate": 7}, environment=False)


def test_an_empty_bundle_is_no_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And `~` is the home."""
    with pytest.raises(SettingsError, match="bundle"):
        settings_of(None, environment=False, bundle="")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settings_of(None, environment=False, bundle="~/mine").bundle == tmp_path / "mine"
