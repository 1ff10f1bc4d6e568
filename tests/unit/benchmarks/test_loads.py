"""`python -m benchmarks.loads` follows an event through the project's functions, and through nothing else."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from benchmarks.loaded import FOLDER, Follower, Way
from benchmarks.loads import common
from tagstream.model_export.bundle.text import read
from tagstream.stream.contract.event import Record
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.deliver.delivery import Unacknowledged
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.faust_app import RawSchema


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """The one of the shipped bundle, whose network has run before."""
    found = pipeline_of(Settings())
    found.publications([record("warm up")])
    return found


def record(title: str) -> Record:
    """An event of `content`."""
    return Record(key=None, value=b'{"title": "%s"}' % title.encode())


@contextmanager
def an_event() -> Iterator[None]:
    """Where an event begins and ends in a worker."""
    app, message = SimpleNamespace(), SimpleNamespace(key=None, value=b"", headers=())
    asyncio.run(RawSchema().compile(app)(message))  # type: ignore[arg-type]
    yield
    Unacknowledged().end(0)


def test_an_event_is_followed_from_its_bytes_to_the_network_and_to_its_end(pipeline: Pipeline) -> None:
    """Its files are ours alone; what the pipeline's thread has called is the way to the outcome."""
    follower = Follower()
    with follower.following(), an_event():
        read("before", None)
        pipeline.publications([record("a followed event")])
    (ways,) = follower.ended
    outcome, whole = ways["outcome"], ways["acknowledgement"]
    assert outcome["frames"] == ["Pipeline.publications", "Pipeline.decide", "Repeats.classify", "OnnxClassifier.classify"]
    files = [file.removeprefix(FOLDER) for file in outcome["functions"]]
    assert files[:2] == ["stream/decide/pipeline.py", "stream/contract/event.py"]
    assert all(file.startswith(FOLDER) for file in whole["functions"])
    assert set(outcome["functions"]) < set(whole["functions"])
    assert [names[0] for names in whole["functions"].values()][:2] == ["RawSchema.compile.<locals>.event_of", "read"]
    assert 0 < outcome["changes"] < whole["changes"]


def test_what_is_called_outside_of_an_event_is_not_on_its_way(pipeline: Pipeline) -> None:
    """Neither before it begins, nor once it has ended, nor when nothing is followed."""
    follower = Follower()
    with follower.following():
        pipeline.publications([record("no event has begun")])
        with an_event():
            pipeline.publications([record("the event")])
        read("after", None)
    with an_event():
        pipeline.publications([record("not followed")])
    (ways,) = follower.ended
    assert next(iter(ways["acknowledgement"]["functions"])).endswith("faust_app.py")


def test_the_common_way_of_events_has_what_all_of_them_crossed() -> None:
    """In the order of the first; a file of which nothing is left is left out."""
    first = Way(functions={"a": ["one", "two"], "b": ["three"]}, changes=5, frames=["one"])
    second = Way(functions={"b": ["four"], "a": ["two", "one"]}, changes=4, frames=["one"])
    assert common([first, second]) == Way(functions={"a": ["one", "two"]}, changes=4, frames=["one"])
