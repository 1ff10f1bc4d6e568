"""How brokers are reached: what is refused, what is never printed, and that no client goes another way."""

import ast
import ssl
from pathlib import Path
from typing import Any

import faust
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from stream.cli.show.settings import print_settings
from stream.demo.run import demo
from stream.doctor.examine import Status, examine
from stream.kafka.rights import Operation, Resource, Right, Role, lines, missing, rights
from stream.settings import security
from stream.settings.security import Security, SecurityError, client_options
from stream.settings.settings import Settings, SettingsError, load
from stream.worker.faust_app import credentials
from tests.faults.fleet import ROOT

SECRET = "tr0ub4dor-and-3"  # noqa: S105 - what must never be printed
USER = {"protocol": "SASL_SSL", "username": "w"}
# Where brokers are not the settings' own: the ladder that starts them, and what is measured beside tagstream.
OTHERS = {"stream/broker/probe.py"}
# Files of the tests that connect with settings, as the program does.
OF_TESTS = ("tests/faults/observer.py", "tests/faults/cluster/topics.py", "tests/wire.py")
CLIENTS = {"KafkaProducer", "KafkaConsumer", "KafkaAdminClient", "AIOKafkaClient", "AIOKafkaProducer", "AIOKafkaConsumer"}
CLIENTS |= {"AIOKafkaConnection"}


def settings_with(folder: Path, **given: Any) -> Settings:
    """Settings with these of `security`."""
    return load({f"TAGSTREAM_SECURITY__{name.upper()}": str(value) for name, value in given.items()}, folder=folder).settings


def secret(folder: Path, content: str | bytes = SECRET, mode: int = 0o600) -> Path:
    """A file with a password."""
    path = folder / "password"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"username": "w"}, "under which no user signs in"),
        ({"password_file": "/p"}, "under which no user signs in"),
        ({"mechanism": "PLAIN"}, "under which no user signs in"),
        ({"protocol": "SSL", "username": "w", "password_file": "/p"}, "under which no user signs in"),
        ({"protocol": "SASL_SSL"}, "security.username and security.password_file is not set"),
        ({"protocol": "SASL_SSL", "mechanism": "PLAIN", "password_file": "/p"}, "security.username is not set"),
        ({**USER}, "security.password_file is not set"),
        ({**USER, "protocol": "SASL_PLAINTEXT", "password_file": "/p"}, "insecure_password_without_tls = true"),
        ({**USER, "password_file": "/p", "insecure_password_without_tls": "true"}, "allows what is not done"),
        ({"ca_file": "/ca"}, "uses no TLS"),
        ({"protocol": "SSL", "key_file": "/k"}, "proves nothing without its certificate"),
        ({"protocol": "SSL", "key_password_file": "/k"}, "without a key"),
        ({"protocol": "TLS"}, "Input should be"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, given: dict[str, str], said: str) -> None:
    """With what, why and next, before anything is sent."""
    with pytest.raises(SettingsError, match=r"Next: ") as caught:
        settings_with(tmp_path, **given)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "environ",
    [
        {"TAGSTREAM_SECURITY__PASSWORD": SECRET},
        {"TAGSTREAM_BROKERS": f"w:{SECRET}@kafka:9092"},
        {"TAGSTREAM_BROKERS": f"kafka://w:{SECRET}@kafka:9092"},
        {"TAGSTREAM_SECURITY__PROTOCOL": "SASL_PLAINTEXT", "TAGSTREAM_SECURITY__PASSWORD_FILE": SECRET},
    ],
)
def test_a_password_given_directly_is_refused_and_not_printed(tmp_path: Path, environ: dict[str, str]) -> None:
    """It would stand in `ps e`, in the orchestrator's own records and in every crash report."""
    with pytest.raises(SettingsError) as caught:
        load(environ, folder=tmp_path)
    assert SECRET not in str(caught.value)


def test_a_password_in_the_place_of_its_file_is_not_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither by `config show` nor when it is used."""
    loaded = load(
        {f"TAGSTREAM_SECURITY__{name.upper()}": value for name, value in {**USER, "password_file": SECRET}.items()},
        folder=tmp_path,
    )
    print_settings(loaded, sources=True, as_json=True)
    with pytest.raises(SecurityError) as caught:
        client_options(loaded.settings)
    shown = capsys.readouterr().out
    assert SECRET not in shown + str(caught.value)
    assert '"key":"security.username","value":"w"' in shown


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_the_password_is_the_files_line(tmp_path: Path, ending: str) -> None:
    """As `printf`, `echo` and editors write it; and it is hidden where a client prints its arguments."""
    options = client_options(settings_with(tmp_path, **USER, password_file=secret(tmp_path, SECRET + ending)))
    assert options["sasl_plain_password"] == SECRET
    assert (options["sasl_mechanism"], options["sasl_plain_username"]) == ("SCRAM-SHA-512", "w")
    assert SECRET not in repr(options)


@pytest.mark.parametrize("content", ["", "\n", "two\nlines", "nul\0", b"\xff\xfe", "x" * 5000])
def test_a_file_that_holds_no_password_is_refused(tmp_path: Path, content: str | bytes) -> None:
    """And what it holds is not said."""
    with pytest.raises(SecurityError, match=r"security.password_file .* Next: "):
        client_options(settings_with(tmp_path, **USER, password_file=secret(tmp_path, content)))


@pytest.mark.parametrize(
    ("mode", "refused", "warned"),
    [
        (0o400, False, False),
        (0o600, False, False),
        (0o440, False, False),
        (0o644, False, True),
        (0o660, True, False),
        (0o602, True, False),
    ],
)
def test_a_file_that_others_may_write_is_refused_and_one_that_all_may_read_is_warned_of(
    tmp_path: Path, mode: int, refused: bool, warned: bool
) -> None:
    """0644 is how Kubernetes mounts a Secret: a warning."""
    settings = settings_with(tmp_path, **USER, password_file=secret(tmp_path, mode=mode))
    if refused:
        with pytest.raises(SecurityError, match="others may write to it"):
            client_options(settings)
    else:
        client_options(settings)
        assert any("every user" in warning for warning in security.warnings(settings.security)) is warned


def test_tls_always_verifies_certificate_and_name(tmp_path: Path) -> None:
    """There is no switch; TLS 1.2 is the oldest."""
    context = client_options(settings_with(tmp_path, protocol="SSL"))["ssl_context"]
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert not [name for name in Security.model_fields if "verif" in name or "hostname" in name]


@pytest.mark.parametrize("key", ["ca_file", "certificate_file"])
def test_a_file_that_is_no_certificate_is_refused(tmp_path: Path, key: str) -> None:
    """And one that is not there, or is a folder."""
    for path in (secret(tmp_path), tmp_path / "absent", tmp_path):
        with pytest.raises(SecurityError, match=rf"security.{key} .*cannot be used: .* Next: "):
            client_options(settings_with(tmp_path, protocol="SSL", **{key: path}))


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT"])
def test_faust_gets_the_protocol_of_the_settings(tmp_path: Path, protocol: str) -> None:
    """SASL without a context would be SASL_PLAINTEXT to Faust, in silence."""
    user = {"username": "w", "password_file": secret(tmp_path)} if protocol.startswith("SASL") else {}
    told = {"insecure_password_without_tls": True} if protocol == "SASL_PLAINTEXT" else {}
    options = client_options(settings_with(tmp_path, protocol=protocol, **user, **told))
    made = credentials(options)
    assert (made.protocol.value if made else "PLAINTEXT") == protocol
    assert SECRET not in repr(made)
    if protocol == "SASL_SSL":
        assert isinstance(made, faust.SASLCredentials)
        assert made.ssl_context is options["ssl_context"]
        with pytest.raises(RuntimeError, match="SASL_PLAINTEXT where the settings say SASL_SSL"):
            credentials({**options, "ssl_context": None})


def test_no_client_is_constructed_without_the_one_function() -> None:
    """Every construction of a Kafka client in the project takes `**options` or `**client_options(...)`."""
    seen = []
    for path in [*(ROOT / "stream").rglob("*.py"), *(ROOT / name for name in OF_TESTS)]:
        name = str(path.relative_to(ROOT))
        for call in (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)):
            if ast.unparse(call.func).rpartition(".")[2] not in CLIENTS or name in OTHERS:
                continue
            spread = [ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg is None]
            assert spread in (["options"], ["client_options(settings)"]), f"{name}:{call.lineno} goes around client_options"
            assert not any(keyword.arg == "bootstrap_servers" for keyword in call.keywords)
            seen.append(name)
    assert set(seen) >= {
        "stream/kafka/clients.py",
        "stream/kafka/admin.py",
        "stream/kafka/handshake.py",
        "tests/faults/observer.py",
        "tests/faults/cluster/topics.py",
    }


# --- rights ------------------------------------------------------------------------------------------------------------


def test_a_worker_needs_nothing_on_the_cluster_and_creates_nothing() -> None:
    """READ on what it reads and on its group, WRITE on what it writes."""
    found = rights(Settings(), Role.WORKER)
    assert [(right.resource, right.name, right.operations[0]) for right in found] == [
        (Resource.TOPIC, "content", Operation.READ),
        (Resource.GROUP, "tagstream", Operation.READ),
        (Resource.TOPIC, "tagged", Operation.WRITE),
        (Resource.TOPIC, "review", Operation.WRITE),
        (Resource.TOPIC, "content.dlq", Operation.WRITE),
        (Resource.TOPIC, "drift", Operation.WRITE),
    ]


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.CREATOR])
def test_only_the_creator_creates(role: Role) -> None:
    """Nobody else is printed a CREATE."""
    assert not any("Create" in line for line in lines(Settings(), role, "u"))


@given(st.text(min_size=1, max_size=20))
def test_a_name_cannot_leave_its_word(user: str) -> None:
    """What is printed is one command, whatever the user is called."""
    import shlex

    for line in lines(Settings(group="a; rm -rf $HOME"), Role.WORKER, user):
        words = shlex.split(line)
        assert words[0] == "kafka-acls.sh"
        assert f"User:{user}" in words


def test_what_is_missing_is_named_and_what_is_not_known_is_not() -> None:
    """A broker that does not say what we may is no reason to refuse."""
    right = Right(resource=Resource.TOPIC, name="tagged", operations=(Operation.WRITE, Operation.DESCRIBE))
    assert missing(Settings(), right, None) is None
    assert missing(Settings(), right, {"WRITE", "DESCRIBE", "READ"}) is None
    said = missing(Settings(), right, {"DESCRIBE"})
    assert said is not None
    assert "a client without a user is not authorised for WRITE on the topic 'tagged'" in said


def test_the_doctor_says_which_file_and_asks_nobody(tmp_path: Path) -> None:
    """A file that cannot be used fails the check; it is not a broker that cannot be reached."""
    report = examine(settings_with(tmp_path, **USER, password_file=secret(tmp_path, mode=0o666)), create_topics=False)
    failed = [finding for finding in report.findings if finding.status is Status.FAIL]
    assert [finding.check for finding in failed] == ["security"]
    assert report.broker_reachable
    assert report.findings[-1] is failed[0]


def test_the_demo_does_not_pretend_to_use_tls(tmp_path: Path) -> None:
    """Its broker is its own: settings that ask for more are refused and not left out in silence."""
    with pytest.raises(SettingsError, match="without TLS"):
        demo(settings=settings_with(tmp_path, protocol="SSL"), seconds=1, rate=1, console=Console())


def test_an_operator_may_replay_dead_letters() -> None:
    """A replay writes the event to `content` and what it did to the ledger, and reads all three topics."""
    topics = Settings().topics
    found = {right.name: right.operations for right in rights(Settings(), Role.OPERATOR) if Operation.WRITE in right.operations}

    assert set(found) == {topics.content, topics.replays}
