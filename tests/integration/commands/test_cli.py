"""The `tagstream` command from outside: exit codes, input, output, and the next step in each error."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from kafka import KafkaProducer

from tagstream.model_export.bundle.bundle import read as read_bundle
from tagstream.stream.broker import Broker
from tagstream.stream.broker.ports import free_ports
from tagstream.stream.settings.settings import Settings
from tests.faults.cluster.topics import fresh_environment
from tests.faults.worker.fleet import ROOT, without_settings
from tests.integration.command_line import Command, lines
from tests.waiting import HANG_SECONDS

TITLES = ("Attention is all you need", "Segmenting leaves, in the field", "A feature store for ten people", "Überblick")
HEAVY = (
    "faust",
    "mode",
    "kafka",
    "aiokafka",
    "onnxruntime",
    "tokenizers",
    "numpy",
    "torch",
    "transformers",
    "pydantic",
    "sklearn",
)


@pytest.fixture
def nowhere() -> dict[str, str]:
    """Settings with the address of no broker."""
    return {"TAGSTREAM_BROKERS": f"127.0.0.1:{free_ports(1)[0]}", "TAGSTREAM_STARTUP_TIMEOUT_SECONDS": "1"}


def test_help_answers_at_once() -> None:
    """`--help` loads no heavy library, and names every exit code."""
    program = (
        "import sys; sys.argv = ['tagstream', '--help']\n"
        "from tagstream.stream.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        f"sys.stderr.write(','.join(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=HANG_SECONDS, check=True)

    assert done.stderr == b""
    for verb in (b"worker", b"classify", b"send", b"tail", b"demo", b"doctor", b"config", b"model"):
        assert verb in done.stdout
    assert b"0 done, 1 failed, 2 usage or configuration, 3 broker unreachable, 4 contract violated" in b" ".join(
        done.stdout.split()
    )


def test_a_text_is_classified(tagstream: Command, bundle_folder: Path) -> None:
    """A bare text gives its tag, all probabilities and the model; with --json the fields of `tagged` and the destination."""
    spoken = tagstream("classify", TITLES[0], "--bundle", bundle_folder)
    written = tagstream("classify", TITLES[0], "--json", "--bundle", bundle_folder)

    assert spoken.returncode == written.returncode == 0
    bundle = read_bundle(bundle_folder)
    (found,) = lines(written.stdout)
    assert found["title"] == TITLES[0]
    assert found["model"] == {"name": bundle.manifest.name, "version": bundle.manifest.version, "digest": bundle.digest}
    assert found["destination"] in {"tagged", "review"}
    assert isinstance(found["probabilities"], dict)
    assert tuple(found["probabilities"]) == bundle.manifest.labels
    assert found["confidence"] == max(found["probabilities"].values())
    assert {"id", "tag", "prediction_id", "decider", "threshold", "truncated", "tagged_at"} <= set(found)
    assert str(found["tag"]).encode() in spoken.stdout
    assert spoken.stdout.count(b"\n") >= 1 + len(bundle.manifest.labels)


def test_csv_json_lines_and_standard_input_agree(tagstream: Command, bundle_folder: Path, tmp_path: Path) -> None:
    """CSV, JSON Lines and standard input give one object a row, in the input's order, with the same decision."""
    rows = [{"id": str(number), "title": title} for number, title in enumerate(TITLES)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "a.csv").write_text("id,title\n" + "".join(f'{row["id"]},"{row["title"]}"\n' for row in rows), encoding="utf-8")
    as_csv = tagstream("classify", "a.csv", "--json", "--bundle", bundle_folder)
    as_json = tagstream("classify", "a.jsonl", "--json", "--bundle", bundle_folder)
    piped = tagstream("classify", "-", "--json", "--bundle", bundle_folder, stdin=(tmp_path / "a.jsonl").read_bytes())
    results = []
    for done in (as_csv, as_json, piped):
        assert done.returncode == 0, done.stderr.decode()
        assert done.stderr == b""
        found = lines(done.stdout)
        assert [line["title"] for line in found] == list(TITLES)
        results.append([{name: value for name, value in line.items() if name != "tagged_at"} for line in found])
    assert results[0] == results[1] == results[2]


def test_rows_that_cannot_be_classified_keep_their_place(tagstream: Command, bundle_folder: Path) -> None:
    """A bad row is a line of its own that says why; the others are decided; the exit code is 1."""
    done = tagstream("classify", "-", "--json", "--bundle", bundle_folder, stdin=b'{"title":"a"}\n{"title":7}\n{"title":"b"}\n')

    assert done.returncode == 1
    found = lines(done.stdout)
    assert [line["destination"] == "dlq" for line in found] == [False, True, False]
    assert (found[1]["line"], found[1]["row"]) == (2, 1)
    assert found[1]["error"] == {
        "stage": "validate",
        "code": "wrong_type",
        "message": "title is a JSON number, a string is expected",
    }
    assert b"1 of 3 rows is rejected" in done.stderr


def test_a_closed_pipe_is_no_crash(bundle_folder: Path) -> None:
    """A reader that closes the pipe early, as `tagstream classify ... | head -1`, ends the command quietly."""
    words = [sys.executable, "-m", "tagstream.stream.cli.main", "classify", "-", "--json", "--bundle", str(bundle_folder)]
    environ = {**without_settings(os.environ), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        words, cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        running.stdin.write(b'{"title":"a"}\n' * 2000)
        running.stdin.close()
        talk = running.stderr.read()
        assert running.wait(HANG_SECONDS) == 1
    assert b"Traceback" not in talk
    assert b"BrokenPipe" not in talk


@pytest.mark.parametrize(
    ("words", "environ", "says"),
    [
        (["--no-such-option"], {}, b"No such option"),
        (["no-such-verb"], {}, b"No such command"),
        (["classify", "missing.csv"], {}, b"missing.csv cannot be read: No such file or directory. Next: "),
        (["config", "show"], {"TAGSTREAM_BROKER": "x"}, b"The nearest one is TAGSTREAM_BROKERS. Next: "),
        (["config", "show"], {"TAGSTREAM_METRICS_PORT": "many"}, b"(environment TAGSTREAM_METRICS_PORT) cannot be used"),
        (["classify", "a", "--threshold", "2"], {}, b"setting confidence_threshold = 2.0 (flag) cannot be used"),
        (["config", "show"], {"TAGSTREAM_CONFIG": "missing.toml"}, b"missing.toml cannot be read"),
    ],
)
def test_a_usage_or_configuration_error_is_exit_code_2(
    tagstream: Command, words: list[str], environ: dict[str, str], says: bytes
) -> None:
    """A usage or configuration error ends with code 2 and says where the value came from."""
    done = tagstream(*words, environ=environ)

    assert done.returncode == 2
    assert says in done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""


def test_a_refused_bundle_is_exit_code_1(tagstream: Command, tmp_path: Path) -> None:
    """An empty folder is refused as a bundle with exit code 1."""
    done = tagstream("classify", "a", "--bundle", tmp_path)

    assert done.returncode == 1
    assert b"is refused: bundle.json cannot be read" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["send", "-"], ["tail", "content"], ["doctor"]])
def test_an_unreachable_broker_is_exit_code_3(
    tagstream: Command, nowhere: dict[str, str], words: list[str], bundle_folder: Path
) -> None:
    """An unreachable broker is reported within the start-up bound, with the address and the next step."""
    done = tagstream(*words, environ={**nowhere, "TAGSTREAM_BUNDLE": str(bundle_folder)}, stdin=b'{"title":"a"}\n')

    assert done.returncode == 3
    said = done.stdout + done.stderr
    assert nowhere["TAGSTREAM_BROKERS"].encode() in said
    assert b"within 1 s" in said
    assert b"Traceback" not in said


def test_the_settings_and_their_origins_are_shown(tagstream: Command, tmp_path: Path) -> None:
    """A flag, a variable, a file and a default are each named as the origin of a value."""
    (tmp_path / "tagstream.toml").write_text('group = "of-file"\nlog_level = "error"\n')
    done = tagstream("config", "show", "--json", environ={"TAGSTREAM_GROUP": "of-environment"})

    found = {line["key"]: line for line in lines(done.stdout)}
    assert found["group"]["value"] == "of-environment"
    assert found["group"]["source"] == "environment TAGSTREAM_GROUP"
    assert found["log_level"]["value"] == "error"
    assert str(found["log_level"]["source"]).startswith("tagstream.toml (")
    assert found["topics.dlq"]["value"] == "content.dlq"
    assert found["metrics_port"]["source"] == "default"


@pytest.mark.slow
@pytest.mark.broker
def test_rows_that_are_sent_can_be_followed(tagstream: Command, environ: dict[str, str], tmp_path: Path) -> None:
    """`send` confirms every row; `tail` gives them back byte for byte, by the topic's short name and by its own."""
    sent = b'{"id":"1","title":"a","x":1.10}\n{"id":"2","title":"b"}\nnot json\n'
    (tmp_path / "a.jsonl").write_bytes(sent)
    refused = tagstream("send", "a.jsonl", environ=environ)
    assert refused.returncode == 4
    assert b"a.jsonl: 1 of 3 rows is no event, and nothing was sent:\n  line 3: invalid_json" in refused.stderr
    done = tagstream("send", "a.jsonl", "--as-is", environ=environ)
    assert done.returncode == 0, done.stderr.decode()
    assert b"3 events in" in done.stderr
    assert done.stdout == b""

    own_name = environ["TAGSTREAM_TOPICS__CONTENT"]
    for topic in ("content", own_name):
        seen = tagstream("tail", topic, "--from-beginning", "--max", "3", "--json", environ=environ)
        assert seen.returncode == 0, seen.stderr.decode()
        records = lines(seen.stdout)
        assert {record["topic"] for record in records} == {own_name}
        assert sorted(str(record["value"]) for record in records) == sorted(
            ["{'id': '1', 'title': 'a', 'x': 1.1}", "{'id': '2', 'title': 'b'}", "{'base64': 'bm90IGpzb24='}"]
        )
    shown = tagstream("tail", "content", "--from-beginning", "--idle", "0.5", environ=environ)
    assert shown.returncode == 0
    assert shown.stdout.count(b"\n") == 3
    assert b"not json" in shown.stdout
    one = tagstream("tail", "content", "--from-beginning", "--idle", "0.5", "--json", "--id", "2", environ=environ)
    assert [record["value"] for record in lines(one.stdout)] == [{"id": "2", "title": "b"}]
    short = tagstream("tail", "content", "--from-beginning", "--idle", "0.5", "--at-least", "4", environ=environ)
    assert short.returncode == 1
    assert b"3 records of content came, 4 were to come" in short.stderr


@pytest.mark.slow
@pytest.mark.broker
def test_the_first_of_many_records_are_of_all_partitions_in_the_order_of_time(
    tagstream: Command, environ: dict[str, str], kafka: Broker
) -> None:
    """`--max` leaves out the end of the stream, and not all records of some partitions."""
    topic, each = environ["TAGSTREAM_TOPICS__CONTENT"], 1_500
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    numbers = sorted(producer.partitions_for(topic))
    for partition in numbers:
        for number in range(each):
            at = 1_700_000_000_000 + number * len(numbers) + partition
            producer.send(topic, value=b'{"title":"a"}', partition=partition, timestamp_ms=at)
    producer.close()
    # A partition that ends with transaction markers has no record at its last offsets.
    undone = KafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=topic)
    undone.init_transactions()
    undone.begin_transaction()
    for partition in numbers:
        undone.send(topic, value=b"never", partition=partition)
    undone.flush()
    undone.abort_transaction()
    undone.close()
    most = each * len(numbers) // 2
    seen = tagstream("tail", "content", "--from-beginning", "--max", str(most), "--json", environ=environ)
    assert seen.returncode == 0, seen.stderr.decode()
    records = lines(seen.stdout)
    assert [record["timestamp_ms"] for record in records] == list(range(1_700_000_000_000, 1_700_000_000_000 + most))
    assert Counter(record["partition"] for record in records) == dict.fromkeys(numbers, each // 2)
    whole = tagstream("tail", "content", "--from-beginning", "--idle", "1", "--json", environ=environ)
    assert whole.stdout.count(b"\n") == each * len(numbers)


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.parametrize("words", [["send", "-"], ["tail", "no-such-topic"]])
def test_a_missing_topic_is_exit_code_2(tagstream: Command, environ: dict[str, str], words: list[str]) -> None:
    """The error names the missing topic and the command that makes it."""
    changed = {**environ, "TAGSTREAM_TOPICS__CONTENT": "no-such-topic"}
    done = tagstream(*words, environ=changed, stdin=b'{"title":"a"}\n')

    assert done.returncode == 2
    assert b"'no-such-topic'" in done.stderr
    assert b"tagstream doctor --create-topics" in done.stderr


@pytest.mark.slow
@pytest.mark.broker
def test_the_doctor_makes_topics_once(tagstream: Command, kafka: Broker, bundle_folder: Path) -> None:
    """`doctor` names missing topics, makes them when told, and finds them the second time."""
    environ = {**fresh_environment(kafka.bootstrap, "doctor"), "TAGSTREAM_BUNDLE": str(bundle_folder)}
    without = tagstream("doctor", "--json", environ=environ)
    assert without.returncode == 1
    missing = {line["check"]: line for line in lines(without.stdout)}[f"topic {environ['TAGSTREAM_TOPICS__CONTENT']}"]
    assert (missing["status"], missing["fix"]) == ("FAIL", "tagstream doctor --create-topics")

    first = tagstream("doctor", "--create-topics", "--json", environ=environ)
    second = tagstream("doctor", "--create-topics", "--json", environ=environ)
    assert first.returncode == second.returncode == 0, first.stdout.decode()
    # An environment without cramjam gets a warning too. This one has no key of answers.
    assert {line["check"] for line in lines(second.stdout) if line["status"] != "OK"} == {"signatures"}
    made = {line["check"]: str(line["detail"]) for line in lines(first.stdout)}["create topics"]
    assert made.startswith("made ")
    again = {line["check"]: str(line["detail"]) for line in lines(second.stdout)}["create topics"]
    assert again.startswith("nothing to make; found ")


@pytest.mark.slow
@pytest.mark.broker
def test_a_flag_wins_over_the_environment(
    tagstream: Command, settings: Settings, environ: dict[str, str], nowhere: dict[str, str]
) -> None:
    """`--brokers` wins over TAGSTREAM_BROKERS."""
    done = tagstream("send", "-", "--brokers", settings.brokers, environ={**environ, **nowhere}, stdin=b'{"title":"a"}\n')

    assert done.returncode == 0, done.stderr.decode()
