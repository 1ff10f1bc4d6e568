"""Formats from strangers, from outside: Avro, tiny events, registries that misbehave, networks, labelled rows, and CSV for a spreadsheet."""

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest
from kafka import KafkaAdminClient, KafkaProducer
from onnx import TensorProto, helper, numpy_helper

from tests.faults.worker.fleet import ROOT, without_settings
from tests.integration.command_line import Command
from tests.integration.running import RunningWorker
from tests.reading import records_in
from tests.registry.server import Registry, serving, trickling
from tests.waiting import HANG_SECONDS, until

TINY = ROOT / "tests" / "data" / "tiny_bundle"
# A refusal comes within seconds. A file without an end must not be waited for.
BOUND_SECONDS = 180
EXIT_BROKEN = 70
StartWorker = Callable[..., RunningWorker]


@pytest.fixture
def start_worker(environ: dict[str, str], processes: Any, tmp_path: Path) -> StartWorker:
    """Starts a worker as an operator does; further variables of its environment as an argument. Rules decide."""
    numbers = iter(range(1, 100))

    def run(further: dict[str, str] | None = None) -> RunningWorker:
        given = {**environ, "TAGSTREAM_DECIDER": "rules", **(further or {})}
        started = processes.start(
            [sys.executable, "-m", "tagstream.stream.cli.main", "worker"],
            env={**without_settings(os.environ), "PYTHONPATH": str(ROOT), **given},
            log_file=tmp_path / f"worker-{next(numbers)}.log",
        )
        return RunningWorker(started)

    return run


def send(environ: dict[str, str], values: Sequence[bytes]) -> None:
    """Put values without a key on `content`, uncompressed."""
    producer = KafkaProducer(bootstrap_servers=environ["TAGSTREAM_BROKERS"], acks="all", linger_ms=50, batch_size=1 << 20)
    try:
        for sent in [producer.send(environ["TAGSTREAM_TOPICS__CONTENT"], value=value) for value in values]:
            sent.get(timeout=HANG_SECONDS)
    finally:
        producer.close(timeout=HANG_SECONDS)


def outcomes(environ: dict[str, str], process: Any, count: int) -> dict[str, list[Any]]:
    """The records of `tagged`, `review` and `content.dlq`, once there are so many."""
    topics = {kind: environ[f"TAGSTREAM_TOPICS__{kind.upper()}"] for kind in ("tagged", "review", "dlq")}

    def look() -> list[Any] | None:
        records = records_in(environ["TAGSTREAM_BROKERS"], *topics.values())
        return records if len(records) >= count else None

    found = until(look, f"there are {count} outcomes", process=process)
    return {kind: [one for one in found if one.topic == topic] for kind, topic in topics.items()}


def codes(letters: Sequence[Any]) -> set[bytes]:
    """Why records are dead letters."""
    return {dict(letter.headers)["x-dlq-code"] for letter in letters}


def log_bytes(environ: dict[str, str], kind: str) -> int:
    """The bytes of a topic on the disk of the brokers."""
    client = KafkaAdminClient(bootstrap_servers=environ["TAGSTREAM_BROKERS"])
    try:
        said = client.describe_log_dirs()
    finally:
        client.close()
    return sum(_sizes(said, environ[f"TAGSTREAM_TOPICS__{kind.upper()}"]))


def _sizes(said: Any, topic: str) -> Iterator[int]:
    """The sizes of a topic's partitions, wherever they stand in what brokers say of their folders."""
    if isinstance(said, dict):
        if said.get("name") == topic:
            yield from (partition["partition_size"] for partition in said["partitions"])
        said = list(said.values())
    if isinstance(said, list):
        for part in said:
            yield from _sizes(part, topic)


def framed(number: int, payload: bytes) -> bytes:
    """A value in the frame of a Schema Registry."""
    return b"\0" + number.to_bytes(4, "big") + payload


def text(value: str) -> bytes:
    """A string of Avro, of at most 63 bytes."""
    return bytes([2 * len(value)]) + value.encode()


def record(*fields: dict[str, Any]) -> str:
    """The schema of a record with a title and these fields."""
    return json.dumps({"type": "record", "name": "E", "fields": [{"name": "title", "type": "string"}, *fields]})


@pytest.mark.broker
def test_an_avro_value_becomes_no_more_than_its_bytes_allow(environ: dict[str, str], start_worker: StartWorker) -> None:
    """By 45,000 fields that take no byte, and by one with a long name, a few bytes are a dead letter and not 600 KB; the rest goes on."""
    many = record(*({"name": f"f{number:05}", "type": "null"} for number in range(45_000)))
    long = record({"name": "n" * 600_000, "type": "null"})
    with serving(Registry()) as registry:
        wide, named, plain = (registry.register(f"s{len(schema)}", schema) for schema in (many, long, record()))
        values = [framed(number, text("Serving transformers")) for number in (wide, named) for _ in range(32)]
        send(environ, [*values, framed(plain, text("Serving transformers"))])
        worker = start_worker({"TAGSTREAM_SCHEMA_REGISTRY__URL": registry.url})
        found = outcomes(environ, worker.process, len(values) + 1)
        assert worker.stop() == 0
    assert (len(found["dlq"]), len(found["tagged"]) + len(found["review"])) == (len(values), 1)
    assert codes(found["dlq"]) == {b"too_large"}


@pytest.mark.slow
@pytest.mark.broker
def test_a_dead_letter_of_nothing_costs_four_times_its_event_at_most(
    environ: dict[str, str], start_worker: StartWorker, tagstream: Command
) -> None:
    """Events without a key and a byte: their dead letters take at most four times their bytes on the disk, on a topic that `doctor` makes."""
    # Their own, with the compression that `doctor --create-topics` sets.
    named = {**environ, **{name: f"{value}-own" for name, value in environ.items() if name.startswith("TAGSTREAM_TOPICS__")}}
    made = tagstream("doctor", "--create-topics", environ={**named, "TAGSTREAM_DECIDER": "rules"})
    assert b"content-own" in made.stdout + made.stderr
    send(named, [b""] * 6_000)
    worker = start_worker(named)
    found = outcomes(named, worker.process, 6_000)
    assert worker.stop() == 0
    assert codes(found["dlq"]) == {b"empty"}
    content, letters = log_bytes(named, "content"), log_bytes(named, "dlq")
    assert content > 7 * 6_000
    assert letters <= 4 * content


SCHEMA = record()
# One that is not there, one that never ends, and one that is no registry; `tests/unit/stream/registry/test_client.py` has more.
ANSWERS = {
    "down": (b"", b""),
    "endless body": (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b" "),
    "an object that is no schema": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b""),
}


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.parametrize("name", ANSWERS)
def test_a_registry_that_misbehaves_is_blamed_and_no_event(
    environ: dict[str, str], start_worker: StartWorker, tagstream: Command, name: str
) -> None:
    """The worker ends with its code and a reason, commits nothing and writes nothing; `doctor` ends too; a good registry decides the event."""
    send(environ, [framed(1, text("Serving transformers"))])
    bounded = {"TAGSTREAM_SCHEMA_REGISTRY__TIMEOUT_SECONDS": "2", "TAGSTREAM_DECIDER": "rules"}
    with trickling(*ANSWERS[name]) as bad:
        url = {"TAGSTREAM_SCHEMA_REGISTRY__URL": bad}
        worker = start_worker(bounded | url)
        assert worker.end() == EXIT_BROKEN
        assert "Schema Registry" in worker.process.output()
        looked = tagstream("doctor", "--json", environ={**environ, **bounded, **url})
        assert looked.returncode == 1
    with serving(Registry()) as good:
        good.register("s", SCHEMA)
        worker = start_worker({"TAGSTREAM_SCHEMA_REGISTRY__URL": good.url})
        found = outcomes(environ, worker.process, 1)
        assert worker.stop() == 0
    assert found["dlq"] == []


@pytest.mark.slow
@pytest.mark.broker
def test_schemas_that_go_round_in_circles_stop_nothing(environ: dict[str, str], start_worker: StartWorker) -> None:
    """A record in itself, types in types beyond any depth, and references in a circle are dead letters; the event behind them is decided."""
    itself = record({"name": "next", "type": "E"})
    deep: Any = "int"
    for _ in range(400):
        deep = {"type": "array", "items": deep}
    circle = [{"name": other, "subject": other, "version": 1} for other in ("b", "a")]
    with serving(Registry()) as registry:
        numbers = [
            registry.register("itself", itself),
            registry.register("deep", record({"name": "x", "type": deep})),
            registry.register("a", record({"name": "x", "type": "FromB"}), references=circle[:1]),
            registry.register("b", record({"name": "x", "type": "FromA"}), references=circle[1:]),
        ]
        good = registry.register("good", SCHEMA)
        send(environ, [framed(number, text("Hi") + b"\2" * 500) for number in numbers] + [framed(good, text("Hi"))])
        worker = start_worker({"TAGSTREAM_SCHEMA_REGISTRY__URL": registry.url})
        found = outcomes(environ, worker.process, 5)
        assert worker.stop() == 0
    assert (len(found["dlq"]), len(found["tagged"]) + len(found["review"])) == (4, 1)
    assert codes(found["dlq"]) <= {b"too_deep", b"invalid_avro", b"unsupported_schema"}


def tagstream_within(
    folder: Path, *words: str | Path, stdin: bytes = b"", seconds: float = BOUND_SECONDS
) -> subprocess.CompletedProcess[bytes]:
    """Run the command, with a bound against hanging."""
    return subprocess.run(
        [sys.executable, "-m", "tagstream.stream.cli.main", *map(str, words)],
        cwd=folder,
        env={**without_settings(os.environ), "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        input=stdin,
        capture_output=True,
        timeout=seconds,
        check=False,
    )


def bundle_with(folder: Path, edit: Callable[[onnx.ModelProto], None]) -> Path:
    """The tiny bundle with another network and the checksum of that."""
    shutil.copytree(TINY, folder / "bundle")
    before = (TINY / "model.onnx").read_bytes()
    model = onnx.load_model_from_string(before)
    edit(model)
    after = model.SerializeToString()
    (folder / "bundle" / "model.onnx").write_bytes(after)
    manifest = (TINY / "bundle.json").read_text(encoding="utf-8")
    sums = [hashlib.sha256(content).hexdigest() for content in (before, after)]
    assert sums[0] in manifest
    (folder / "bundle" / "bundle.json").write_text(manifest.replace(*sums), encoding="utf-8")
    return folder / "bundle"


def endless(model: onnx.ModelProto) -> None:
    """The logits go through a loop that is always to be run once more."""
    last = next(node for node in model.graph.node if "logits" in node.output)
    last.output[0] = "before"
    flag, floats = TensorProto.BOOL, TensorProto.FLOAT
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["on"]), helper.make_node("Identity", ["value"], ["same"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", flag, []),
            helper.make_tensor_value_info("value", floats, None),
        ],
        [helper.make_tensor_value_info("on", flag, []), helper.make_tensor_value_info("same", floats, None)],
    )
    model.graph.initializer.append(helper.make_tensor("always", flag, [], [True]))
    model.graph.node.append(helper.make_node("Loop", ["", "always", "before"], ["logits"], body=body))


def not_a_number(model: onnx.ModelProto) -> None:
    """A weight is NaN."""
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "bias")
    broken = numpy_helper.to_array(bias).copy()
    broken[0] = float("nan")
    bias.CopyFrom(numpy_helper.from_array(broken, "bias"))


@pytest.mark.parametrize("edit", [endless, not_a_number])
def test_a_network_that_never_ends_or_gives_no_number_is_refused(
    edit: Callable[[onnx.ModelProto], None], tmp_path: Path
) -> None:
    """`model verify` says why and the next step, with code 1."""
    found = tagstream_within(tmp_path, "model", "verify", bundle_with(tmp_path, edit))
    assert found.returncode == 1, found.stderr.decode()
    assert b"is refused" in found.stderr
    assert b"Next: " in found.stderr
    assert b"Traceback" not in found.stderr


@pytest.mark.slow
@pytest.mark.parametrize("given", ["a pipe", "/dev/zero", "/dev/urandom", "many labels"])
def test_rows_without_an_end_are_refused_at_once(given: str, tmp_path: Path) -> None:
    """A pipe that nobody writes to, a device without an end, and a label for each of 300,000 rows are a sentence with code 2."""
    refuses_rows(("train", "--dry-run", "--data"), given, tmp_path)


def refuses_rows(verb: tuple[str | Path, ...], given: str, tmp_path: Path) -> None:
    """This verb of `tagstream model` does."""
    path = Path(given)
    if given == "a pipe":
        path = tmp_path / "rows.csv"
        os.mkfifo(path)
    if given == "many labels":
        path = tmp_path / "rows.csv"
        path.write_text(
            "title,tag\n" + "".join(f"text {number},label {number}\n" for number in range(300_000)), encoding="utf-8"
        )
    found = tagstream_within(tmp_path, "model", *verb, path)
    assert found.returncode == 2, found.stderr.decode()
    assert (b"300,000" if given == "many labels" else b"no regular file") in found.stderr
    assert b"Next: " in found.stderr


def test_a_spreadsheet_computes_no_cell_of_an_output_made_for_it(tmp_path: Path) -> None:
    """With `--escape-formulas` no cell begins as a formula; without it cells are those of the input, and another form refuses the option."""
    formulas = ['=HYPERLINK("http://example.com")', "+1+1", "@SUM(A1)", "-2+3", "\t=1"]
    with (tmp_path / "in.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["title", "x"], *((f"text {number}", cell) for number, cell in enumerate(formulas))])
    for out, option in (("plain.csv", ()), ("sheet.csv", ("--escape-formulas",))):
        done = tagstream_within(tmp_path, "batch", "in.csv", out, "--decider", "rules", *option)
        assert done.returncode == 0, done.stderr.decode()
    with (tmp_path / "plain.csv").open(encoding="utf-8", newline="") as file:
        assert [row["x"] for row in csv.DictReader(file)] == formulas
    with (tmp_path / "sheet.csv").open(encoding="utf-8", newline="") as file:
        assert [row["x"] for row in csv.DictReader(file)] == [f"'{cell}" for cell in formulas]
    refused = tagstream_within(tmp_path, "batch", "in.csv", "out.jsonl", "--decider", "rules", "--escape-formulas")
    assert refused.returncode == 2
    assert b"is for CSV" in refused.stderr
