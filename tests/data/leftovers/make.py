"""
Freezes what a running system of this version leaves behind, with what a reader makes of each: files, tables and notes in Kafka.

A frozen folder is never made again: it is what an upgrade finds. Each release freezes its own, and `test_leftovers.py` reads
all of them:

    python tests/data/leftovers/make.py 0.1.0

Databases lie as SQL. The crash file is as a killed process leaves it.
"""

import json
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import msgspec
from kafka import TopicPartition
from typer.testing import CliRunner

from tagstream.monitoring.drift.learning import GroupLearning, ReferenceNote
from tagstream.monitoring.drift.thresholds import DriftPlan
from tagstream.stream.cli import main as cli
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.reports import Report, report_of, write_report
from tagstream.stream.deliver.breaker import BreakerFile
from tagstream.stream.deliver.crash.guard import CrashGuard, open_guard
from tagstream.stream.drift.references import fold
from tagstream.stream.kafka.group_memory import GroupMemory, remembered_epoch
from tagstream.stream.review.follower import StoreFollower
from tagstream.stream.review.store.store import Store, open_store
from tagstream.stream.settings.rollout import Rollout
from tagstream.stream.settings.settings import Settings
from tagstream.stream.tables.follower import TableFollower
from tagstream.stream.tables.predictions import Predictions, open_predictions
from tests.answering import NOW_MS, UNSURE, answer, audited, decided, of_epoch, reviewed
from tests.replacing import replace
from tests.unit.monitoring.drift.drift_cases import ordinary
from tests.unit.stream.deliver.crash.fake_trials import SEGFAULT, FakeTrials, event
from tests.unit.stream.tables.table_rows import corrected, model

HERE = Path(__file__).parent
HOUR_MS = 3_600_000
# The release that a breaker's file names is an opaque text.
RELEASE = "the release that wrote the file"
WHY = "51 of the last 100 events are dead letters, more than 0.5 of them (breaker_dead_letter_ratio)"
PLAN = DriftPlan(window_events=100, reference_windows=2, learning_seconds=200.0)
LEARNED, LEARNING = "d" * 64, "e" * 64
ROLLOUT = Settings(rollout=Rollout().of_group("tagstream"))


def settings_of(folder: Path) -> Settings:
    """A worker's settings: its state folder, and limits that do not follow the defaults."""
    limits = {"breaker_window_events": 100, "breaker_dead_letter_ratio": 0.5, "breaker_model_failure_ratio": 0.5}
    room = {"inference_threads": 1, "batch_max_events": 8}
    return Settings.model_validate({"state_folder": folder / "state", "crash_deaths": 3, **limits, **room})


@contextmanager
def store_of(folder: Path) -> Iterator[Store]:
    """The console's store, an hour after its answers."""
    with open_store(f"sqlite:///{folder}/store.sqlite", clock=lambda: NOW_MS + HOUR_MS, second_opinion_rate=0.0) as store:
        yield store


def table_of(folder: Path) -> Predictions:
    """The table of `tagstream tags`."""
    return open_predictions(f"sqlite:///{folder}/table.sqlite", followed=True)


def in_order(records: list[Record]) -> tuple[list[Record], dict[tuple[str, int], int]]:
    """The records with offsets of their own, and the offsets that a follower has then reached."""
    placed = [replace(record, offset=number) for number, record in enumerate(records)]
    return placed, {(record.topic, record.partition): record.offset + 1 for record in placed}


def leave_store(folder: Path) -> None:
    """An item that a person answered and corrected, one that a reader reported, one that waits, and an audited one."""
    asked = [decided(UNSURE), *(decided(b'{"id":"e-%d","title":"maybe image %d"}' % (at, at)) for at in (3, 4))]
    tagged = [decided(), decided(b'{"id":"e-5","title":"translation"}', by=of_epoch(7))]
    first = answer(asked[0], note="Look at the pictures.")
    second = answer(asked[0], tag="other", note="No pictures.", previous=first, now_ms=NOW_MS + 90_000)
    said = {"event_id": "e-3", "suggested_tag": "mlops", "note": "About servers.", "reporter": "bo"}
    report = report_of(said, NOW_MS + 5_000)
    assert isinstance(report, Report)
    reported = Record(topic="reports", partition=0, key=b"e-3", value=write_report(report), timestamp_ms=NOW_MS + 5_000)
    answers = [reviewed(asked[0], given) for given in (first, second)]
    with store_of(folder) as store:
        follower = StoreFollower(store, Settings(), clock=lambda: NOW_MS + HOUR_MS)
        follower.take(*in_order([*answers, *asked, *tagged, audited(tagged[0]), reported]))
        assert follower.unreadable == 0


def leave_table(folder: Path) -> None:
    """An event that a person decided and corrected, before the model decided it anew, and an event of two epochs."""
    records = [*corrected("e-1", ["computer-vision", "other"]), model(at_ms=NOW_MS + HOUR_MS)]
    records += [model("e-2", by=of_epoch(number), at_ms=NOW_MS + number) for number in (8, 7)]
    with table_of(folder) as table:
        follower = TableFollower(Settings(), table)
        follower.take(*in_order(records))
        assert follower.unreadable == 0


def leave_state(folder: Path) -> None:
    """
    An open breaker, and the file of the second of two killed workers.

    The first died with one event in the model. The second tried this event, whose trial died too, and died with another event.
    """
    trials = FakeTrials()
    trials.told[7] = [SEGFAULT, None]
    with tempfile.TemporaryDirectory() as made:
        first, second = (Path(made) / name for name in ("first", "second"))
        died = open_guard(settings_of(first), trials)
        with died.in_hand([event(7)]):
            shutil.copytree(first, second)
        died.close()
        died = open_guard(settings_of(second), trials)
        died.tried(event(7), lambda: True)
        with patch("tagstream.stream.deliver.breaker.time.time", lambda: NOW_MS / 1000):
            assert BreakerFile(settings_of(second), release=RELEASE).write(WHY)
        with died.in_hand([event(9, partition=2)]):
            shutil.copytree(second / "state", folder / "state")
        died.close()


def leave_notes(folder: Path) -> None:
    """What lies in Kafka: the notes on a learned reference and on a learning, and the metadata of a commit."""
    notes: dict[bytes, ReferenceNote] = {}
    for digest, windows in ((LEARNED, 3), (LEARNING, 1)):
        worker = GroupLearning(group="tagstream", model=digest, worker="a", plan=PLAN)
        for number in range(windows):
            made = worker.offer(list(ordinary(PLAN.window_events)), NOW_MS + number * 100_000)
            notes |= {note.key: note for note in made}
    memory = GroupMemory()
    memory.learn({}, now=NOW_MS / 1000)
    memory.decided_by(ROLLOUT.rollout.topic, 7)
    values = [{"key": text(key), "value": text(msgspec.json.encode(note))} for key, note in notes.items()]
    write(folder / "notes.json", {"references": values, "commit": memory.metadata})


def of_store(folder: Path) -> Any:
    """The open items with their doors and reports, a reviewer's answers, the totals, and how far the topics are read."""
    with store_of(folder) as store:
        claims = []
        while (claim := store.queue.claim("cy")) is not None:
            claims.append(claim)
            store.queue.skip(claim.item.event.id, claim.token)
        own = store.queue.own("ann")
        totals = store.samples.totals(0, NOW_MS + HOUR_MS)
        return {
            "items": sorted(
                [
                    claim.item.event.id,
                    claim.item.event.title,
                    claim.door.value,
                    claim.item.decision.tag,
                    claim.item.decision.confidence,
                    claim.item.decision.prediction_id,
                    [[said.suggested_tag, said.note, said.reporter] for said in claim.reports],
                ]
                for claim in claims
            ),
            "answers": [[one.event_id, one.answer_id, one.tag, one.version, one.note, one.supersedes] for one in own],
            "totals": sorted([one.destination, one.tag, one.decisions] for one in totals),
            "positions": sorted([*place, at] for place, at in store.writer.positions().items()),
        }


def of_table(folder: Path) -> Any:
    """The rows of the view, and how far the topics are read."""
    with table_of(folder) as table:
        positions = sorted([*place, at] for place, at in table.positions().items())
    with closing(sqlite3.connect(folder / "table.sqlite")) as reader:
        rows = reader.execute("SELECT event_id, tag, decider, version, epoch FROM predictions_newest ORDER BY event_id")
        return {"newest": [list(row) for row in rows], "positions": positions}


def of_lookup(folder: Path) -> Any:
    """What `tagstream lookup` prints of each event."""
    found = {}
    for event_id in ("e-1", "e-2"):
        words = ["lookup", event_id, "--table", f"sqlite:///{folder}/table.sqlite", "--json"]
        done = CliRunner().invoke(cli.app, words, catch_exceptions=False)
        said = json.loads(done.stdout)
        found[event_id] = [[one["door"], one["tag"], one["prediction_id"]] for one in [said["holds"], *said["decisions"]]]
    return found


def of_breaker(folder: Path) -> Any:
    """Why and since when it is open for the release that wrote the file; and whether another release answers it."""
    found, other = (BreakerFile(settings_of(folder), release=release).look() for release in (RELEASE, "another"))
    assert found is not None
    assert other is not None
    return {"why": found.why, "since": found.since, "answered": found.answered, "answered_by_another": other.answered}


def of_crash(folder: Path) -> Any:
    """The suspects of the next worker."""
    guard = open_guard(settings_of(folder), FakeTrials())
    assert isinstance(guard, CrashGuard)
    known = [[one.topic, one.partition, one.offset, one.deaths, one.fingerprint] for one in guard.known]
    guard.close()
    return {"suspects": known}


def of_references(folder: Path) -> Any:
    """The reference in force for the one model, and what the group has learned for the other."""
    notes = json.loads((folder / "notes.json").read_text(encoding="utf-8"))["references"]
    records = [Record(topic="references", key=content(note["key"]), value=content(note["value"])) for note in notes]
    learned, learning = (
        GroupLearning(group="tagstream", model=digest, worker="b", plan=PLAN) for digest in (LEARNED, LEARNING)
    )
    for worker in (learned, learning):
        fold(records, worker.read)
    assert learned.in_force is not None
    in_force = learned.in_force
    return {
        "events": in_force.events,
        "words": in_force.words,
        "sources": in_force.sources,
        "labels": in_force.labels,
        "distributions": in_force.figures.distributions,
        "model": in_force.model,
        "learning": [learning.in_force is not None, learning.events, learning.progress(NOW_MS + 50_000)],
    }


def of_commit(folder: Path) -> Any:
    """When the group began, and the newest epoch by which it has decided."""
    metadata = json.loads((folder / "notes.json").read_text(encoding="utf-8"))["commit"]
    began: list[float] = []
    GroupMemory(began.append).learn({0: metadata}, now=NOW_MS)
    commits = {TopicPartition("content", 0): SimpleNamespace(metadata=metadata)}
    client: Any = SimpleNamespace(list_group_offsets=lambda groups: dict.fromkeys(groups, commits))
    return {"began": began, "epoch": remembered_epoch(ROLLOUT, client)}


READERS: dict[str, Callable[[Path], Any]] = {
    "store": of_store,
    "table": of_table,
    "lookup": of_lookup,
    "breaker": of_breaker,
    "crash": of_crash,
    "references": of_references,
    "commit": of_commit,
}
"""By leftover, what this version finds in it, by the name of the finding. A reader may change the folder."""


def text(some: bytes) -> str:
    """Bytes as JSON holds them: each byte as the character of its number."""
    return some.decode("latin-1")


def content(some: str) -> bytes:
    """The bytes of such a text."""
    return some.encode("latin-1")


def write(path: Path, found: Any) -> None:
    """Write JSON."""
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def thaw(frozen: Path, folder: Path) -> None:
    """Make a folder as the older version left it, with databases instead of SQL."""
    shutil.copytree(frozen, folder)
    for dump in folder.glob("*.sql"):
        with closing(sqlite3.connect(dump.with_suffix(".sqlite"))) as database:
            database.executescript(dump.read_text(encoding="utf-8"))
        dump.unlink()


def main(version: str) -> None:
    """Freeze."""
    frozen = HERE / version
    frozen.mkdir()
    with tempfile.TemporaryDirectory() as made:
        leave_store(Path(made))
        leave_table(Path(made))
        for path in Path(made).glob("*.sqlite"):
            with closing(sqlite3.connect(path)) as database:
                (frozen / f"{path.stem}.sql").write_text("\n".join(database.iterdump()) + "\n", encoding="utf-8")
    leave_state(frozen)
    leave_notes(frozen)
    with tempfile.TemporaryDirectory() as made:
        thaw(frozen, Path(made) / version)
        write(frozen / "read.json", {name: read(Path(made) / version) for name, read in READERS.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
