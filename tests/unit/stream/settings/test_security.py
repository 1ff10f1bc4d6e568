"""The security settings: combinations that make no sense are refused, and a password is never printed."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tagstream.stream.cli.show.settings import print_settings
from tagstream.stream.demo.run import demo
from tagstream.stream.settings.loading import SettingsError, load
from tagstream.stream.settings.settings import Settings

SECRET = "tr0ub4dor-and-3"  # noqa: S105 - must never be printed
USER = {"protocol": "SASL_SSL", "username": "w"}
TOKEN = {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER"}
URL = {**TOKEN, "token_url": "https://idp/token"}
CLIENT = {"client_id": "c", "client_secret_file": "/s"}


def settings_with(folder: Path, **given: Any) -> Settings:
    """Settings with these of `security`."""
    return load({f"TAGSTREAM_SECURITY__{name.upper()}": str(value) for name, value in given.items()}, folder=folder).settings


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
        ({**USER, "password_file": "/p", "insecure_password_without_tls": "true"}, "has no effect"),
        ({"ca_file": "/ca"}, "uses no TLS"),
        ({"protocol": "SSL", "key_file": "/k"}, "a key needs its certificate"),
        ({"protocol": "SSL", "key_password_file": "/k"}, "without a key"),
        ({"protocol": "TLS"}, "Input should be"),
        (TOKEN, "needs one source of tokens, security.token_command or security.token_url, and neither is set"),
        ({**URL, **CLIENT, "token_command": "t"}, "and both is set"),
        ({**TOKEN, "token_command": "t", "password_file": "/p"}, "security.password_file has no effect"),
        ({**TOKEN, "token_command": "t", "client_id": "c"}, "security.client_id belongs to security.token_url"),
        ({**TOKEN, "token_command": "t '"}, "a quotation mark is not closed"),
        ({**TOKEN, "token_command": " "}, "it is empty"),
        ({**TOKEN, "token_command": "a\0b"}, "or it has a NUL"),
        (URL, "security.client_id and security.client_secret_file is not set"),
        ({**URL, "client_id": "c"}, "and security.client_secret_file is not set"),
        ({**URL, **CLIENT, "token_url": "http://idp/token"}, "could be read on the network"),
        ({**URL, **CLIENT, "token_url": "idp/token"}, "it is not https://"),
        ({**USER, "password_file": "/p", "token_url": "https://idp/token"}, "which takes no token"),
        ({"token_command": "t"}, "which takes no token"),
        ({"mechanism": "OAUTHBEARER", "token_command": "t"}, "under which no user signs in"),
        ({**TOKEN, "protocol": "SASL_PLAINTEXT", "token_command": "t"}, "insecure_password_without_tls = true"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path: Path, given: dict[str, str], said: str) -> None:
    """The message names the settings, says why, and has a next step."""
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
    """A password belongs into a file: a variable shows up in `ps e`, in the orchestrator and in crash reports."""
    with pytest.raises(SettingsError) as caught:
        load(environ, folder=tmp_path)
    assert SECRET not in str(caught.value)


def test_a_password_in_the_place_of_its_file_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`config show` prints the name of a secret's file only if there is such a file."""
    environ = {f"TAGSTREAM_SECURITY__{name.upper()}": value for name, value in {**USER, "password_file": SECRET}.items()}
    print_settings(load(environ, folder=tmp_path), sources=True, as_json=True)
    shown = capsys.readouterr().out
    assert SECRET not in shown
    assert '"key":"security.username","value":"w"' in shown


@pytest.mark.parametrize(
    "given",
    [
        {**TOKEN, "token_command": "get-token --verbose"},
        {**TOKEN, "token_command": "get-token", "username": "w"},
        {**URL, **CLIENT, "token_scope": "s", "token_ca_file": "/ca"},
        {**URL, **CLIENT, "token_url": "http://127.0.0.1:8080/token"},
    ],
)
def test_a_token_has_one_source(tmp_path: Path, given: dict[str, str]) -> None:
    """A program, or an endpoint with a client; a user's name is only for messages."""
    assert settings_with(tmp_path, **given).security.by_token


def test_a_secret_among_the_arguments_of_a_program_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`config show` prints the program alone, and no error prints the command, nor an address with a password."""
    environ = {f"TAGSTREAM_SECURITY__{name.upper()}": value for name, value in TOKEN.items()}
    command = {**environ, "TAGSTREAM_SECURITY__TOKEN_COMMAND": f"get-token --secret {SECRET}"}
    print_settings(load(command, folder=tmp_path), sources=True, as_json=True)
    shown = capsys.readouterr().out
    assert SECRET not in shown
    assert '"value":"get-token (its arguments are not shown)"' in shown
    for wrong in (f"get-token '{SECRET}", f"https://c:{SECRET}@idp/token"):
        key = "TOKEN_URL" if wrong.startswith("https") else "TOKEN_COMMAND"
        with pytest.raises(SettingsError) as caught:
            load({**environ, f"TAGSTREAM_SECURITY__{key}": wrong}, folder=tmp_path)
        assert SECRET not in str(caught.value)


def test_the_demo_does_not_pretend_to_use_tls(tmp_path: Path) -> None:
    """The demo starts its own broker without TLS, so settings that ask for TLS are refused instead of ignored."""
    with pytest.raises(SettingsError, match=r"without TLS.*--on-broker"):
        demo(settings=settings_with(tmp_path, protocol="SSL"), seconds=1, rate=1, console=Console())
