"""The settings of the Schema Registry: what makes no sense is refused, and a password is never printed."""

from pathlib import Path
from typing import Any

import pytest

from tagstream.stream.settings.loading import SettingsError, load
from tagstream.stream.settings.schema_registry import SchemaRegistry

SECRET = "tr0ub4dor-and-3"  # noqa: S105 - must never be printed
USER = {"username": "w", "password_file": SECRET}


def given(folder: Path, **values: Any) -> SchemaRegistry:
    """The table with these values, from variables."""
    environ = {f"TAGSTREAM_SCHEMA_REGISTRY__{name.upper()}": str(value) for name, value in values.items()}
    return load(environ, folder=folder).settings.schema_registry


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"url": "registry:8081"}, "is not http:// or https://"),
        ({"url": "ftp://registry"}, "is not http:// or https://"),
        ({"url": "http://"}, "is not http:// or https://"),
        ({"url": "http://registry:0x50"}, "is not http:// or https://"),
        ({"url": "http://registry/two words"}, "is not http:// or https://"),
        ({"url": "http://r\u00e9gistre"}, "is not http:// or https://"),
        ({"url": "http://registry?a=b"}, "is not http:// or https://"),
        ({"url": "https://registry,"}, "is not http:// or https://"),
        ({"url": f"https://w:{SECRET}@registry"}, "a user in an address would be printed"),
        ({"url": "https://registry", "username": "w"}, "go together"),
        ({"url": "https://registry", "password_file": SECRET}, "go together"),
        ({"url": "http://registry", **USER}, "could be read on the network"),
        ({"url": "https://a,http://b", **USER}, "could be read on the network"),
        ({**USER}, "is set without schema_registry.url"),
        ({"ca_file": "/ca"}, "is set without schema_registry.url"),
        ({"password": SECRET}, "is not a setting"),
        ({"url": "http://registry", "timeout_seconds": 0}, "it must be above 0"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    """The message says which and why, has a next step, and shows no password."""
    with pytest.raises(SettingsError, match=r"Next: ") as caught:
        given(tmp_path, **values)
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"url": "https://registry.example.com", **USER},
        {"url": "http://127.0.0.1:8081", **USER},
        {"url": "http://[::1]:8081", **USER},
        {"url": "http://localhost:8081", **USER},
        {"url": "http://registry", **USER, "insecure_password_without_tls": "true"},
    ],
)
def test_a_user_signs_in_where_nobody_listens(tmp_path: Path, values: dict[str, Any]) -> None:
    """Over TLS, on this machine, or where somebody has said that the network is trusted."""
    assert given(tmp_path, **values).username == "w"


def test_several_addresses_are_one_registry(tmp_path: Path) -> None:
    """They are separated by commas, and a slash at their end is left out, since paths begin with one."""
    assert given(tmp_path, url="https://a:8081/ , https://b/apis/ccompat/v7").urls == [
        "https://a:8081",
        "https://b/apis/ccompat/v7",
    ]
