"""
Prints what each door loads: files and lines of the project's packages in `sys.modules`, once the door has done its work. And the way of an
event through a worker: the files and functions that it crosses from its bytes to its outcome, and to its acknowledgement.

    python -m benchmarks.loads                 both tables
    python -m benchmarks.loads --files worker  and the files of a door, the longest first
    python -m benchmarks.loads --functions     and the files and functions of the way, in the order in which they are first entered

A worker is looked at after its first commit and scrape, once without epochs and once after a change of the model. `serve` has answered a
request and the console its first page; library and pipeline have decided an event. Each is a process of its own, begun as a user begins it.

The way is that of events which come alone, each with a text that is new: the functions that all of them crossed, so that little counts of
what a worker does beside them (the next fetch does). It begins with the record that Faust hands over, and ends when the observers know.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.loaded import FOLDER, LOOK_SECONDS, WAYS, Loaded, Way, Ways
from tagstream.model_export.bundle import bundle as bundles
from tagstream.stream.broker import broker
from tagstream.stream.broker.ports import free_ports
from tagstream.stream.kafka import admin, producer
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings

DOORS = ("worker", "worker with epochs", "serve", "console", "library", "pipeline")
EVENT = b'{"id": "%d", "title": "Attention is all you need, part %d"}'
EVENTS = 8
# Published without a person, so that it may be drawn for an audit.
FOLLOWED = b'{"id": "w-%d", "title": "Feature stores in production, part %d", "description": "One set of features for training and inference."}'
FOLLOWED_EVENTS = 8
MOST_SECONDS = 120.0
LIBRARY = "import tagstream; tagstream.Tagger().tag('Attention is all you need')"
PIPELINE = """
from tagstream.stream.contract.event import Record
from tagstream.stream.decide.from_settings import pipeline_of
from tagstream.stream.settings.settings import Settings
pipeline_of(Settings()).publications([Record(topic="content", key=None, value=b'{"title": "Attention is all you need"}')])
"""


class NotLoadedError(Exception):
    """A door did not do its work: the message says which, and what it printed last."""


class Door:
    """A process that says what it has loaded."""

    def __init__(self, folder: Path, words: list[str], environ: dict[str, str]) -> None:
        """Begin it."""
        self._name = words[0]
        self._seen = folder / "seen.json"
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.loaded", str(self._seen), *words],
                env=os.environ | environ,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def until(self, done: Callable[[], bool]) -> Loaded:
        """
        The lines by file that the door has loaded, once the door's work is done and the files were written down once more.

        Raises:
            NotLoadedError: It has ended, or was not done in time.
        """
        deadline = time.monotonic() + MOST_SECONDS
        while not done():
            if self.process.poll() is not None or time.monotonic() > deadline:
                last = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
                msg = f"{self._name} did not do its work: {last}"
                raise NotLoadedError(msg)
            time.sleep(LOOK_SECONDS)
        time.sleep(4 * LOOK_SECONDS)
        found: Loaded = json.loads(self._seen.read_text(encoding="utf-8"))
        return found

    def ways(self) -> list[Ways]:
        """The ways of the events that it has decided, for each that came alone."""
        found: list[Ways] = json.loads(self._seen.with_name(WAYS).read_text(encoding="utf-8"))
        return found

    def end(self) -> None:
        """Stop it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(MOST_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def door(words: list[str], environ: dict[str, str]) -> Iterator[Door]:
    """A door with a folder of its own, stopped at the end."""
    folder = Path(tempfile.mkdtemp())
    found = Door(folder, words, environ)
    try:
        yield found
    finally:
        found.end()
        shutil.rmtree(folder)


def answers(url: str, body: bytes | None = None) -> str:
    """The body of an address's answer; empty while the address does not answer, or answers with an error."""
    try:
        answer = httpx.request(
            "POST" if body else "GET", url, content=body, headers={"Content-Type": "application/json"}, timeout=MOST_SECONDS
        )
    except httpx.TransportError:
        return ""
    return answer.text if answer.is_success else ""


def value(metrics: str, family: str) -> float | None:
    """The sum of a family's samples; None where there is none."""
    found = [float(line.split()[-1]) for line in metrics.splitlines() if line.startswith((f"{family}{{", f"{family} "))]
    return sum(found) if found else None


def send(settings: Settings, event: bytes = EVENT, numbers: Iterable[int] = range(EVENTS)) -> None:
    """A few events, in all partitions."""
    with producer.sender(settings) as sender:
        for number in numbers:
            sender.send(settings.topics.content, key=b"%d" % number, value=event % (number, number))
        sender.flush()


def worker(environ: dict[str, str], *, epochs: bool, folder: Path) -> tuple[Loaded, Ways]:
    """The files that a worker has loaded after its first commit and scrape, and the way of an event; with `epochs`, after the model was changed and has decided."""
    (port,) = free_ports(1)
    environ |= {"TAGSTREAM_METRICS_PORT": str(port), "TAGSTREAM_GROUP": f"loads-{port}"}
    environ["TAGSTREAM_ROLLOUT__TOPIC"] = f"loads-{port}.rollout"
    if epochs:
        environ["TAGSTREAM_ROLLOUT__BUNDLES"] = str(folder / "bundles")
    settings = load(environ).settings
    sent = 0

    def committed() -> bool:
        said = answers(f"http://127.0.0.1:{port}/metrics")
        return (
            value(said, "tagstream_committed_lag_events") == 0 and (value(said, "tagstream_events_received_total") or 0) >= sent
        )

    with door(["worker"], environ) as running:
        send(settings)
        sent += EVENTS
        found = running.until(committed)
        if epochs:
            made = bundles.read(settings.bundle)
            manifest = msgspec.structs.replace(made.manifest, version="2")
            new = bundles.write(folder / "new", manifest=manifest, model=made.model, tokenizer=made.tokenizer)
            words = [sys.executable, "-m", "tagstream.stream.cli.main", "rollout", "promote", str(new.path)]
            subprocess.run(words, env=os.environ | environ, check=True, timeout=MOST_SECONDS)
            send(settings)
            sent += EVENTS
            found = running.until(committed)
        before = len(running.ways())
        for number in range(FOLLOWED_EVENTS):
            send(settings, FOLLOWED, [number])
            sent += 1
            running.until(committed)
        alone = running.ways()[before:]
    return found, {end: common([ways[end] for ways in alone]) for end in alone[0]}


def common(ways: Sequence[Way]) -> Way:
    """The functions that are on all of these ways, in the order of the first, with the fewest changes of file."""
    functions = {
        file: [name for name in names if all(name in way["functions"].get(file, ()) for way in ways)]
        for file, names in ways[0]["functions"].items()
    }
    kept = {file: names for file, names in functions.items() if names}
    return Way(functions=kept, changes=min(way["changes"] for way in ways), frames=ways[0]["frames"])


def all_of() -> Iterator[tuple[str, Loaded, Ways]]:
    """Each door with what it loads, and the way of an event through a worker."""
    with tempfile.TemporaryDirectory() as name, broker(prefer="kafka", log=lambda _: None) as kafka:
        folder = Path(name)
        environ = {
            "TAGSTREAM_BROKERS": kafka.bootstrap,
            "TAGSTREAM_STATE_FOLDER": str(folder / "state"),
            "TAGSTREAM_LOG_LEVEL": "warning",
        }
        admin.create(load(environ).settings)
        yield "worker", *worker(environ, epochs=False, folder=folder)
        yield "worker with epochs", *worker(environ, epochs=True, folder=folder)
        (port,) = free_ports(1)
        with door(["serve", "--port", str(port)], environ) as serving:
            url = f"http://127.0.0.1:{port}/classify"
            yield "serve", serving.until(lambda: bool(answers(url, EVENT % (1, 1)))), {}
        (port,) = free_ports(1)
        store = f"sqlite:///{folder / 'review.sqlite'}"
        with door(["review", "--port", str(port), "--store", store], environ) as console:
            yield "console", console.until(lambda: bool(answers(f"http://127.0.0.1:{port}/"))), {}
    for name, program in (("library", LIBRARY), ("pipeline", PIPELINE)):
        folder = Path(tempfile.mkdtemp())
        running = Door(folder, ["-c", program], {})
        if running.process.wait(MOST_SECONDS):
            raise NotLoadedError((folder / "log").read_text(encoding="utf-8"))
        yield name, json.loads((folder / "seen.json").read_text(encoding="utf-8")), {}
        shutil.rmtree(folder)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--files", choices=DOORS, help="and the files of this door")
    parser.add_argument(
        "--functions", action="store_true", help="and the files and functions of an event's way through a worker"
    )
    options = parser.parse_args()
    doors = Table("door", "files", "lines")
    crossed = Table("way of an event", "files", "changes of file", "functions", "frames to the network")
    files: Loaded = {}
    followed: Ways = {}
    for name, found, ways in all_of():
        doors.add_row(name, str(len(found)), f"{sum(found.values()):,}")
        for end, way in ways.items():
            count = sum(map(len, way["functions"].values()))
            figures = (len(way["functions"]), way["changes"], count, len(way["frames"]))
            crossed.add_row(f"{name}, to its {end}", *map(str, figures))
        followed |= {f"{name}, to its {end}": way for end, way in ways.items()}
        if name == options.files:
            files = found
    console = Console(width=120)
    console.print(doors)
    console.print(crossed)
    for file, lines in sorted(files.items(), key=lambda one: -one[1]):
        console.print(f"{lines:6} {file.removeprefix(FOLDER)}", highlight=False)
    for name, way in followed.items() if options.functions else ():
        console.print(f"\n{name}\n  to the network: {', '.join(way['frames'])}", highlight=False, soft_wrap=True)
        for file, functions in way["functions"].items():
            console.print(f"  {file.removeprefix(FOLDER)}: {', '.join(functions)}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
