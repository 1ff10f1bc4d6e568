"""Credentials: files that are refused, secrets that are never printed, and no client that goes another way."""

import ast
import ssl
from pathlib import Path
from typing import Any

import faust
import faust.auth
import pytest

from tagstream.stream.doctor.examine import examine
from tagstream.stream.doctor.findings import Status
from tagstream.stream.kafka import credentials as module
from tagstream.stream.kafka.credentials import client_options
from tagstream.stream.settings.loading import load
from tagstream.stream.settings.secret_files import SecurityError, answer_keys
from tagstream.stream.settings.security import Security
from tagstream.stream.settings.settings import Settings
from tagstream.stream.worker.faust_app import credentials
from tests.faults.worker.fleet import ROOT
from tests.sources import parsed

SECRET = "tr0ub4dor-and-3"  # noqa: S105 - must never be printed
USER = {"protocol": "SASL_SSL", "username": "w"}
SOURCE = {"token_command": "get-token"}
# These clients connect to brokers that the project starts itself, not to those of the settings.
OTHERS = {"stream/broker/probe.py"}
# Files of the tests that connect with settings, as the program does.
OF_TESTS = ("tests/faults/observer.py", "tests/faults/cluster/topics.py", "tests/wire.py")
CLIENTS = {
    "KafkaProducer",
    "KafkaConsumer",
    "KafkaAdminClient",
    "_AdminClient",
    "AIOKafkaClient",
    "AIOKafkaProducer",
    "AIOKafkaConsumer",
}
CLIENTS |= {"AIOKafkaConnection", "LastingConnection"}


def settings_with(folder: Path, **given: Any) -> Settings:
    """Settings with these of `security`."""
    return load({f"TAGSTREAM_SECURITY__{name.upper()}": str(value) for name, value in given.items()}, folder=folder).settings


def secret(folder: Path, content: str | bytes = SECRET, mode: int = 0o600) -> Path:
    """A file with a password."""
    path = folder / "password"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


def test_a_password_in_the_place_of_its_file_is_not_printed(tmp_path: Path) -> None:
    """The error on a file that does not exist leaves out its name, which may be the password itself."""
    with pytest.raises(SecurityError) as caught:
        client_options(settings_with(tmp_path, **USER, password_file=SECRET))
    assert SECRET not in str(caught.value)


def test_the_keys_of_answers_are_the_files_lines(tmp_path: Path) -> None:
    """The first signs; without a file there is none."""
    assert answer_keys(Security()).keys == ()
    found = answer_keys(Security(answer_keys_file=secret(tmp_path, f"{'a' * 32}\r\n{'b' * 32}\n")))
    assert found.keys == (b"a" * 32, b"b" * 32)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "1 to 8 keys"),
        (f"{'a' * 32}\n" * 9, "1 to 8 keys"),
        ("a" * 31, "32 or more"),
        (f"{'a' * 32}\n\n{'b' * 32}", "32 or more"),
        ("a " * 32, "without a space"),
        (b"\xff" * 40, "not UTF-8"),
        ("a" * 5000, "4096 bytes"),
    ],
)
def test_a_file_of_other_things_gives_no_key(tmp_path: Path, content: str | bytes, why: str) -> None:
    """A key that can be guessed, or a password with spaces by mistake, is an error that does not print it; so is a file that others may write."""
    for mode, said in ((0o600, why), (0o622, "others may write to it")):
        with pytest.raises(SecurityError, match=rf"security.answer_keys_file .*{said}.* Next: ") as caught:
            answer_keys(Security(answer_keys_file=secret(tmp_path, content, mode)))
        assert "a" * 31 not in str(caught.value)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_the_password_is_the_files_line(tmp_path: Path, ending: str) -> None:
    """With or without a newline at the end; a client that prints its arguments does not show it."""
    options = client_options(settings_with(tmp_path, **USER, password_file=secret(tmp_path, SECRET + ending)))
    assert options["sasl_plain_password"] == SECRET
    assert (options["sasl_mechanism"], options["sasl_plain_username"]) == ("SCRAM-SHA-512", "w")
    assert SECRET not in repr(options)


@pytest.mark.parametrize("content", ["", "\n", "two\nlines", "nul\0", b"\xff\xfe", "x" * 5000])
def test_a_file_that_holds_no_password_is_refused(tmp_path: Path, content: str | bytes) -> None:
    """Empty, two lines, not text or too long: the error does not show the content."""
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
    """Kubernetes mounts a Secret with mode 0644, so that is a warning and no error."""
    settings = settings_with(tmp_path, **USER, password_file=secret(tmp_path, mode=mode))
    if refused:
        with pytest.raises(SecurityError, match="others may write to it"):
            client_options(settings)
    else:
        client_options(settings)
        assert any("every user" in warning for warning in module.warnings(settings.security)) is warned


def test_tls_always_verifies_certificate_and_name(tmp_path: Path) -> None:
    """TLS 1.2 is the oldest version, and no setting switches verification off."""
    context = client_options(settings_with(tmp_path, protocol="SSL"))["ssl_context"]
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert not [name for name in Security.model_fields if "verif" in name or "hostname" in name]


@pytest.mark.parametrize("key", ["ca_file", "certificate_file"])
def test_a_file_that_is_no_certificate_is_refused(tmp_path: Path, key: str) -> None:
    """A file without a certificate, a missing file and a folder are refused with a next step."""
    for path in (secret(tmp_path), tmp_path / "absent", tmp_path):
        with pytest.raises(SecurityError, match=rf"security.{key} .*cannot be used: .* Next: "):
            client_options(settings_with(tmp_path, protocol="SSL", **{key: path}))


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT"])
def test_faust_gets_the_protocol_of_the_settings(tmp_path: Path, protocol: str) -> None:
    """Faust takes SASL without a TLS context for SASL_PLAINTEXT; the worker refuses that."""
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


def test_faust_gets_the_tokens_of_the_settings(tmp_path: Path) -> None:
    """The worker signs in by the same tokens as every other client, and under TLS as the settings say."""
    options = client_options(settings_with(tmp_path, protocol="SASL_SSL", mechanism="OAUTHBEARER", **SOURCE))
    made = credentials(options)
    assert isinstance(made, faust.auth.OAuthCredentials)
    assert (made.protocol.value, made.ssl_context) == ("SASL_SSL", options["ssl_context"])
    assert made.oauth_cb is options["sasl_oauth_token_provider"]


def test_no_client_is_constructed_without_the_one_function() -> None:
    """Every construction of a Kafka client in the project takes `**options` or `**client_options(...)`."""
    seen = []
    for path in [*(ROOT / "stream").rglob("*.py"), *(ROOT / name for name in OF_TESTS)]:
        name = str(path.relative_to(ROOT))
        for call in (node for node in ast.walk(parsed(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)):
            if ast.unparse(call.func).rpartition(".")[2] not in CLIENTS or name in OTHERS:
                continue
            spread = [ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg is None]
            assert spread in (["options"], ["client_options(settings)"]), f"{name}:{call.lineno} goes around client_options"
            assert not any(keyword.arg == "bootstrap_servers" for keyword in call.keywords)
            seen.append(name)
    assert set(seen) >= {
        "stream/kafka/producer.py",
        "stream/kafka/reading/reader.py",
        "stream/kafka/probes.py",
        "stream/kafka/admin.py",
        "stream/kafka/admission.py",
        "tests/faults/observer.py",
        "tests/faults/cluster/topics.py",
    }


def test_the_doctor_fails_a_file_and_asks_no_broker(tmp_path: Path) -> None:
    """A file that cannot be used fails the check `security`, and no broker is asked or called unreachable."""
    report = examine(settings_with(tmp_path, **USER, password_file=secret(tmp_path, mode=0o666)), create_topics=False)
    failed = [finding for finding in report.findings if finding.status is Status.FAIL]
    assert [finding.check for finding in failed] == ["security"]
    assert report.broker_reachable
    assert report.findings[-1] is failed[0]
