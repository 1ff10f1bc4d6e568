"""
One decision behind every door: stream, `classify`, HTTP, batch to Parquet and through Postgres.

`tests/engines` asks Ray and Spark about the same articles.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tagstream.model_export.data.reader import rows_of
from tagstream.monitoring.vocabulary import Destination
from tagstream.stream.broker import Broker
from tagstream.stream.broker.processes import Processes
from tagstream.stream.settings.loading import load
from tests.faults.cluster.topics import fresh_environment, make_topics
from tests.faults.observer import TopicObserver
from tests.faults.verdict.matching import CLOCK
from tests.faults.worker.fleet import ROOT, without_settings
from tests.integration.command_line import Command
from tests.integration.doors.articles import FIELDS, authored, gold, write_csv
from tests.integration.running import written
from tests.postgres import postgres
from tests.waiting import HANG_SECONDS, until

pytestmark = pytest.mark.broker

ROWS_A_REQUEST = 50
GOLD_ROWS = 191
Answers = dict[str, bytes]
"""The answer object of each event up to `tagged_at`, by its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Articles:
    """The rows that every door is asked about: as CSV, as Parquet, and the rows themselves."""

    file: Path
    parquet: Path
    rows: list[dict[str, str]]

    @property
    def values(self) -> list[bytes]:
        """The events that the rows are."""
        return [row.value for row in rows_of(str(self.file))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the doors are."""

    bundle: Path
    folder: Path
    tagstream: Command
    processes: Processes
    kafka: Broker

    def start(self, verb: str, environ: dict[str, str], *options: str) -> tuple[object, Path]:
        """Start a verb of the command that does not end; the process and its log."""
        log = self.folder / f"{verb}.log"
        process = self.processes.start(
            [sys.executable, "-m", "tagstream.stream.cli.main", verb, "--bundle", self.bundle, *options],
            env={**without_settings(os.environ), "PYTHONPATH": str(ROOT), **environ},
            log_file=log,
        )
        return process, log

    def run(self, *words: str | Path, environ: dict[str, str] | None = None) -> bytes:
        """Run the command to its end; its output."""
        done = self.tagstream(*words, environ=environ)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


@pytest.fixture(scope="module")
def articles(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Articles:
    """The authored handful, or the holdout where it can be had."""
    folder = tmp_path_factory.mktemp("articles")
    rows = request.param()
    if isinstance(rows, str):
        pytest.skip(rows)
    pq.write_table(
        # A column says that there is no description by a null, a CSV file by an empty cell.
        pa.Table.from_pylist(
            [{name: value or None for name, value in row.items()} for row in rows],
            schema=pa.schema([(name, pa.string()) for name in FIELDS]),
        ),
        folder / "articles.parquet",
    )
    return Articles(file=write_csv(folder / "articles.csv", rows), parquet=folder / "articles.parquet", rows=rows)


@pytest.fixture(scope="module")
def place(
    articles: Articles,  # noqa: ARG001 - other articles have another place
    tmp_path_factory: pytest.TempPathFactory,
    bundle_folder: Path,
    tagstream_in: Callable[[Path], Command],
    kafka: Broker,
) -> Iterator[Place]:
    """A folder for the articles, and processes that end with the last test about them."""
    folder = tmp_path_factory.mktemp("doors")
    with Processes(grace_seconds=0) as processes:
        yield Place(bundle=bundle_folder, folder=folder, tagstream=tagstream_in(folder), processes=processes, kafka=kafka)


@pytest.fixture(scope="module")
def by_door(place: Place, articles: Articles) -> dict[str, Answers]:
    """Every door's answers about all articles. Each door is asked once, since some take long to open."""
    return {name: door(place, articles) for name, door in DOORS.items()}


def answers(lines: Iterable[bytes]) -> Answers:
    """The answers of these objects."""
    found = {json.loads(line)["id"]: line.rpartition(CLOCK)[0] for line in lines}
    assert all(found.values()), found
    return found


def by_classify(place: Place, articles: Articles) -> Answers:
    """`tagstream classify --json`, which writes hidden characters as escapes, so that they do nothing on a terminal."""
    lines = place.run("classify", "--json", articles.file, "--bundle", place.bundle).splitlines()
    return answers(re.sub(rb"\\u(200b|202e)", lambda found: chr(int(found[1], 16)).encode(), line) for line in lines)


def by_stream(place: Place, articles: Articles) -> Answers:
    """`tagstream send` and `tagstream worker`, read back from `tagged` and `review`."""
    environ = {
        **fresh_environment(place.kafka.bootstrap, "doors"),
        "TAGSTREAM_STATE_FOLDER": str(place.folder / "state"),
    }
    settings = load(environ, folder=ROOT).settings
    make_topics(settings)
    place.run("send", articles.file, environ=environ)
    worker, _ = place.start("worker", environ)
    with TopicObserver(settings) as observer:
        until(lambda: written(observer) >= len(articles.rows), "every row has an outcome", process=worker)
        outcomes = observer.outcomes()
    return answers(record.value or b"" for door in (Destination.TAGGED, Destination.REVIEW) for record in outcomes[door])


def served(place: Place) -> str:
    """The address of a service, started at the first call."""
    log = place.folder / "serve.log"
    if not log.exists():
        # A busy machine may need longer than the service's own deadline.
        place.start("serve", {}, "--port", "0", "--deadline-seconds", "300")
    found = until(
        lambda: re.search(r"the service: (http://\S+?)/docs", log.read_text()), "the service is there", state=log.read_text
    )
    return found[1]


def by_http(place: Place, articles: Articles) -> Answers:
    """`POST /classify`, some events a request."""
    values, found = articles.values, []
    for start in range(0, len(values), ROWS_A_REQUEST):
        body = b"[" + b",".join(values[start : start + ROWS_A_REQUEST]) + b"]"
        response = httpx.post(f"{served(place)}/classify", content=body, timeout=HANG_SECONDS)
        assert response.status_code == 200, response.text
        found += one_by_one(response.content)
    return answers(found)


def one_by_one(array: bytes) -> list[bytes]:
    """The objects of an array, byte for byte."""
    return [bytes(item) for item in msgspec.json.decode(array, type=list[msgspec.Raw])]


def by_batch(place: Place, articles: Articles) -> Answers:
    """`tagstream batch` from CSV to Parquet."""
    place.run("batch", articles.file, place.folder / "batch.parquet", "--bundle", place.bundle)
    table = pq.read_table(place.folder / "batch.parquet")
    return answers(answer.encode() for answer in table["answer"].to_pylist())


def by_postgres(place: Place, articles: Articles) -> Answers:
    """`tagstream batch` from a table to a table."""
    with postgres() as server:
        url = server.fresh()
        with psycopg.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE articles (id text PRIMARY KEY, created_on text, title text, description text, tag text)"
            )
            cursor.executemany(
                "INSERT INTO articles VALUES (%s, %s, %s, %s, %s)",
                [tuple(row[name] or None for name in FIELDS) for row in articles.rows],
            )
        place.run("batch", f"{url}#articles", f"{url}#predictions", "--bundle", place.bundle)
        with psycopg.connect(url) as connection:
            return answers(answer.encode() for (answer,) in connection.execute("SELECT answer FROM predictions"))


DOORS: dict[str, Callable[[Place, Articles], Answers]] = {
    "classify": by_classify,
    "stream": by_stream,
    "HTTP": by_http,
    "batch to Parquet": by_batch,
    "batch through Postgres": by_postgres,
}


def check(by_door: dict[str, Answers], articles: Articles) -> None:
    """Every door has an answer for each article and for nothing else, and it is the one of `classify`."""
    ids = {row["id"] for row in articles.rows}
    expected = by_door["classify"]
    assert {door: found.keys() == ids for door, found in by_door.items()} == dict.fromkeys(DOORS, True)
    for door, found in by_door.items():
        assert found == expected, door


@pytest.mark.parametrize("articles", [authored], indirect=True)
def test_the_authored_texts_get_one_decision(by_door: dict[str, Answers], articles: Articles) -> None:
    """Whichever door they go through, the bytes before `tagged_at` are the same; no door has an answer to something else."""
    check(by_door, articles)


@pytest.mark.slow
@pytest.mark.parametrize("articles", [gold], indirect=True)
def test_the_holdout_gets_one_decision(by_door: dict[str, Answers], articles: Articles) -> None:
    """The same for all rows of the gold holdout."""
    assert len(articles.rows) == GOLD_ROWS
    check(by_door, articles)
