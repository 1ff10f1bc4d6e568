"""Settings of a program that uses the library: the program's own values override the environment."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings

# A path below which no file can exist.
NOWHERE = Path(os.devnull)


def settings_of(given: Mapping[str, Any] | None, *, environment: bool, bundle: str | Path | None = None) -> Settings:
    """
    Return the settings of a program.

    Args:
        given: Values by name, as on the page of settings: `topics.tagged`, or a mapping `tagged` in `topics`.
        environment: True to use variables `TAGSTREAM_...` and `tagstream.toml` of the working directory for values that are not given.
        bundle: The folder of a bundle; overrides every other value.

    Raises:
        SettingsError: A setting is unknown or cannot be used.
    """
    values: dict[str, Any] = {}
    for name, value in (given or {}).items():
        *tables, last = name.split(".")
        table = values
        for one in tables:
            table = table.setdefault(one, {})
        table[last] = {**table.get(last, {}), **value} if isinstance(value, Mapping) else value
    if bundle is not None:
        # `Path("")` would be the working directory. An empty name stays empty, and the settings refuse it.
        values["bundle"] = str(Path(bundle).expanduser()) if str(bundle) else ""
    if environment:
        return load(os.environ, values, given_by="settings=").settings
    return load({}, values, NOWHERE, given_by="settings=").settings
