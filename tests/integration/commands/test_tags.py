"""`tagstream tags` on Apache Kafka: a table of the newest decisions, on both databases, through kills and repetitions."""

import random
import sys
from pathlib import Path

import pytest

from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.contract.event import Record
from tagstream.stream.kafka import producer
from tagstream.stream.kafka.reading.backwards import partition_of
from tagstream.stream.settings.settings import Settings
from tagstream.stream.tables.predictions import open_predictions
from tagstream.stream.tables.row import PredictionRow
from tests.answering import NOW_MS, audited, decided, published
from tests.integration.command_line import Command, lines
from tests.replacing import replace
from tests.unit.stream.tables.table_rows import corrected, model, row
from tests.waiting import until

pytestmark = pytest.mark.broker
EVENTS = 40
KILLS = 3


def history(seed: int) -> list[Record]:
    """Decisions of models and people on some events, each perhaps more than once, in no order."""
    chance = random.Random(seed)  # noqa: S311 - the same at each run
    records = []
    for number in range(EVENTS):
        said = [chance.choice(["mlops", "other", "computer-vision"]) for _ in range(number % 4)]
        made = corrected(f"e-{seed}-{number}", said)
        made.append(model(f"e-{seed}-{number}", at_ms=NOW_MS + 1 + number))
        records += [record for record in made for _ in range(chance.choice([1, 1, 3]))]
    chance.shuffle(records)
    return records


def write(settings: Settings, records: list[Record]) -> None:
    """Write records to their topics, each to the partition of its key."""
    names: dict[str, str] = settings.topics.model_dump()
    placed = [
        replace(record, topic=names[record.topic], partition=partition_of(record.key or b"", settings.topic_partitions))
        for record in records
    ]
    with producer.verbatim_sender(settings, idempotent=True) as sender:
        assert sender.deliver(placed) == [None] * len(placed)


def holding(records: list[Record]) -> dict[str, PredictionRow]:
    """The decision of each event that holds, by the order of the records' own contract."""
    found: dict[str, Record] = {}
    for record in sorted(records, key=lambda record: published(record).standing):
        found[published(record).event.id] = record
    return {event_id: row(record) for event_id, record in found.items()}


def newest(url: str, events: dict[str, PredictionRow]) -> dict[str, PredictionRow | None]:
    """The table's rows of these events."""
    with open_predictions(url) as predictions:
        return {event_id: predictions.newest(event_id) for event_id in events}


@pytest.mark.parametrize("url", ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)], indirect=True)
def test_the_table_says_what_the_topics_say(tagstream: Command, environ: dict[str, str], settings: Settings, url: str) -> None:
    """Each event has the decision that `lookup` finds on the topics; a second run reads what is new, and records of no contract are told."""
    first = history(1)
    bad = [
        Record(topic="tagged", key=b"x", value=b"{]"),
        Record(topic="review", key=None, value=None),
        replace(audited(decided()), topic="tagged"),
    ]
    write(settings, [*first, *bad])
    done = tagstream("tags", "--table", url, "--once", environ=environ)
    assert done.returncode == 0, done.stderr.decode()
    assert f"{len(first) + len(bad)} records read".encode() in done.stderr
    assert b"3 records left out" in done.stderr
    assert b"secret-of-tests" not in done.stderr
    expected = holding(first)
    assert newest(url, expected) == expected

    event_id = f"e-1-{EVENTS - 1}"
    [from_topics] = lines(tagstream("lookup", event_id, "--json", environ=environ).stdout)
    [from_table] = lines(tagstream("lookup", event_id, "--table", url, "--json").stdout)
    shared = {name: value for name, value in from_topics["holds"].items() if name not in {"topic", "partition", "offset"}}  # type: ignore[attr-defined]
    assert from_table["holds"] == shared | {"epoch": 0, "stale": False, "decided_at": from_table["holds"]["decided_at"]}  # type: ignore[index]
    assert len(from_table["decisions"]) == len(from_topics["decisions"])  # type: ignore[arg-type]

    again = history(2)
    write(settings, again)
    done = tagstream("tags", "--table", url, "--once", environ=environ)
    assert f"{len(again)} records read".encode() in done.stderr
    expected |= holding(again)
    assert newest(url, expected) == expected


@pytest.mark.slow
def test_a_follower_that_is_killed_reads_on(
    environ: dict[str, str], settings: Settings, url: str, processes: Processes, tmp_path: Path
) -> None:
    """Kill -9 as soon as it has written something, three times, while records arrive: the table is that of one run. SIGTERM ends it with 0."""

    def start() -> Process:
        argv = [sys.executable, "-m", "tagstream.stream.cli.main", "tags", "--table", url]
        return processes.start(argv, env=environ, log_file=tmp_path / "tags.log")

    def reached() -> int:
        with open_predictions(url, followed=True) as predictions:
            return sum(predictions.positions().values())

    records: list[Record] = []
    for seed in range(KILLS):
        before = reached()
        fresh = history(seed)
        write(settings, fresh)
        records += fresh
        follower = start()
        until(lambda: reached() > before, "the follower has written", process=follower, state=reached)  # noqa: B023
        follower.kill()
    follower = start()
    until(lambda: reached() == len(records), "all records are read", process=follower, state=reached)
    # The process that was killed last may have read everything: a signal must not meet a Python that is still starting.
    until(lambda: "topics_followed" in follower.output(), "the follower follows", process=follower)
    follower.ask_to_end()
    until(lambda: not follower.running(), "the follower ends", state=follower.output)
    assert follower.exit_code == 0, follower.output()
    expected = holding(records)
    assert newest(url, expected) == expected


@pytest.mark.slow
def test_a_table_of_another_cluster_is_refused(
    tagstream: Command, environ: dict[str, str], settings: Settings, url: str
) -> None:
    """It stands behind the end of a topic, so it would miss what comes next."""
    with open_predictions(url, followed=True) as predictions:
        predictions.upsert([row(model())], {(settings.topics.tagged, 0): 1000})
    done = tagstream("tags", "--table", url, "--once", environ=environ)
    assert done.returncode == 2
    assert b"up to 1000, and the topic ends at 0" in done.stderr
    assert b"Next: give another table by --table" in done.stderr
