"""The security settings: combinations that make no sense are refused, and a password is never printed."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stream.cli.show.settings import print_settings
from stream.demo.run import demo
from stream.settings.loading import SettingsError, load
from stream.settings.settings import Settings

SECRET = "tr0ub4dor-and-3"  # noqa: S105 - must never be printed
USER = {"protocol": "SASL_SSL", "username": "w"}


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


def test_the_demo_does_not_pretend_to_use_tls(tmp_path: Path) -> None:
    """The demo starts its own broker without TLS, so settings that ask for TLS are refused instead of ignored."""
    with pytest.raises(SettingsError, match=r"without TLS.*--on-broker"):
        demo(settings=settings_with(tmp_path, protocol="SSL"), seconds=1, rate=1, console=Console())
