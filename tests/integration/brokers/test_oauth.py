"""tagstream on a broker that takes OAUTHBEARER alone, with tokens and sessions that end every few seconds."""

import asyncio
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from tagstream.stream.broker import BrokerUnavailable
from tagstream.stream.broker.ports import LOOPBACK, free_ports
from tagstream.stream.broker.processes import Processes
from tagstream.stream.kafka import admin, errors, sessions
from tagstream.stream.kafka.credentials import client_options
from tests import token_server
from tests.faults.cluster.topics import fresh_environment, make_topics, send
from tests.faults.inputs import Input, plant
from tests.faults.observer import TopicObserver
from tests.faults.worker.fleet import ROOT, Fleet, without_settings
from tests.integration.brokers.secure_cluster import BROKER, Authority, settings_of
from tests.integration.command_line import command
from tests.integration.review.test_console import Console, by_people
from tests.integration.running import is_committed, verdict
from tests.kafka_cluster import KafkaCluster, Node, node_properties
from tests.lacking import lacking
from tests.replacing import replace
from tests.token_server import AUDIENCE, TokenServer
from tests.waiting import HANG_SECONDS, LOG_CHARACTERS, until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

EVENTS = 60
# An hour of a token's life is played in so much.
SESSION_SECONDS, TOKEN_SECONDS = 2.5, 3.0
VALIDATOR = "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler"


class TokenCluster(KafkaCluster):
    """One broker whose clients sign in by the tokens of a server, under TLS, for a session of `SESSION_SECONDS`."""

    def __init__(self, folder: Path, server: TokenServer) -> None:
        """Make authority and certificate, without starting a process."""
        self._keys = f"{server.url}/keys"
        super().__init__(start_timeout_seconds=HANG_SECONDS)
        # Kafka asks no address for keys that the JVM does not allow.
        allowed = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self._keys}"
        self._jvm = replace(self._jvm, environ={**os.environ, "JAVA_TOOL_OPTIONS": allowed})
        self.authority = Authority(folder / "authority", "tagstream tests")
        certificate, key = self.authority.issue(BROKER, address=LOOPBACK)
        self._keystore = folder / "broker-keystore.pem"
        self._keystore.write_bytes(key.read_bytes() + certificate.read_bytes())
        self._plain_port = 0

    def properties(self, node: Node, nodes: Sequence[Node]) -> str:
        """A listener for tokens, and a plain one for the broker itself."""
        self._plain_port = free_ports(1)[0]
        plain, clients = f"PLAINTEXT://{LOOPBACK}:{self._plain_port}", f"CLIENTS://{node.address}"
        bearer = "listener.name.clients.oauthbearer"
        return node_properties(
            node,
            nodes,
            {
                "listeners": f"{clients},{plain},CONTROLLER://{LOOPBACK}:{node.controller_port}",
                "advertised.listeners": f"{clients},{plain}",
                "listener.security.protocol.map": "CLIENTS:SASL_SSL,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
                "inter.broker.listener.name": "PLAINTEXT",
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": self._keystore,
                "listener.name.clients.sasl.enabled.mechanisms": "OAUTHBEARER",
                f"{bearer}.sasl.jaas.config": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;",
                f"{bearer}.sasl.server.callback.handler.class": VALIDATOR,
                f"{bearer}.sasl.oauthbearer.jwks.endpoint.url": self._keys,
                f"{bearer}.sasl.oauthbearer.expected.audience": AUDIENCE,
                f"{bearer}.sasl.oauthbearer.clock.skew.seconds": 0,
                f"{bearer}.connections.max.reauth.ms": int(SESSION_SECONDS * 1000),
            },
        )

    def probe_address(self, node: Node) -> str:
        """The plain listener."""
        del node
        return f"{LOOPBACK}:{self._plain_port}"


class Place:
    """The cluster, the server of its tokens, and topics of a test."""

    def __init__(self, cluster: TokenCluster, server: TokenServer, folder: Path) -> None:
        self.cluster, self.server, self.folder = cluster, server, folder

    def environ(self, client: str, **changes: str) -> dict[str, str]:
        """TAGSTREAM_* of a client whose tokens the server gives."""
        return {
            "TAGSTREAM_BROKERS": self.cluster.bootstrap,
            "TAGSTREAM_SECURITY__PROTOCOL": "SASL_SSL",
            "TAGSTREAM_SECURITY__CA_FILE": str(self.cluster.authority.certificate),
            **self.server.environment(client, token_server.secret_file(self.folder)),
            **changes,
        }


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The server, and the cluster that verifies its tokens."""
    folder = tmp_path_factory.mktemp("oauth")
    with token_server.serving(folder) as server:
        try:
            made = TokenCluster(folder, server)
        except BrokerUnavailable as error:
            lacking(f"Apache Kafka cannot be had, so nothing can be said of tokens: {error}")
        with made as cluster:
            yield Place(cluster, server, folder)


@pytest.fixture
def place(running: Place) -> Iterator[Place]:
    """The same, with a server that gives every client a token that lives for `TOKEN_SECONDS`."""
    running.server.override, running.server.seconds, running.server.audience = lambda _: None, TOKEN_SECONDS, AUDIENCE
    yield running
    running.server.override = lambda _: None


@pytest.mark.parametrize("lasting", [True, False], ids=["ours", "aiokafka's own"])
def test_a_connection_outlives_its_session(place: Place, monkeypatch: pytest.MonkeyPatch, lasting: bool) -> None:
    """Ours answers beyond three sessions, with requests in flight and after a pause beyond a session's end; aiokafka's own is closed."""
    # A machine that is slow may be late by more than a tenth of so short a session.
    monkeypatch.setattr(sessions, "EARLIEST", 0.5)
    monkeypatch.setattr(sessions, "LATEST", 0.5)
    place.server.seconds = 300.0
    settings = settings_of(place.environ("connection"), place.folder)
    options = client_options(settings)
    host, _, port = options.pop("bootstrap_servers")[0].partition(":")
    made = sessions.LastingConnection if lasting else Unlasting

    async def ask() -> None:
        connection = made(host, int(port), request_timeout_ms=int(HANG_SECONDS * 1000), **options)
        await connection.connect()
        ends = time.monotonic() + 2 * SESSION_SECONDS
        try:
            while time.monotonic() < ends:
                await asyncio.gather(*(connection.send(MetadataRequest([])) for _ in range(2)))
                await asyncio.sleep(0.01)
            await asyncio.sleep(1.2 * SESSION_SECONDS)
            await connection.send(MetadataRequest([]))
        finally:
            connection.close()

    if lasting:
        asyncio.run(ask())
    else:
        with pytest.raises(KafkaConnectionError):
            asyncio.run(ask())


class Unlasting(sessions.LastingConnection):
    """aiokafka's connection as it is, but for the way that it gets its token."""

    async def _do_sasl_handshake(self) -> None:
        await super()._do_sasl_handshake()
        self._due = math.inf


@pytest.mark.parametrize(("delivery", "expiries"), [("at_least_once", 24), ("exactly_once", 6)])
def test_a_day_of_expiries_loses_nothing(place: Place, tmp_path: Path, delivery: str, expiries: int) -> None:
    """
    A worker whose tokens end all the time has one outcome for every event, and so it is while the server is away for a token's life.

    A console lives through the same, and then takes an answer; so do the test's own clients. No token and no secret is in a log.
    """
    environ = place.environ("worker", TAGSTREAM_DELIVERY=delivery, TAGSTREAM_LOG_LEVEL="debug")
    environ = {**fresh_environment(place.cluster.bootstrap, f"oauth-{delivery}", partitions=2), **environ}
    settings = settings_of({**environ, **place.environ("tests")}, place.folder)
    make_topics(settings)
    inputs: list[Input] = []
    place.server.given.clear()
    with Processes(grace_seconds=0) as processes:
        # As an orchestrator does it: one that ends is started again. With exactly once a connection that is lost may end a worker.
        fleet = Fleet(
            processes=processes, module="tests.faults.worker", environ=environ, seconds_per_batch=0.0, folder=tmp_path
        )
        fleet.add(1)
        page = Console(
            processes.start(
                [sys.executable, "-m", "tagstream.stream.cli.main", "review", "--port", "0", "--reviewer", "ann"],
                env={
                    **without_settings(os.environ),
                    "PYTHONPATH": str(ROOT),
                    **environ,
                    **place.environ("console"),
                    "TAGSTREAM_STATE_FOLDER": str(tmp_path / "state"),
                },
                log_file=tmp_path / "console.log",
            )
        )

        def more_events() -> list[Input]:
            fleet.tend()
            sent = send(settings, plant(EVENTS, malformed=3, seed=f"{delivery}-{len(inputs)}", first=len(inputs)))
            inputs.extend(sent)
            return sent

        def committed() -> bool:
            fleet.tend()
            return is_committed(observer)

        with TopicObserver(settings) as observer:
            until(lambda: more_events() and place.server.given["worker"] >= expiries, f"the worker has had {expiries} tokens")
            place.server.override = lambda client: (503, b"") if client == "worker" else None
            until(lambda: more_events() and "answers with status 503" in fleet.log(1), "the worker says that there is none")
            away_until = time.monotonic() + TOKEN_SECONDS
            until(lambda: more_events() and time.monotonic() > away_until, "its last token has ended")
            place.server.override = lambda _: None
            more_events()
            until(committed, "all events are committed", state=lambda: fleet.log(1)[-LOG_CHARACTERS:])
            found = verdict(observer, inputs)
        with page.browser:
            assert page.answer(*page.item(), "other").status_code == 200
            until(lambda: by_people(settings), "the answer is on tagged", process=page.process)
        assert [one.code for one in fleet.stop()] == [0]
    assert not found.broken, found
    if delivery == "exactly_once":
        assert found.outcomes == len(inputs)
    assert place.server.given["console"] > expiries / 2
    said = fleet.log(1) + page.process.output()
    assert not [text for text in (token_server.SECRET, *place.server.tokens) if text in said]


def test_tools_sign_in_by_a_command(place: Place, tmp_path: Path) -> None:
    """`doctor`, `send` and `tail` take the token that a program prints, and none of them prints it."""
    token = place.server.token("tools", seconds=300)
    (tmp_path / "token").write_text(token + "\n", encoding="ascii")
    names = fresh_environment(place.cluster.bootstrap, "oauth-tools", partitions=1)
    environ = {
        **names,
        "TAGSTREAM_SECURITY__PROTOCOL": "SASL_SSL",
        "TAGSTREAM_SECURITY__CA_FILE": str(place.cluster.authority.certificate),
        "TAGSTREAM_SECURITY__MECHANISM": "OAUTHBEARER",
        "TAGSTREAM_SECURITY__TOKEN_COMMAND": f"cat {tmp_path / 'token'}",
    }
    run = command(tmp_path)
    made = run("doctor", "--create-topics", "--json", environ=environ)
    sent = run("send", "-", environ=environ, stdin=b'{"title": "Attention"}\n')
    read = run("tail", "content", "--from-beginning", "--json", "--idle", "1", environ=environ)
    assert (sent.returncode, read.returncode, b"Attention" in read.stdout) == (0, 0, True), (made, sent, read)
    checks = {found["check"]: found for found in map(json.loads, made.stdout.splitlines())}
    assert checks["token"]["status"] == "OK", checks
    assert "sub 'tools', aud 'kafka'" in checks["token"]["detail"]
    everything = b"".join(done.stdout + done.stderr for done in (made, sent, read))
    assert token.encode() not in everything


def test_a_refused_token_is_a_sentence(place: Place) -> None:
    """One for another audience is refused by the broker, and a client by the server: at once, with the next step and code 3."""
    place.server.audience, run = "another", command(place.folder)
    with pytest.raises(errors.BrokerRefusedError, match=r"refuses our token \(.*invalid_token.*\).* Next: `tagstream doctor`"):
        admin.partitions(settings_of(place.environ("stranger"), place.folder))
    place.server.override = lambda _: (401, b'{"error": "invalid_client"}')
    for verb in ("worker", "tail content", "doctor"):
        done = run(*verb.split(), environ=place.environ("nobody"))
        said = done.stdout + done.stderr
        assert (done.returncode, b"refuses client 'nobody' (status 401, invalid_client)" in said) == (3, True), done
        assert b"Traceback" not in said
