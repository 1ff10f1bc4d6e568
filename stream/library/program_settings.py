"""Settings of a program: the environment's, with those that it hands in above them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tagstream.stream.settings.loading import load
from tagstream.stream.settings.settings import Settings

# A folder that can hold no file.
NOWHERE = Path(os.devnull)


def settings_of(given: Mapping[str, Any] | None, *, environment: bool, bundle: str | Path | None = None) -> Settings:
    """
    The settings of a program.

    Args:
        given: Values by name, as on the page of settings: `topics.tagged`, or a mapping `tagged` in `topics`.
        environment: Whether variables `TAGSTREAM_...` and `tagstream.toml` of the working directory hold below them.
        bundle: The folder of a bundle, above all of them.

    Raises:
        SettingsError: One is unknown or cannot be used.
    """
    values: dict[str, Any] = {}
    for name, value in (given or {}).items():
        *tables, last = name.split(".")
        table = values
        for one in tables:
            table = table.setdefault(one, {})
        table[last] = {**table.get(last, {}), **value} if isinstance(value, Mapping) else value
    if bundle is not None:
        # An empty name stays empty, which is refused, and is not the working directory.
        values["bundle"] = str(Path(bundle).expanduser()) if str(bundle) else ""
    if environment:
        return load(os.environ, values, given_by="settings=").settings
    return load({}, values, NOWHERE, given_by="settings=").settings
