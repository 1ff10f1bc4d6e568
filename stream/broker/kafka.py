"""Apache Kafka on the machine's own Java: one node in KRaft mode, the broker that CI runs on."""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from tagstream.stream.broker.jars import Jars, get_jars
from tagstream.stream.broker.ports import LOOPBACK
from tagstream.stream.broker.probe import on_free_ports
from tagstream.stream.broker.processes import Process, Processes, tail
from tagstream.stream.broker.provider import Broker, BrokerRequest, Deadline, ProviderUnavailable

OLDEST_JAVA = 17
_ANSWER_SECONDS = 20.0
# Chosen for a start in seconds on a busy laptop, several at once, not for peak throughput.
JVM_FLAGS = (
    # Tests of an hour leave ten thousand partitions; the heap grows to this only where it must.
    "-Xmx2g",
    "-Xms128m",
    # The first compiler only: a broker that lives for a minute is never paid back for the second one's work.
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    # A broker out of memory ends, loudly, rather than lingering half alive.
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
)
# A lone node replicates nothing, and is its own quorum.
NODE_SETTINGS: Mapping[str, object] = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": 10,
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.num.partitions": 5,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.num.partitions": 2,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "group.initial.rebalance.delay.ms": 0,
    # Lets a test notice a dead member in a second.
    "group.min.session.timeout.ms": 1000,
    # On a machine that stands still for seconds its controller must not take the one node for dead, which refuses topics and leaders then.
    "broker.session.timeout.ms": 60_000,
    # Retention goes by a record's own time: a sample event from last year must not be deleted under a test.
    "log.retention.ms": -1,
    # 128 MB of the heap by default.
    "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
    # Two files of 10 MB for each partition by default, of which most is a hole where the file system has holes.
    "log.index.size.max.bytes": 1024 * 1024,
    "num.network.threads": 2,
    "num.io.threads": 4,
    "background.threads": 2,
}


class Kafka:
    """One node, its records in a folder that goes with it."""

    kind = "kafka"

    @contextmanager
    def start(self, request: BrokerRequest) -> Iterator[Broker]:
        """Start it on free ports."""
        java, jars = find_java(request.environ), get_jars(request.environ, request.log)
        folder = Path(tempfile.mkdtemp(prefix="tagstream-kafka-"))
        deadline = Deadline.after(request.start_timeout_seconds)
        with Processes(grace_seconds=0, remove=folder) as processes:
            jvm = KafkaJvm(java=java, jars=jars, environ=request.environ, folder=folder)
            identity = cluster_id()

            def serve(port: int, controller_port: int) -> Process:
                properties = listeners(port, controller_port) | {"log.dirs": folder / "logs"}
                (folder / "server.properties").write_text(server_properties(properties), encoding="ascii")
                jvm.format([folder], identity, processes, deadline)
                return jvm.serve(folder, processes)

            yield Broker(
                bootstrap=on_free_ports("Apache Kafka", serve, ports=2, idempotent=True, seconds=request.start_timeout_seconds),
                kind=self.kind,
                description=f"Apache Kafka {jars.version} (KRaft, 1 node) on Java {java.version}",
            )


def listeners(port: int, controller_port: int) -> dict[str, object]:
    """The settings of a node that listens on loopback alone, and whose quorum is itself."""
    return {
        # Static voters: the ports stand here and not in the log, so a node can come back on other ones.
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
    }


def server_properties(changes: Mapping[str, object]) -> str:
    """The text of a `server.properties`: `NODE_SETTINGS`, and `changes`, which are added or override."""
    values = {**NODE_SETTINGS, **changes}
    return "".join(f"{key}={_escaped(str(value))}\n" for key, value in values.items())


def cluster_id() -> str:
    """
    An id as Kafka wants it; never a fixed one, or two clusters that meet on a port would take each other for one.

    An id that begins with a dash, as one of 64 would, is drawn again: `kafka-storage` takes it for an option. Kafka
    draws its own ids in the same way.
    """
    while (drawn := base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()).startswith("-"):
        pass
    return drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Java:
    """
    A Java that was asked for its version.

    Attributes:
        path: The `java` program.
        version: Its feature release: 17, 21, ...
        banner: All that `java -version` said: it tells two builds of one version apart.
    """

    path: Path
    version: int
    banner: str


def find_java(environ: Mapping[str, str]) -> Java:
    """
    The first Java of version 17 or later: JAVA_HOME, then `java` on PATH.

    Raises:
        ProviderUnavailable: There is none; the message names the versions that were found.
    """
    home, on_path = environ.get("JAVA_HOME"), shutil.which("java", path=environ.get("PATH", ""))
    places = {f"JAVA_HOME ({home})": Path(home) / "bin" / "java"} if home else {}
    places |= {f"`java` on PATH ({on_path})": Path(on_path)} if on_path else {}
    refused = []
    for place, path in places.items():
        try:
            answer = subprocess.run(  # noqa: S603 - the user's own Java
                [path, "-version"], env=dict(environ), capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False
            )
        except (OSError, subprocess.SubprocessError) as error:
            refused.append(f"{place} does not run ({error})")
            continue
        banner = (answer.stderr + answer.stdout).strip()
        # The old form has the release behind a 1: "1.8.0_402".
        match = re.search(r'version "(?:1\.)?(\d+)', banner)
        if match and int(match[1]) >= OLDEST_JAVA:
            return Java(path=path, version=int(match[1]), banner=banner)
        refused.append(f"{place} is {f'Java {match[1]}' if match else f'of a version it does not say ({banner[:80]!r})'}")
    found = "; ".join(refused) or "JAVA_HOME is not set and there is no `java` on PATH"
    msg = f"needs Java {OLDEST_JAVA} or later: {found}; install a JRE or point JAVA_HOME at one"
    raise ProviderUnavailable(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaJvm:
    """
    Starts Kafka's main classes. A node's folder has its `server.properties`, its records in `logs`, and what it says in `broker.log`.

    Attributes:
        java: By this Java.
        jars: From these jars.
        environ: Of the processes.
        folder: For the configuration of their logs.
    """

    java: Java
    jars: Jars
    environ: Mapping[str, str]
    folder: Path

    def serve(self, node: Path, processes: Processes) -> Process:
        """Start the broker of a node's folder; it is not ready yet."""
        return self._run("kafka.Kafka", [node / "server.properties"], node / "broker.log", processes)

    def format(self, nodes: Sequence[Path], cluster_id: str, processes: Processes, deadline: Deadline) -> None:
        """
        Write the cluster's id into the folder of every node that has none yet, all at once.

        Args:
            nodes: The folder of each node, with its `server.properties`.
            cluster_id: The id to write.
            processes: Starts the Java processes.
            deadline: The bound of all of them together.

        Raises:
            ProviderUnavailable: It failed, or took too long; the message has the end of its log.
        """
        formats: list[Process] = []
        archive = self._archive()
        made = archive.with_name(f"{archive.name}-{os.getpid()}.new")
        for node in nodes:
            if (node / "logs" / "meta.properties").exists():
                continue
            flags = []
            if not formats and not archive.exists():
                # Once a Java: the classes that this short run has loaded save each later start half a second.
                flags = [f"-XX:ArchiveClassesAtExit={made}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
            # An id may start with a hyphen, which only this form of the option takes.
            words: list[str | Path] = ["format", f"--cluster-id={cluster_id}", "--config", node / "server.properties"]
            formats.append(self._run("kafka.tools.StorageTool", words, node / "format.log", processes, flags))
        for process in formats:
            if not process.wait(deadline.left()) or process.exit_code != 0:
                msg = f"Kafka's folder could not be formatted within the bound; {tail(process)}"
                raise ProviderUnavailable(msg)
        if made.exists():
            made.replace(archive)

    def words(self, main: str) -> list[str]:
        """The command line that runs a main class, without its arguments; the class path is in the variable CLASSPATH."""
        log4j = self.folder / "log4j2.xml"
        log4j.write_bytes((files("tagstream.stream.broker") / "log4j2.xml").read_bytes())
        archive = self._archive()
        shared = [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto"] if archive.exists() else []
        return [str(self.java.path), *JVM_FLAGS, *shared, f"-Dlog4j2.configurationFile={log4j}", main]

    def _run(
        self, main: str, words: Sequence[str | Path], log_file: Path, processes: Processes, flags: Sequence[str] = ()
    ) -> Process:
        java, *arguments = self.words(main)
        env = {**self.environ, "CLASSPATH": self.jars.classpath()}
        return processes.start([java, *flags, *arguments, *words], env=env, log_file=log_file)

    def _archive(self) -> Path:
        """The JVM's archive of loaded classes: valid for one build of Java, and ignored by every other."""
        digest = hashlib.sha256(f"{self.java.path}\n{self.java.banner}".encode()).hexdigest()[:12]
        return self.jars.folder / f"classes-{digest}.jsa"


def _escaped(value: str) -> str:
    """A value as Java's properties format wants it: Latin-1 at most, the backslash doubled."""
    doubled = value.replace("\\", "\\\\")
    units = doubled.encode("utf-16-be")
    pairs = (int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2))
    return "".join(chr(unit) if unit < 0x7F else f"\\u{unit:04x}" for unit in pairs)  # noqa: PLR2004 - the end of ASCII
