"""Kafka's programs on the JVM: the broker, and the tool that formats its folder."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stream.broker.apache.java import Java
from stream.broker.apache.properties import JVM_FLAGS, Node
from stream.broker.jars import Jars
from stream.broker.processes import Process, Processes
from stream.broker.rung import Deadline, RungUnavailable

_TAIL_LINES = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaJvm:
    """Starts Kafka's main classes."""

    java: Java
    jars: Jars
    environ: Mapping[str, str]
    log4j: Path

    def serve(self, node: Node, processes: Processes) -> Process:
        """Start the broker of `node`; it is not ready yet."""
        return self._run("kafka.Kafka", [_properties(node)], node.folder / "broker.log", processes)

    def format(self, nodes: Sequence[Node], cluster_id: str, processes: Processes, deadline: Deadline) -> None:
        """
        Write the cluster's id into the folder of every node that has none yet, all at once.

        Raises:
            RungUnavailable: It failed, or took too long; the message has the end of its log.
        """
        formats: list[Process] = []
        archive = self._archive()
        made = archive.with_name(f"{archive.name}-{os.getpid()}.new")
        for node in nodes:
            if (node.folder / "logs" / "meta.properties").exists():
                continue
            flags = []
            if not formats and not archive.exists():
                # Once a Java: the classes that this short run has loaded save each later start half a second.
                flags = [f"-XX:ArchiveClassesAtExit={made}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
            # An id may start with a hyphen, which only this form of the option takes.
            words = ["format", f"--cluster-id={cluster_id}", "--config", _properties(node)]
            log_file = node.folder / "format.log"
            formats.append(self._run("kafka.tools.StorageTool", words, log_file, processes, flags))
        for process in formats:
            if not process.wait(deadline.left()):
                msg = f"Kafka's folder was not formatted within the bound; {tail(process)}"
                raise RungUnavailable(msg)
            if process.exit_code != 0:
                msg = f"Kafka's folder could not be formatted; {tail(process)}"
                raise RungUnavailable(msg)
        if made.exists():
            made.replace(archive)

    def _run(self, main: str, words: Sequence[str], log_file: Path, processes: Processes, flags: Sequence[str] = ()) -> Process:
        archive = self._archive()
        shared = [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto"] if archive.exists() else []
        log4j = f"-Dlog4j2.configurationFile={self.log4j}"
        argv = [str(self.java.path), *JVM_FLAGS, *shared, *flags, log4j, main, *words]
        return processes.start(argv, env={**self.environ, "CLASSPATH": self.jars.classpath()}, log_file=log_file)

    def _archive(self) -> Path:
        """The JVM's archive of loaded classes: valid for one build of Java, and ignored by every other."""
        digest = hashlib.sha256(f"{self.java.path}\n{self.java.banner}".encode()).hexdigest()[:12]
        return self.jars.folder / f"classes-{digest}.jsa"


def tail(process: Process) -> str:
    """The end of a process's log, for an error."""
    lines = process.output().strip().splitlines()[-_TAIL_LINES:]
    return "\n".join([f"the end of {process.log_file} is:", *(f"  {line}" for line in lines)])


def _properties(node: Node) -> str:
    return str(node.folder / "server.properties")
