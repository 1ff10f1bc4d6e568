"""Access tokens: from a program and from an endpoint, refusals with their reasons, and a token that is fetched once for all."""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tagstream.stream.broker.ports import free_ports
from tagstream.stream.doctor import local
from tagstream.stream.doctor.findings import Status
from tagstream.stream.kafka import tokens as module
from tagstream.stream.kafka.credentials import client_options
from tagstream.stream.kafka.errors import TokenError
from tagstream.stream.kafka.tokens import LEAST_SECONDS, PAUSE_SECONDS, REPLACED_SECONDS, Token, Tokens, fetched
from tagstream.stream.settings.security import Security
from tagstream.stream.settings.settings import Settings
from tests.fakes import Clock
from tests.token_server import SECRET, TokenServer, secret_file, serving
from tests.waiting import HANG_SECONDS, until

PROTOCOL = {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    """One server for all tests."""
    with serving(tmp_path_factory.mktemp("tokens")) as found:
        yield found


@pytest.fixture
def server(running: TokenServer) -> Iterator[TokenServer]:
    """The server, which gives every client a token."""
    running.override, running.seconds = lambda _: None, 300.0
    yield running
    running.override = lambda _: None


def by_command(script: str, **given: Any) -> Security:
    """Settings with a program in Python for a source."""
    return Security.model_validate({**PROTOCOL, "token_command": f"{sys.executable} -c '{script}'", **given})


def by_endpoint(url: str, folder: Path, content: str = SECRET, **given: Any) -> Security:
    """Settings with an endpoint for a source."""
    client = {"client_id": "a worker", "client_secret_file": secret_file(folder, content)}
    return Security.model_validate({**PROTOCOL, "token_url": url, **client, **given})


def test_a_program_prints_a_token_alone_or_as_an_endpoint_answers(server: TokenServer) -> None:
    """The life of a JWT is in its claims, that of any other token only in an answer; nothing else is known of it."""
    signed = server.token("w", seconds=100)
    found = fetched(by_command(f'print("{signed}")'))
    assert (found.text, found.claims["sub"]) == (signed, "w")
    assert found.seconds == pytest.approx(100, abs=99)
    assert fetched(by_command('print("opaque+/_~.-==")')).seconds is None
    answer = json.dumps({"access_token": "opaque", "expires_in": "900", "token_type": "Bearer"}).replace('"', '\\"')
    assert fetched(by_command(f'print("{answer}")')) == Token(text="opaque", seconds=900.0, claims={})
    assert "opaque" not in repr(Token(text="opaque", seconds=None, claims={"sub": "opaque"}))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (f'import sys; print("{SECRET}"); sys.exit(3)', "ended with exit code 3"),
        (f'print("{SECRET} {SECRET}")', "printed 32 bytes that are no token"),
        ("", "printed 0 bytes that are no token"),
        ('print("{")', "no token"),
        ("print('\\''{\"access_token\": 5}'\\'')", "no token"),
        ('print("a" * 10_000_000)', "no token"),
        ('import sys\nwhile True: sys.stdout.write("ab" * 9999)', "no token"),
        ('import time; print("a", flush=True); time.sleep(3600)', "did not end within 0.5 s"),
        ('import subprocess; subprocess.run(["sleep", "3600"])', "did not end within 0.5 s"),
    ],
)
def test_a_program_that_gives_no_token_is_a_sentence(script: str, said: str) -> None:
    """It fails, prints other things or too much, or does not end: with the next step, and without anything that it printed."""
    # A program that starts slowly is not one that does not end.
    seconds = 0.5 if "0.5 s" in said else 60
    with pytest.raises(TokenError, match=rf"security.token_command \({sys.executable}\) .*{said}.* Next: ") as caught:
        fetched(by_command(script, token_timeout_seconds=seconds))
    assert SECRET not in str(caught.value)


def test_a_program_that_cannot_be_started_is_a_sentence() -> None:
    """There is none of this name, or it may not be run."""
    for program in ("/nonexistent/token", "/etc/hostname"):
        with pytest.raises(TokenError, match=rf"cannot be started \({program}: .*\)\. Next: "):
            fetched(Security.model_validate({**PROTOCOL, "token_command": f"{program} --secret {SECRET}"}))


def test_an_endpoint_gives_a_token_for_the_clients_secret(server: TokenServer, tmp_path: Path) -> None:
    """By the grant client_credentials and HTTP Basic, with characters that need escaping in the client's name."""
    found = fetched(by_endpoint(f"{server.url}/token", tmp_path, token_scope="stream"))  # noqa: S106 - no secret
    assert (found.text, found.seconds, found.claims["sub"]) == (server.tokens[-1], 300, "a worker")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((400, b'{"error": "invalid_scope"}'), r"\(status 400, invalid_scope\)\. Next: check security.token_scope"),
        ((403, b"no"), r"refuses client 'a worker' \(status 403\)\. Next: check security.client_id"),
        ((400, f'{{"error": "{SECRET}"}}'.encode()), r"\(status 400\)\. Next: "),
        ((400, b'{"error": "a_word_of_its_own"}'), r"\(status 400\)\. Next: "),
        ((302, b""), r"redirects \(status 302\), which is not followed.* Next: "),
        ((404, b""), r"answers with status 404\. Next: check security.token_url"),
        ((503, b""), r"answers with status 503\. Next: see its log"),
        ((200, b"<html>"), r"answers, and not with a token\. Next: .*openid-configuration"),
        ((200, b"bare"), "answers, and not with a token"),
        ((200, b'{"access_token": "a b"}'), "answers, and not with a token"),
        ((200, b'{"access_token": "a", "expires_in": -5}'), r"a token that ended 5 s ago\. Next: compare this machine's clock"),
        ((200, b'{"access_token": "a", "expires_in": 0}'), "a token that ends at once"),
    ],
)
def test_an_endpoint_that_gives_no_token_is_a_sentence(
    server: TokenServer, tmp_path: Path, answer: tuple[int, bytes], said: str
) -> None:
    """It refuses us, redirects, is none, fails, or gives a token that is over: with the next step, and without its words."""
    server.override = lambda _: answer
    with pytest.raises(TokenError, match=f"the token endpoint {server.url}/token .*{said}") as caught:
        fetched(by_endpoint(f"{server.url}/token", tmp_path))
    assert SECRET not in str(caught.value)


def test_a_wrong_secret_is_a_sentence(server: TokenServer, tmp_path: Path) -> None:
    """The endpoint's own description, which may quote the secret, is not shown."""
    with pytest.raises(TokenError, match=r"refuses client 'a worker' \(status 401, invalid_client\)") as caught:
        fetched(by_endpoint(f"{server.url}/token", tmp_path, content="wrong"))
    assert "of tr0ub4dor" not in str(caught.value)


def test_an_expired_jwt_is_a_sentence(server: TokenServer) -> None:
    """A program that has kept its token too long, or a clock that is wrong."""
    with pytest.raises(TokenError, match=r"gave a token that ended \d+ s ago\. Next: "):
        fetched(by_command(f'print("{server.token("w", seconds=-60)}")'))


def test_an_endpoint_that_does_not_answer_is_a_sentence(server: TokenServer, tmp_path: Path) -> None:
    """Nothing listens there, or it takes its time: the bound is that of the settings."""
    [port] = free_ports(1)
    with pytest.raises(TokenError, match=r"gives no answer \(ConnectionRefusedError: .* Next: "):
        fetched(by_endpoint(f"http://127.0.0.1:{port}/token", tmp_path))
    server.override = lambda _: (time.sleep(3), None)[1]
    with pytest.raises(TokenError, match=r"gives no answer within 0.5 s \(TimeoutError.* Next: "):
        fetched(by_endpoint(f"{server.url}/token", tmp_path, token_timeout_seconds=0.5))


def test_a_secret_that_is_gone_is_a_sentence(server: TokenServer, tmp_path: Path) -> None:
    """Before a client is made the file's error ends the program; later it is one of the token."""
    security = by_endpoint(f"{server.url}/token", tmp_path)
    secret_file(tmp_path).unlink()
    with pytest.raises(TokenError, match=r"security.client_secret_file .*cannot be used"):
        fetched(security)
    secret_file(tmp_path)
    assert fetched(security).seconds == 300


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a source that answers at once, however busy the machine is."""
    monkeypatch.setattr(module, "PATIENT_SECONDS", HANG_SECONDS)


class Source:
    """Gives tokens that live for 100 s, or fails."""

    def __init__(self) -> None:
        self.asked, self.failure, self.clock = 0, "", Clock(0)

    def __call__(self) -> Token:
        """The next token."""
        self.asked += 1
        if self.failure:
            raise TokenError(self.failure)
        return Token(text=f"t{self.asked}", seconds=100.0, claims={})

    def tokens(self) -> Tokens:
        """The tokens of this source."""
        return Tokens(self, self.clock)


def test_a_token_is_kept_until_shortly_before_it_ends() -> None:
    """One is fetched at half of the life of the one before."""
    source = Source()
    tokens = source.tokens()
    for now, text in ((0, "t1"), (49, "t1"), (51, "t2"), (100, "t2"), (102, "t3")):
        source.clock.now = now
        assert tokens.current() == text
        assert asyncio.run(tokens.soon()) == text
    assert source.asked == 3


def test_many_connections_fetch_one_token() -> None:
    """All wait for the same."""
    slow = Source()

    def fetch() -> Token:
        time.sleep(0.05)
        return slow()

    tokens = Tokens(fetch, slow.clock)

    async def all_at_once() -> list[str]:
        return await asyncio.gather(*(tokens.soon() for _ in range(50)))

    assert set(asyncio.run(all_at_once())) == {"t1"}
    assert slow.asked == 1


def test_a_source_that_fails_is_bridged_by_the_token_that_is_there() -> None:
    """It is used to its end; then the source's sentence is raised, and the source is asked once a pause."""
    source = Source()
    tokens = source.tokens()
    assert tokens.current() == "t1"
    source.failure = "it is away. Next: wait."
    source.clock.now = 90
    assert [tokens.current() for _ in range(5)] == ["t1"] * 5
    assert source.asked == 2
    source.clock.now = 100 - LEAST_SECONDS
    for _ in range(5):
        with pytest.raises(TokenError, match=r"it is away\. Next: wait\."):
            tokens.current()
    assert source.asked == 3
    source.failure = ""
    source.clock.now += PAUSE_SECONDS
    assert tokens.current() == "t4"


def test_a_source_that_hangs_holds_nobody_up_while_the_token_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token that is there is given; the new one is taken once it has come, and waited for once the old one has ended."""
    monkeypatch.setattr(module, "PATIENT_SECONDS", 0.0)
    source, answers = Source(), threading.Event()

    def fetch() -> Token:
        assert not source.asked or answers.wait(HANG_SECONDS)
        return source()

    tokens = Tokens(fetch, source.clock)
    assert tokens.current() == "t1"
    source.clock.now = 60
    assert [tokens.current() for _ in range(20)] == ["t1"] * 20
    assert source.asked == 1
    answers.set()
    until(lambda: tokens.current() == "t2", "the new token is taken")
    answers.clear()
    source.clock.now = 150
    assert tokens.current() == "t2"
    source.clock.now = 161
    threading.Timer(0.05, answers.set).start()
    # That which was asked for at 150 is alive when it comes.
    assert tokens.current() == "t3"
    assert source.asked == 3


def test_a_token_that_a_broker_refuses_is_replaced() -> None:
    """The issuer has a new key: not until the token's end, and not at every connection either."""
    source = Source()
    tokens = source.tokens()
    tokens.refused(tokens.current())
    source.clock.now = REPLACED_SECONDS - 1
    assert tokens.current() == "t1"
    source.clock.now = REPLACED_SECONDS
    assert tokens.current() == "t2"
    tokens.refused("t1")
    source.clock.now = 3 * REPLACED_SECONDS
    assert tokens.current() == "t2"


def test_the_doctor_shows_the_claims_and_never_the_token(server: TokenServer, tmp_path: Path) -> None:
    """A source that answers, that is slow, whose tokens live shortly, and that refuses us."""

    def findings(**given: Any) -> dict[Status, str]:
        settings = Settings(security=by_endpoint(f"{server.url}/token", tmp_path, **given))
        found = [one for one in local.security(settings) if one.check == "token"]
        assert not [one for one in found if any(text in repr(one) for text in (SECRET, *server.tokens))]
        return {one.status: f"{one.detail} Next: {one.fix}" for one in found}

    said = findings()
    assert list(said) == [Status.OK]
    assert "it lives 300 s (iss 'http://127.0.0.1:" in said[Status.OK]
    assert "sub 'a worker', aud 'kafka', scope 'stream')" in said[Status.OK]
    server.seconds = 30
    assert "lives 30 s, and no stream goes on for longer without" in findings()[Status.WARN]
    server.seconds = 300
    server.override = lambda _: (time.sleep(1), None)[1]
    assert "of the 1.9 s that are allowed" in findings(token_timeout_seconds=1.9)[Status.WARN]
    server.override = lambda _: (401, b"{}")
    assert "refuses client 'a worker'" in findings()[Status.FAIL]


def test_all_clients_share_one_source(tmp_path: Path) -> None:
    """Options that were made twice have the same tokens, and other settings have others; no password is among them."""
    settings = Settings(security=by_endpoint("https://127.0.0.1/token", tmp_path))
    one, other = client_options(settings), client_options(settings.model_copy())
    assert one["sasl_oauth_token_provider"].tokens is other["sasl_oauth_token_provider"].tokens
    assert not [name for name in one if "plain" in name]
    strange = client_options(Settings(security=by_command("pass")))
    assert strange["sasl_oauth_token_provider"].tokens is not one["sasl_oauth_token_provider"].tokens
