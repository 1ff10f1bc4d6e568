"""
Follows one event, one answer, one request and one row through the real code, and prints how much of it a reader must cross.

    python -m benchmarks.walk              the table
    python -m benchmarks.walk --files      and the files and functions in the order in which they are first entered

Every Python call in the project's packages counts (`sys.setprofile`, in all threads), with no list of exceptions. The parts are made by
the functions that the doors call, from settings. Each subject goes through once before it is followed, so that imports and caches are
not a part of its way.
"""

import argparse
import asyncio
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from urllib.parse import urlencode

from prometheus_client import CollectorRegistry

from tagstream.model_export.data.reader import Columns
from tagstream.monitoring.health import Progress
from tagstream.monitoring.metrics.http import HttpMetrics
from tagstream.monitoring.metrics.metrics import Metrics
from tagstream.monitoring.quality.metrics import QualityMetrics
from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.batch.order import Order, run_order
from tagstream.stream.contract.answers import AnsweredEvent, read_answer
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.outcome import Publication
from tagstream.stream.contract.published import DecidedEvent, read_decision
from tagstream.stream.decide.answering import Answering
from tagstream.stream.decide.from_settings import decider_of, pipeline_of
from tagstream.stream.decide.pipeline import Pipeline
from tagstream.stream.deliver.crash.guard import open_guard
from tagstream.stream.deliver.crash.trial import ChildTrials, TrialRecipe
from tagstream.stream.deliver.delivery import Delivery
from tagstream.stream.review.bundles import Bundles
from tagstream.stream.review.console.access import Remembered
from tagstream.stream.review.console.app import application
from tagstream.stream.review.console.measuring import Measuring
from tagstream.stream.review.console.pages import ReviewConsole
from tagstream.stream.review.saving import Saving
from tagstream.stream.review.store.records import AskedDecision
from tagstream.stream.review.store.store import Store, open_store
from tagstream.stream.serve import answering as serve_answering
from tagstream.stream.serve.app import Service
from tagstream.stream.serve.app import application as service
from tagstream.stream.serve.deciding import Deciding
from tagstream.stream.serve.publishing import Publishing
from tagstream.stream.settings.settings import Settings

ROOT = Path(__file__).parents[1]
PACKAGE = "tagstream"
FOLDER = f"{ROOT / PACKAGE}/"
# The call that runs the network, as onnxruntime names it.
NETWORK = ("onnxruntime_inference_collection.py", "run")
# Each has a title of its own, since a text that has come before asks no model.
EVENT = b'{"id":"%(n)d","title":"Feature stores in production, part %(n)d","description":"One set of features for training and inference."}'
# A person is asked about it.
UNSURE = b'{"id":"%(n)d","title":"Attention is all you need"}'


def ours(code: CodeType) -> bool:
    """Whether a function lies in the project's packages."""
    return code.co_filename.startswith(FOLDER)


def last_line(code: CodeType) -> int:
    """The last line of a function, and of all that is defined in it."""
    own = [line for _, _, line in code.co_lines() if line is not None]
    return max([*own, *(last_line(one) for one in code.co_consts if isinstance(one, CodeType))])


def length(code: CodeType) -> int:
    """The lines of a function."""
    return last_line(code) - code.co_firstlineno + 1


@dataclass(slots=True)
class Walk:
    """
    The files, functions and types that one subject crosses.

    Attributes:
        name: The subject and its way.
        on: Whether it is followed at the moment.
        entered: Functions in the order in which they were first entered. A comprehension or a lambda is a part of its function.
        files: Their files, likewise.
        changes: How often, in one thread, a call came from another of our files than the call before it.
        types: Classes whose methods ran.
        frames: The most of our frames above the network's call; 0 if it was not called.
    """

    name: str
    on: bool = False
    entered: dict[CodeType, None] = field(default_factory=dict)
    files: dict[str, None] = field(default_factory=dict)
    changes: int = 0
    types: set[type] = field(default_factory=set)
    frames: int = 0
    _last: dict[int, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def profile(self, frame: FrameType, event: str, _argument: object) -> None:
        """Called by the interpreter on each call and return."""
        if event != "call" or not self.on:
            return
        code = frame.f_code
        if code.co_name == NETWORK[1] and code.co_filename.endswith(NETWORK[0]):
            self.frames = max(self.frames, sum(ours(above) for above in _above(frame)))
        if not ours(code):
            return
        with self._lock:
            before = self._last.get(threading.get_ident(), code.co_filename)
            self.changes += before != code.co_filename
            self._last[threading.get_ident()] = code.co_filename
            self.files.setdefault(code.co_filename)
            if not code.co_name.startswith("<"):
                self.entered.setdefault(code)
            owner = frame.f_locals.get("self")
            if type(owner).__module__.partition(".")[0] == PACKAGE:
                self.types.add(type(owner))

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Follow this thread, and those that begin meanwhile, whenever `on` is set."""
        threading.setprofile(self.profile)
        sys.setprofile(self.profile)
        try:
            yield
        finally:
            self.on = False
            sys.setprofile(None)
            threading.setprofile(None)

    def figures(self) -> tuple[int, int, int, int, int, int, int, str]:
        """Files, changes, functions, types, frames to the network, lines of all functions, lines of the longest one, its name."""
        longest, name = max(((length(code), code.co_qualname) for code in self.entered), default=(0, "-"))
        lines = sum(map(length, self.entered))
        return len(self.files), self.changes, len(self.entered), len(self.types), self.frames, lines, longest, name


def _above(frame: FrameType) -> Iterator[CodeType]:
    found = frame.f_back
    while found is not None:
        yield found.f_code
        found = found.f_back


def walk_twice(name: str, step: Callable[[int], object]) -> Walk:
    """The walk of `step`, which is called with 0 to warm up and with 1 to be followed."""
    walk = Walk(name)
    with walk.followed():
        for number in (0, 1):
            walk.on = number == 1
            step(number)
    return walk


def _record(value: bytes, number: int) -> Record:
    return Record(topic="content", partition=0, offset=number, key=None, value=value % {b"n": number})


@dataclass
class _Message:
    """A record as Faust hands it over."""

    offset: int
    value: bytes
    topic: str = "content"
    partition: int = 0
    timestamp: float = 1_790_000_000.0
    key: None = None
    headers: tuple[()] = ()


@dataclass
class _Event:
    message: _Message


class _Stream:
    """Two events of a Faust stream. The second one is followed, from the moment in which it comes to its acknowledgement."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._acknowledged = asyncio.Event()

    async def events(self) -> AsyncIterator[_Event]:
        """The events, each when the one before it is acknowledged."""
        for number in (0, 1):
            self._acknowledged.clear()
            self._walk.on = number == 1
            yield _Event(_Message(number, EVENT % {b"n": number}))
            await self._acknowledged.wait()

    async def ack(self, _: _Event) -> bool:
        """Take the acknowledgement."""
        self._walk.on = False
        self._acknowledged.set()
        return True


def delivered(settings: Settings, pipeline: Pipeline, metrics: Metrics) -> Walk:
    """From the stream's event to its acknowledgement, with crash guard and metrics; without Faust's own way and the broker."""
    walk = Walk("event: stream to acknowledgement")

    async def send(_: Publication) -> "asyncio.Future[None]":
        confirmed = asyncio.get_running_loop().create_future()
        confirmed.set_result(None)
        return confirmed

    recipe = TrialRecipe(make=pipeline_of, settings=settings, draw=pipeline.draw, model=pipeline.decider.model)

    async def run() -> None:
        await Delivery(
            decide=pipeline.publications,
            send=send,
            observer=metrics,
            progress=Progress(stall_seconds=settings.stall_timeout_seconds, monotonic=time.monotonic),
            settings=settings,
            guard=open_guard(settings, ChildTrials(recipe), metrics.crash_guard),
        ).run(_Stream(walk))

    with walk.followed():
        asyncio.run(run())
    return walk


async def _request(app: Any, path: str, body: bytes, kind: bytes) -> int:
    """The status of a request's answer."""
    status = 0

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    headers = [(b"host", b"localhost"), (b"content-type", kind), (b"content-length", b"%d" % len(body))]
    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": [*headers, (b"sec-fetch-site", b"same-origin")], "client": ("127.0.0.1", 50_000),
        "server": ("localhost", 80), "root_path": "",
    }  # fmt: skip
    await app(scope, receive, send)
    return status


def requested(settings: Settings) -> Walk:
    """A request to `serve`, `POST /classify` with one event, to its answer."""
    walk = Walk("request: POST /classify")
    metrics = HttpMetrics.alone()
    pipeline = pipeline_of(settings)
    model = pipeline.decider.model

    async def run() -> None:
        async with Deciding(pipeline.publications, settings, most_waiting=64, deadline_seconds=60, counts=metrics) as deciding:
            publishing = Publishing(_no_broker, settings.topics.content, wait_seconds=1)
            app = service(
                Service(
                    answering=serve_answering.RowAnswering(deciding, publishing, metrics, labels=pipeline.decider.labels),
                    metrics=metrics,
                    model=lambda: model,
                    labels=pipeline.decider.labels,
                    trouble=lambda: None,
                    most_rows=64,
                    most_requests=64,
                )
            )
            for number in (0, 1):
                walk.on = number == 1
                status = await _request(app, "/classify", EVENT % {b"n": number}, b"application/json")
                walk.on = False
                _must(status == 200, f"serve answered {status}")  # noqa: PLR2004

    with walk.followed():
        asyncio.run(run())
    return walk


def _no_broker() -> Any:
    msg = "this walk publishes nothing"
    raise RuntimeError(msg)


def _must(held: bool, otherwise: str) -> None:  # noqa: FBT001 - a condition
    if not held:
        msg = f"the walk went another way: {otherwise}"
        raise SystemExit(msg)


class _Brokers:
    """Takes what the console sends."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def deliver(self, records: list[Record], *, until: float) -> list[None]:
        """Confirm the records."""
        del until
        self.records += records
        return [None] * len(records)


def answered(settings: Settings, pipeline: Pipeline, folder: Path) -> list[Walk]:
    """A person's answer: in the console, in the worker, and in the console that reads it back."""
    brokers = _Brokers()
    with open_store(f"sqlite:///{folder}/walk.db", second_opinion_rate=0.0) as store:
        for number in (0, 1):
            (made,) = pipeline.publications([_record(UNSURE, number)])
            _must(made.destination is Destination.REVIEW, "the event is not for a person")
            decision = read_decision(Record(topic="review", partition=0, offset=number, key=made.key, value=made.value))
            assert isinstance(decision, DecidedEvent)
            store.filling.fill([AskedDecision(item=decision)], {})
        walk = Walk("answer: the console, POST /answer")
        ready = threading.Event()
        ready.set()
        console = ReviewConsole(
            store=store,
            saving=Saving(store, brokers, settings.topics),  # type: ignore[arg-type]
            access=Remembered(name="ada"),
            measuring=Measuring(store, QualityMetrics.alone(), bundles=Bundles.of(settings)),
            filled=ready.is_set,
            not_ready=lambda: None,
        )

        async def run() -> None:
            app = application(console, names=[], origins=[])
            for number in (0, 1):
                claim = store.queue.claim("ada")
                assert claim is not None
                form = urlencode({"event": claim.item.event.id, "token": claim.token, "tag": "mlops"}).encode()
                walk.on = number == 1
                status = await _request(app, "/answer", form, b"application/x-www-form-urlencoded")
                walk.on = False
                _must(status == 303, f"the console answered {status}")  # noqa: PLR2004

        with walk.followed():
            asyncio.run(run())
        return [walk, _in_worker(settings, brokers.records), _read_back(store, brokers.records)]


def _in_worker(settings: Settings, records: list[Record]) -> Walk:
    answering = Answering(settings.limits)
    return walk_twice("answer: the worker", lambda number: answering.publications([records[number]]))


def _read_back(store: Store, records: list[Record]) -> Walk:
    def step(number: int) -> None:
        found = read_answer(records[number])
        assert isinstance(found, AnsweredEvent)
        store.filling.fill([found], {})

    return walk_twice("answer: the follower", step)


def row(settings: Settings, folder: Path) -> Walk:
    """`tagstream batch` over a file of one row, from its start to the output in its place; the bundle is loaded in it."""
    (folder / "rows.csv").write_text("id,title\n1,Feature stores in production\n", encoding="utf-8")

    def step(number: int) -> None:
        run_order(settings, Order(source=str(folder / "rows.csv"), out=str(folder / f"{number}.jsonl"), columns=Columns()))

    return walk_twice("row: tagstream batch", step)


def walks(folder: Path) -> list[Walk]:
    """All of them; files are made in the folder."""
    settings = Settings(state_folder=folder / "state", inference_threads=1)
    decider = decider_of(settings)
    metrics = Metrics(CollectorRegistry(), labels=decider.labels, topic="content", known_sources=frozenset())
    # One for each way of the event: none has seen its text before.
    pipeline, another = (pipeline_of(settings, decider=decider, observer=metrics) for _ in range(2))
    return [
        walk_twice("event: bytes to outcome", lambda number: pipeline.publications([_record(EVENT, number)])),
        delivered(settings, another, metrics),
        *answered(settings, pipeline, folder),
        requested(settings),
        row(settings, folder),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", action="store_true", help="print files and functions too")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        found = walks(Path(made))
    print("| way | files | changes of file | functions | types | frames to the network | their lines | the longest |")
    print("|---|--:|--:|--:|--:|--:|--:|---|")
    for walk in found:
        *numbers, name = walk.figures()
        print(f"| {walk.name} | {' | '.join(map(str, numbers))}, `{name}` |")
    for walk in found if chosen.files else ():
        print(f"\n{walk.name}")
        for file in walk.files:
            functions = [code.co_qualname for code in walk.entered if code.co_filename == file]
            print(f"  {Path(file).relative_to(FOLDER)}: {', '.join(functions)}")


if __name__ == "__main__":
    main()
