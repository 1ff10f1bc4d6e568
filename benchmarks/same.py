"""Runs the same inputs through another revision and through this checkout, and says where their outputs differ by a byte.

    python -m benchmarks.same --against REV [--with-broker] [--only PART]

Both trees are called by the command `tagstream` alone, as each tree's pyproject.toml names it, so files may move between them. Parts:
`classify`, `batch`, `contract`, `model`, `settings`; and `--with-broker`, on an Apache Kafka for each tree, `worker` (every record of
its topics, for hostile and for varied events) and `review` (answers that are imported, decided and exported). A time stamp of this
run becomes zeros, digit by digit, as does the folder of a tree; the rest is compared byte by byte. Exit code 1 if there is a
difference that DECIDED does not name.
"""

import argparse
import base64
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from tagstream.stream.broker import broker
from tests.faults.upstream.variety import varied
from tests.hostile.corpus import corpus
from tests.hostile.record import NUMBER

ROOT = Path(__file__).parents[1]
COMMAND_SECONDS = 1800
DONE_SECONDS = 1800
START_SECONDS = 300.0
LOOK_SECONDS = 0.5
SHOWN = 5
SHOWN_CHARACTERS = 160
# Of the hostile records: all go through the worker, so many through `classify`, `contract check` and `batch`, which read lines.
HOSTILE, HOSTILE_LINES = 3_000, 2_000
VARIED, VARIED_MALFORMED = 1_500, 100
ANSWERED, TAKEN_BACK_EVERY, HOSTILE_ANSWERS = 60, 10, 500
# The number of the first hostile answer, above those of events.
ANSWERS_FROM = 1_000_000
# Of the records without a time of their own: brokers delete what is a week old.
FIRST_MS = time.time_ns() // 1_000_000
ANNOTATED_AT = "2024-01-02T03:04:05.678901Z"
DOORS = ("tagged", "review", "content.dlq", "audit", "reviewed")
# The module and function of a tree's command, from that tree and no other: an editable install must not answer for it.
ENTRY = """
import importlib, sys
module, function, root = sys.argv[1:4]
found = importlib.import_module(module)
if not found.__file__.startswith(root + "/"):
    raise ImportError(f"{module} came from {found.__file__}, not from {root}")
sys.argv = ["tagstream", *sys.argv[4:]]
sys.exit(getattr(found, function)())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """
    A difference that was wanted.

    Attributes:
        places: Outputs with the paths of their fields, as a difference is printed with them.
        before: As JSON; None where the field was missing.
        after: As JSON; None where the field is gone.
        because: The reason.
    """

    places: tuple[tuple[str, str], ...]
    before: str | None
    after: str | None
    because: str


# Since e31436f, all in the CHANGELOG.
DECIDED: tuple[Decided, ...] = (
    Decided(
        places=(("classify examples-tickets-gold.csv", "description"), ("classify examples-tickets-rows.csv", "description")),
        before='""',
        after=None,
        because="an empty CSV cell of `description` is no field",
    ),
    Decided(
        places=(
            ("contract show", "components.schemas.content.dlq.headers.properties.x-dlq-code.x-known-values[]"),
            ("contract show --format jsonschema", "content.dlq.headers.properties.x-dlq-code.x-known-values[]"),
            ("contract show --format jsonschema", "classified.anyOf[3].properties.error.properties.code.x-known-values[]"),
            ("contract show classified", "anyOf[3].properties.error.properties.code.x-known-values[]"),
            ("contract show dlq", "properties.x-dlq-code.x-known-values[]"),
        ),
        before=None,
        after='"unsigned_answer"',
        because="answers can be signed: a code more",
    ),
    Decided(
        places=(("config show", "security.answer_keys_file"),),
        before=None,
        after='{"variable": "TAGSTREAM_SECURITY__ANSWER_KEYS_FILE", "range": "", "default": null, "value": null}',
        because="answers can be signed: a setting more",
    ),
    Decided(
        places=(("config show", "audit_rate.range"),),
        before='"0 to 1"',
        after='"0, or 1e-06 to 1"',
        because="`audit_rate` is 0, or 0.000001 and more",
    ),
    Decided(
        places=(("config show", "topics.references"),),
        before=None,
        after=(
            '{"variable": "TAGSTREAM_TOPICS__REFERENCES", "range": "a topic\'s name", "default": "references", '
            '"value": "references"}'
        ),
        because="the group keeps on a topic what it has learned of its ordinary stream",
    ),
    Decided(
        places=(("config show", "drift_learning_seconds"),),
        before=None,
        after='{"variable": "TAGSTREAM_DRIFT_LEARNING_SECONDS", "range": "0 or more", "default": 3600.0, "value": 3600.0}',
        because="the group learns its first hour",
    ),
    Decided(
        places=(("config show", "real"),),
        before=None,
        after='{"variable": "TAGSTREAM_REAL", "range": "", "default": null, "value": null}',
        because="labels of real titles: a setting of the evaluation",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One field that differs; `before` and `after` are JSON, None where it is missing."""

    output: str
    line: int
    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Tree:
    """A revision in a folder, and a folder for what its commands write."""

    root: Path
    work: Path
    environ: Mapping[str, str] = field(default_factory=dict)

    def argv(self, *words: str | Path) -> list[str]:
        """The command line of this tree's `tagstream`."""
        scripts = tomllib.loads((self.root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
        return [sys.executable, "-c", ENTRY, *scripts["tagstream"].split(":"), str(self.root), *map(str, words)]

    def environment(self) -> dict[str, str]:
        """Without the settings of whoever runs this."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TAGSTREAM_")}
        state = {"PYTHONPATH": str(self.root), "COLUMNS": "200", "TAGSTREAM_STATE_FOLDER": str(self.work / "state")}
        return {**kept, **state, **self.environ}

    def run(self, *words: str | Path) -> list[bytes]:
        """The lines that a command prints, and a last one with its exit code."""
        done = subprocess.run(
            self.argv(*words),
            cwd=self.work,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        # Both trees may fail alike, which would look the same.
        if b"Traceback" in done.stderr:
            sys.exit(f"{self.root}: {' '.join(map(str, words))}: {done.stderr.decode(errors='replace')}")
        printed = done.stdout.replace(str(self.root).encode(), b"TREE").replace(str(self.work).encode(), b"WORK")
        whole = [printed] if printed.startswith(b"{\n") else printed.splitlines()
        return [*whole, b"exit code %d" % done.returncode]


Outputs = dict[str, list[bytes]]
"""Lines (or whole documents) by the name of the output."""


# --- inputs --------------------------------------------------------------------------------------------------------------


def write_inputs(folder: Path) -> list[Path]:
    """
    Rows: every CSV and JSON Lines file of this checkout but the corpus, the holdout where TAGSTREAM_DATA has it, hostile records.

    The corpus would be most of the time, and says of a text nothing that the suites do not.
    """
    listed = subprocess.run(
        ["git", "ls-files", "*.jsonl", "*.csv"],  # noqa: S607 - git of the PATH
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.splitlines()
    for name in (name for name in listed if "/corpus/" not in name):
        (folder / name.replace("/", "-")).write_bytes((ROOT / name).read_bytes())
    holdout = Path(os.environ.get("TAGSTREAM_DATA", "/")) / "holdout.csv"
    if holdout.is_file():
        (folder / "holdout.csv").write_bytes(holdout.read_bytes())
    else:
        print("without the holdout: TAGSTREAM_DATA names no folder that has it", file=sys.stderr)
    values = [record.value for _, record in corpus(HOSTILE_LINES)]
    lines = [value for value in values if value and b"\n" not in value and b"\r" not in value]
    (folder / "hostile.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return sorted(folder.iterdir())


# --- parts without a broker ----------------------------------------------------------------------------------------------


def classify(tree: Tree, inputs: Sequence[Path]) -> Outputs:
    """Every input, by the model and by rules, and what `contract check` makes of it."""
    found: Outputs = {}
    for one in inputs:
        found[f"classify {one.name}"] = tree.run("classify", one, "--json")
        if one.name in {"hostile.jsonl", "holdout.csv"}:
            found[f"contract check {one.name}"] = tree.run("contract", "check", one, "--json")
            found[f"classify --decider rules {one.name}"] = tree.run("classify", one, "--json", "--decider", "rules")
    return found


def batch(tree: Tree, inputs: Sequence[Path]) -> Outputs:
    """Files into each format and a table, with the rows that are no event; then Parquet in, and columns of other names."""
    found: Outputs = {}
    chosen = [one for one in inputs if one.name in {"hostile.jsonl", "holdout.csv"} or "samples" in one.name]
    for one in chosen:
        for form in ("csv", "jsonl", "parquet", "sqlite"):
            out = tree.work / f"{one.stem}.{form}"
            target = f"sqlite:///{out}#decisions" if form == "sqlite" else str(out)
            rejected = tree.work / f"{one.stem}.{form}.rejected"
            name = f"batch {one.name} to {form}"
            found[name] = tree.run("batch", one, target, "--rejected", rejected, "--json") + contents(out)
            found[f"{name}, rejected"] = contents(rejected)
    samples = next(one for one in chosen if "samples" in one.name)
    again = tree.work / "again.jsonl"
    found["batch from parquet"] = tree.run("batch", tree.work / f"{samples.stem}.parquet", again, "--json") + contents(again)
    named = tree.work / "named.jsonl"
    words = ("batch", samples, named, "--title", "source", "--description", "title", "--json")
    found["batch with named columns"] = tree.run(*words) + contents(named)
    return found


def contents(file: Path) -> list[bytes]:
    """The lines of a file; of Parquet its schema and rows, of SQLite its statements."""
    if not file.exists():
        return [b"no such file"]
    if file.suffix == ".parquet":
        table = pyarrow.parquet.read_table(file)
        schema = str(table.schema.remove_metadata()).encode().splitlines()
        return [
            *schema,
            *(
                json.dumps(row, default=partial(datetime.isoformat, timespec="microseconds"), ensure_ascii=False).encode()
                for row in table.to_pylist()
            ),
        ]
    if file.suffix == ".sqlite":
        with sqlite3.connect(file) as database:
            database.text_factory = partial(str, errors="surrogateescape")
            # The order in which a table's indices are made is nobody's.
            return sorted(statement.encode(errors="surrogateescape") for statement in database.iterdump())
    return file.read_bytes().splitlines()


def contract(tree: Tree, _: Sequence[Path]) -> Outputs:
    """The published contract."""
    forms: tuple[tuple[str, ...], ...] = ((), ("--format", "jsonschema"), ("dlq",), ("classified",), ("content.write",))
    return {" ".join(("contract show", *words)): tree.run("contract", "show", *words) for words in forms}


def model(tree: Tree, _: Sequence[Path]) -> Outputs:
    """The manifest of the shipped bundle, its digest among it, and that it verifies."""
    return {
        "model inspect": tree.run("model", "inspect", "--json"),
        "model verify": tree.run("model", "verify", "--json"),
    }


def settings(tree: Tree, _: Sequence[Path]) -> Outputs:
    """Every setting by its key: its variable, range and default, without its meaning in words."""
    *shown, code = tree.run("config", "show", "--json")
    kept = ("variable", "range", "default", "value")
    by_key = {one["key"]: {name: one[name] for name in kept} for one in map(json.loads, shown)}
    return {"config show": [json.dumps(by_key, ensure_ascii=False).encode(), code]}


PARTS: dict[str, Callable[[Tree, Sequence[Path]], Outputs]] = {
    "classify": classify,
    "batch": batch,
    "contract": contract,
    "model": model,
    "settings": settings,
}


# --- parts with a broker -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A record to send; all headers with the number by which both trees' outcomes are put side by side."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    timestamp_ms: int


def events(first: int = 0) -> list[Sent]:
    """
    The hostile records, then the fault harness's varied ones, those of transactions that do not commit left out.

    Args:
        first: The number of the first one.
    """
    hostile = [(one.key, one.value, one.headers[1:], one.timestamp_ms or FIRST_MS) for _, one in corpus(HOSTILE)]
    planted = [one for one in varied(VARIED, malformed=VARIED_MALFORMED, seed="same") if one.is_event]
    ordinary = [(one.key, one.value, one.headers, FIRST_MS + at) for at, one in enumerate(planted)]
    return [
        Sent(key=key, value=value, headers=[(NUMBER, b"%d" % number), *headers], timestamp_ms=stamp)
        for number, (key, value, headers, stamp) in enumerate(hostile + ordinary, first)
    ]


def send(bootstrap: str, topic: str, records: Sequence[Sent]) -> None:
    """All records, in order, alternating between two partitions."""
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, acks="all", max_request_size=8 * 2**20, max_in_flight_requests_per_connection=1
    )
    confirmations = [
        producer.send(
            topic,
            # The client refuses a record of nothing.
            key=b"" if one.value is None and one.key is None else one.key,
            value=one.value,
            headers=list(one.headers),
            timestamp_ms=one.timestamp_ms,
            partition=number % 2,
        )
        for number, one in enumerate(records)
    ]
    for one in confirmations:
        one.get(timeout=60)
    producer.close()


def await_commits(consumer: KafkaConsumer, worker: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until the group has committed the ends of both topics that a worker reads."""
    read = [TopicPartition(topic, partition) for topic in ("content", "reviewed") for partition in (0, 1)]
    deadline = time.monotonic() + DONE_SECONDS
    while any(end and (consumer.committed(one) or 0) < end for one, end in consumer.end_offsets(read).items()):
        if worker.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"the worker ended or did not end its work; the end of its log:\n{log.read_text()[-3000:]}")
        time.sleep(LOOK_SECONDS)


def records(bootstrap: str) -> Outputs:
    """Every record of the topics that outcomes go to, as JSON, in the order of the numbers that their events had."""
    with closing(KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)) as reader:
        return {f"topic {topic}": [as_json(row) for row in sorted(read_topic(reader, topic), key=place)] for topic in DOORS}


def read_topic(reader: KafkaConsumer, topic: str) -> list[Any]:
    """All records that a topic has now."""
    partitions = [TopicPartition(topic, partition) for partition in sorted(reader.partitions_for_topic(topic) or ())]
    reader.assign(partitions)
    reader.seek_to_beginning()
    ends = reader.end_offsets(partitions)
    rows: list[Any] = []
    while any(reader.position(one) < end for one, end in ends.items()):
        rows += [row for polled in reader.poll(timeout_ms=1000).values() for row in polled]
    return rows


def place(row: Any) -> tuple[int, bytes, bytes]:
    """The number of the event; then, for records without one, the key and the value."""
    number = dict(row.headers or ()).get(NUMBER)
    return (int(number) if number is not None and number.isdigit() else -1, row.key or b"", row.value or b"")


def as_json(row: Any) -> bytes:
    """A record without its offset; one without a key lies in the partition that its client had begun a batch for."""
    value = {
        "partition": None if row.key is None else row.partition,
        "key": _text(row.key),
        "headers": [[name, _text(content)] for name, content in row.headers],
        "value": _text(row.value),
    }
    return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")


def _text(raw: bytes | None) -> str | None:
    if raw is None:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(raw).decode()


@contextmanager
def worker_of(tree: Tree) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """A worker of this tree and its log, ended by SIGTERM."""
    log = tree.work / "worker.log"
    with log.open("wb") as written:
        running = subprocess.Popen(
            tree.argv("worker"), cwd=tree.work, env=tree.environment(), stdin=subprocess.DEVNULL, stdout=written, stderr=written
        )
        try:
            yield running, log
        finally:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(90)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
    if running.returncode:
        sys.exit(f"the worker ended with {running.returncode}:\n{log.read_text()[-3000:]}")


def on_broker(tree: Tree, bootstrap: str) -> Outputs:
    """Events through a worker, answers by an import, hostile answers, all topics, and all exports."""
    tree = Tree(
        tree.root,
        tree.work,
        {"TAGSTREAM_BROKERS": bootstrap, "TAGSTREAM_METRICS_PORT": "0", "TAGSTREAM_TOPIC_PARTITIONS": "2"},
    )
    found: Outputs = {}
    made = tree.run("doctor", "--create-topics", "--json")
    if made[-1] != b"exit code 0":
        sys.exit(b"\n".join(made).decode())
    send(bootstrap, "content", events())
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id="tagstream", enable_auto_commit=False)
    with worker_of(tree) as (running, log):
        await_commits(consumer, running, log)
        tasks = tree.work / "tasks.json"
        words = ("review", "--export", tasks, "--form", "label-studio", "--open")
        found["review --export of what waits"] = tree.run(*words) + task_lines(tasks)
        tasks.write_text(json.dumps(annotated(json.loads(tasks.read_bytes()))), encoding="utf-8")
        found["review --import"] = tree.run("review", "--import", tasks, "--form", "label-studio")
        send(bootstrap, "reviewed", events(first=ANSWERS_FROM)[:HOSTILE_ANSWERS])
        await_commits(consumer, running, log)
    consumer.close()
    for form in ("lines", "rows", "label-studio"):
        out = tree.work / f"answers.{form}"
        read = task_lines if form == "label-studio" else contents
        found[f"review --export --form {form}"] = sorted(tree.run("review", "--export", out, "--form", form) + read(out))
    found["dlq list"] = listed_letters(tree.run("dlq", "list", "--json"))
    found["dlq list --events"] = sorted(tree.run("dlq", "list", "--events"))
    return found | records(bootstrap)


def listed_letters(lines: list[bytes]) -> list[bytes]:
    """Dead letters in the order of their origins, without their own places: without a key a client's batches give them."""
    *rows, code = lines
    letters = [json.loads(row) for row in rows]
    letters.sort(key=lambda letter: json.dumps(letter["from"], sort_keys=True))
    kept = [{name: value for name, value in letter.items() if name not in {"partition", "offset"}} for letter in letters]
    return [*(json.dumps(letter, ensure_ascii=False).encode() for letter in kept), code]


def task_lines(file: Path) -> list[bytes]:
    """Label Studio's tasks, one a line, in an order that does not depend on the topics' partitions."""
    return sorted(json.dumps(task, ensure_ascii=False).encode() for task in json.loads(file.read_bytes()))


def annotated(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Some tasks, answered in turn by each label, with and without a note, and some taken back."""
    chosen = sorted(tasks, key=lambda task: json.dumps(task["data"], sort_keys=True))[:ANSWERED]
    labels = ("natural-language-processing", "computer-vision", "mlops", "other")
    for number, task in enumerate(chosen):
        said = [
            {"from_name": "tag", "to_name": "text", "type": "choices", "value": {"choices": [labels[number % len(labels)]]}}
        ]
        if number % 3 == 0:
            note = {"text": [f"note {number}"]}
            said.append({"from_name": "note", "to_name": "text", "type": "textarea", "value": note})
        task["annotations"] = [
            {
                "result": said,
                "was_cancelled": number % TAKEN_BACK_EVERY == TAKEN_BACK_EVERY - 1,
                "completed_by": {"id": 7, "email": "lea@example.com"},
                "created_at": ANNOTATED_AT,
                "updated_at": ANNOTATED_AT,
            }
        ]
    return chosen


# --- comparison ----------------------------------------------------------------------------------------------------------

STAMP = re.compile(rb"20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?=\D)(?:\.\d+)?")
MILLISECONDS = re.compile(rb"(?<!\d)1\d{12}(?!\d)")


@dataclass(frozen=True, slots=True)
class Clock:
    """The time of this run. Only stamps within it become zeros, so those of the inputs are compared."""

    began: datetime

    def without_stamps(self, line: bytes) -> bytes:
        """The line with the digits of this run's time stamps as zeros: how long a stamp is and how it is written still counts."""
        line = STAMP.sub(lambda found: self._zeros(found[0], _moment(found[0])), line)
        return MILLISECONDS.sub(lambda found: self._zeros(found[0], datetime.fromtimestamp(int(found[0]) / 1000, UTC)), line)

    def _zeros(self, text: bytes, moment: datetime | None) -> bytes:
        is_ours = moment is not None and self.began - timedelta(minutes=1) <= moment <= datetime.now(UTC)
        return re.sub(rb"\d", b"0", text) if is_ours else text


def _moment(text: bytes) -> datetime | None:
    try:
        return datetime.fromisoformat(text[:19].decode()).replace(tzinfo=UTC)
    except ValueError:
        return None


def differences(before: Outputs, after: Outputs, clock: Clock) -> Iterator[Difference]:
    """Every field that differs, output by output."""
    for name in sorted(before | after):
        old = [clock.without_stamps(line) for line in before.get(name, [])]
        new = [clock.without_stamps(line) for line in after.get(name, [])]
        for number in range(max(len(old), len(new))):
            pair = [lines[number] if number < len(lines) else None for lines in (old, new)]
            if pair[0] != pair[1]:
                yield from (Difference(output=name, line=number + 1, path=p, before=b, after=a) for p, b, a in fields(*pair))


def fields(before: bytes | None, after: bytes | None) -> Iterator[tuple[str, str | None, str | None]]:
    """Path, before and after of each field that differs between two lines that differ."""
    old, new = (None if line is None else _parsed(line) for line in (before, after))
    if old is None or new is None:
        yield "", None if before is None else repr(before), None if after is None else repr(after)
        return
    found = list(_walk("", old, new))
    yield from found or [("(same values, other bytes)", repr(before), repr(after))]


def _parsed(line: bytes | str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _walk(path: str, old: Any, new: Any) -> Iterator[tuple[str, str | None, str | None]]:
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _walk_objects(path, old, new)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _walk(f"{path}[{number}]", one, other)
    elif isinstance(old, list) and isinstance(new, list) and [one for one in new if one in old] == old:
        yield from ((f"{path}[]", None, json.dumps(one)) for one in new if one not in old)
    elif isinstance(old, str) and isinstance(new, str) and old != new:
        inner = (_parsed(old), _parsed(new)) if old[:1] in "{[" else (None, None)
        within = list(_walk(path + ":", *inner)) if None not in inner else []
        yield from within or [(path, json.dumps(old), json.dumps(new))]
    elif old != new or type(old) is not type(new):
        yield path, json.dumps(old), json.dumps(new)


def _walk_objects(path: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, str | None, str | None]]:
    for name in old | new:
        step = f"{path}.{name}" if path else name
        if name not in new:
            yield step, json.dumps(old[name]), None
        elif name not in old:
            yield step, None, json.dumps(new[name])
        else:
            yield from _walk(step, old[name], new[name])
    if old == new and list(old) != list(new):
        yield f"{path} (order)", json.dumps(list(old)), json.dumps(list(new))


def report(found: Sequence[Difference]) -> bool:
    """Print differences by output and path, those that were decided with their reason; whether others are among them."""
    decided = {(*place, one.before, one.after): one.because for one in DECIDED for place in one.places}
    reasons = Counter(decided[key] for one in found if (key := (one.output, one.path, one.before, one.after)) in decided)
    open_ones = [one for one in found if (one.output, one.path, one.before, one.after) not in decided]
    for because, count in reasons.items():
        print(f"decided, {count} places: {because}")
    by_place = Counter((one.output, one.path) for one in open_ones)
    for (output, path), count in by_place.items():
        print(f"DIFFERS: {output}{f', {path}' if path else ''}: {count} places")
        for one in [one for one in open_ones if (one.output, one.path) == (output, path)][:SHOWN]:
            print(f"  line {one.line}\n    - {_short(one.before)}\n    + {_short(one.after)}")
    return bool(open_ones)


def _short(text: str | None) -> str:
    if text is None:
        return "(missing)"
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}... ({len(text)} characters)"


# --- the run -------------------------------------------------------------------------------------------------------------


def unpack(revision: str, folder: Path) -> None:
    """The files of a revision of this repository."""
    packed = folder.with_suffix(".tar")
    subprocess.run(
        ["git", "archive", f"--output={packed}", revision],  # noqa: S607 - git of the PATH
        cwd=ROOT,
        check=True,
        timeout=300,
    )
    folder.mkdir()
    subprocess.run(["tar", "-xf", packed, "-C", folder], check=True, timeout=300)  # noqa: S607 - tar of the PATH


def compare(part: str, trees: Sequence[Tree], inputs: Sequence[Path], clock: Clock) -> list[Difference]:
    """One part through both trees, at the same time where they need no broker."""
    if part == "broker":
        outputs: list[Outputs] = []
        own = {name: value for name, value in os.environ.items() if name != "TAGSTREAM_BROKERS"}
        for tree in trees:
            with broker(
                prefer="kafka", environ=own, start_timeout_seconds=START_SECONDS, log=lambda line: print(line, file=sys.stderr)
            ) as kafka:
                outputs.append(on_broker(tree, kafka.bootstrap))
    else:
        with ThreadPoolExecutor(len(trees)) as threads:
            outputs = list(threads.map(lambda tree: PARTS[part](tree, inputs), trees))
    for name, lines in sorted(outputs[1].items()):
        print(f"  {name}: {len(lines):,} lines, {sum(map(len, lines)):,} bytes")
    before, after = outputs
    return list(differences(before, after, clock))


def main() -> int:
    """Compare, print, and say by the exit code whether there is a difference that nobody decided."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--against", required=True, metavar="REV", help="the revision of before")
    parser.add_argument("--with-broker", action="store_true", help="worker and review too")
    parser.add_argument("--only", choices=(*PARTS, "broker"), help="one part alone")
    asked = parser.parse_args()
    parts = [asked.only] if asked.only else [*PARTS, *(["broker"] if asked.with_broker else [])]
    clock = Clock(datetime.now(UTC))
    differs = False
    with tempfile.TemporaryDirectory(prefix="same-") as name:
        folder = Path(name).resolve()
        for made in ("inputs", "work-before", "work-after"):
            (folder / made).mkdir()
        unpack(asked.against, folder / "tree")
        inputs = write_inputs(folder / "inputs")
        trees = [Tree(folder / "tree", folder / "work-before"), Tree(ROOT, folder / "work-after")]
        for part in parts:
            began = time.monotonic()
            print(f"{part}:", flush=True)
            differs |= report(compare(part, trees, inputs, clock))
            print(f"{part}: compared in {time.monotonic() - began:.0f} s", flush=True)
    print("there are differences that nobody decided" if differs else f"the same as {asked.against}")
    return int(differs)


if __name__ == "__main__":
    sys.exit(main())
