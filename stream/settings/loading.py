"""Loads the settings. Only this module reads the environment and `tagstream.toml`.

Flags win over the environment (`TAGSTREAM_*`, nested with `__`), the environment over `tagstream.toml`, and the file over the defaults. An
unknown key is an error that names the most similar known key, so that a misspelt setting does not silently keep its default.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from tagstream.stream.settings.fields import Fields
from tagstream.stream.settings.security import COMMAND, FILES_OF_SECRETS
from tagstream.stream.settings.settings import PREFIX, Settings
from tagstream.stream.settings.topics import SameNameError

CONFIG_FILE = "tagstream.toml"
# Variables with our prefix that are not settings: they name the file from which settings are read.
CONTROL_VARIABLES = frozenset({"TAGSTREAM_CONFIG"})
# The variables that Kubernetes makes for a Service: its host and ports, and the parts of each port.
SERVICE_LINK = re.compile(PREFIX + r"(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
# Settings that refuse a user in an address. Their value is not printed if it may hold a password.
ADDRESSES = frozenset({"brokers", "schema_registry.url", "security.token_url", "tracing.endpoint"})

# Kinds of pydantic's errors: a text that is not a number, and a number out of range, with the bound's name and words.
NUMBERS = {"int_parsing": "a whole number", "float_parsing": "a number"}
BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "above"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "below"),
}


class SettingsError(Exception):
    """A setting is unknown or cannot be used: the message names the setting, why, where it was set, and the next step."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Settings, and the origin of every value that is not a default, by dotted key."""

    settings: Settings
    origins: dict[str, str]


class _Environment(EnvSettingsSource):
    """pydantic-settings' parsing of environment variables, over a mapping instead of `os.environ`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._environ.items()}


def load(
    environ: Mapping[str, str], flags: Mapping[str, Any] | None = None, folder: Path | None = None, *, given_by: str = "flag"
) -> Loaded:
    """
    Read the settings.

    Args:
        environ: The environment's variables.
        flags: Values of command-line flags by setting name; None means that the flag was not given.
        folder: The folder of `tagstream.toml`, by default the working directory. `TAGSTREAM_CONFIG` names another file.
        given_by: The name of the origin of `flags`.

    Raises:
        SettingsError: A key is unknown, a value cannot be used, or the file cannot be read.

    >>> load({"TAGSTREAM_GROUP": "night"}, folder=Path("/nonexistent")).settings.group
    'night'
    """
    environ = _without_service_links(environ)
    _refuse_unknown_variables(environ)
    path, table = _file(environ, folder or Path.cwd())
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    variables = {name: value for name, value in environ.items() if name.startswith(PREFIX) and name not in CONTROL_VARIABLES}
    origins = {
        **dict.fromkeys(_keys(table), _of_file(path)),
        **{name.removeprefix(PREFIX).lower().replace("__", "."): f"environment {name}" for name in variables},
        **dict.fromkeys(_keys(given), given_by),
    }
    origins = {key.replace("topics.content_dlq", "topics.dlq"): origin for key, origin in origins.items()}
    try:
        merged = _merged(*(_with_dlq_name(source) for source in (table, _Environment(variables)(), given)))
        return Loaded(settings=Settings.model_validate(merged), origins=origins)
    except ValidationError as error:
        raise SettingsError(_explain(error, origins)) from error


def known_keys() -> list[str]:
    """Dotted names of all settings, in the order of declaration."""
    return list(_model_keys(Settings))


def _model_keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from (f"{name}.{key}" for key in _model_keys(field.annotation))
        else:
            yield name


def _field(key: str) -> FieldInfo:
    """The setting of a dotted name."""
    model: type[BaseModel] = Settings
    *tables, name = key.split(".")
    for table in tables:
        inner = model.model_fields[table].annotation
        assert isinstance(inner, type)
        assert issubclass(inner, BaseModel)
        model = inner
    return model.model_fields[name]


def _without_service_links(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables, without the variables that Kubernetes sets in a namespace with a Service whose name begins with `tagstream`."""
    return {name: value for name, value in environ.items() if not (SERVICE_LINK.fullmatch(name) or _is_address(name, value))}


def _is_address(name: str, value: str) -> bool:
    """True for `TAGSTREAM_PORT=tcp://10.0.0.1:9108`, which a Service called `tagstream` makes: no setting has such a value."""
    return name.startswith(PREFIX) and name.endswith("PORT") and value.startswith(("tcp://", "udp://", "sctp://"))


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    known = {key.upper().replace(".", "__") for key in (*known_keys(), "topics.content_dlq")}
    known |= {name.removeprefix(PREFIX) for name in CONTROL_VARIABLES}
    for name in environ:
        own = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and own not in known:
            # Compared without the prefix, which would make all names similar.
            nearest = _nearest(own.upper(), known)
            said = f" The nearest one is {PREFIX}{nearest}." if nearest else ""
            if own.startswith("CONTENTS__"):
                said = f" Topics and their fields are one JSON object, in {PREFIX}CONTENTS."
            msg = f"{name} is not a setting of tagstream.{said} Next: correct or unset it; `tagstream config show` lists all."
            raise SettingsError(msg)


def _nearest(given: str, known: Iterable[str]) -> str | None:
    """The known name that the given name probably misspells; None if no known name is close enough."""
    return next(iter(difflib.get_close_matches(given, sorted(known), n=1)), None)


def _file(environ: Mapping[str, str], folder: Path) -> tuple[Path, dict[str, Any]]:
    named = environ.get("TAGSTREAM_CONFIG")
    path = Path(named) if named else folder / CONFIG_FILE
    if not named and not path.is_file():
        return path, {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}. Next: correct TAGSTREAM_CONFIG or the file's permissions."
        raise SettingsError(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path} is not TOML: {error}. Next: correct that line."
        raise SettingsError(msg) from error
    _refuse_unknown_keys(path, table)
    return path, table


def _refuse_unknown_keys(path: Path, table: Mapping[str, Any]) -> None:
    """Call this before the sources are merged: pydantic-settings ignores case, and a key in another case would win over the environment."""
    known = {*known_keys(), "topics.content_dlq"}
    tables = {key.partition(".")[0] for key in known if "." in key}
    for key in _keys(table):
        if key in known | tables:
            continue
        first, _, rest = key.partition(".")
        # Perhaps the file has our keys in a table named after the program, as in files that several programs share.
        nearest = rest if rest in known else _nearest(key.lower(), known)
        step = (
            f"write it above every table, without [{first}]"
            if rest == nearest and "." not in rest
            else "correct or remove it; `tagstream config show` lists all"
        )
        said = (
            f"The nearest one is {nearest}"
            if nearest
            else f"The sections are {', '.join(f'[{name}]' for name in sorted({*tables, 'contents.TOPIC'}))}"
        )
        msg = f"{key} ({_of_file(path)}) is not a setting of tagstream. {said}. Next: {step}."
        raise SettingsError(msg)


def _of_file(path: Path) -> str:
    return f"{path.name} ({path})"


def _keys(table: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in table.items():
        # A dot inside a quoted name does not separate two names.
        key = above + (f'"{name}"' if "." in name else name)
        # The names in `contents` are the user's, and their tables are checked when they are read.
        if isinstance(value, Mapping) and value and key != "contents":
            yield from _keys(value, f"{key}.")
        else:
            yield key


def _merged(*tables: Mapping[str, Any]) -> dict[str, Any]:
    """All tables merged into one: a later table wins, key by key within nested tables."""
    result: dict[str, Any] = {}
    for table in tables:
        for name, value in table.items():
            below = result.get(name)
            result[name] = _merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result


def _with_dlq_name(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """`topics.content_dlq` under its other name `topics.dlq`, so that the sources are merged key by key."""
    topics = table.get("topics")
    if not isinstance(topics, Mapping) or "content_dlq" not in topics or "dlq" in topics:
        return table
    return {**table, "topics": {"dlq" if name == "content_dlq" else name: value for name, value in topics.items()}}


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    problem = error.errors(include_url=False)[0]
    same = problem.get("ctx", {}).get("error")
    if isinstance(same, SameNameError):
        one, other = (
            f"{name} ({origins.get('contents' if name.startswith('contents.') else name, 'default')})" for name in same.keys
        )
        step = (
            "say in [fields] where events of topics.content have their fields"
            if same.keys[0] == "topics.content" and same.keys[1].startswith("contents.")
            else "give each a name of its own"
        )
        return f"{one} and {other} name the same topic, {same.name!r}. Next: {step}; `tagstream config show` lists all."
    key = ".".join(str(part) for part in problem["loc"] if part != "[key]")
    origin = origins.get("contents" if key.startswith("contents.") else key)
    if problem["type"] == "extra_forbidden":
        known = (
            [f"{key.rpartition('.')[0]}.{name}" for name in Fields.model_fields]
            if key.startswith("contents.")
            else known_keys()
        )
        nearest = None if isinstance(problem["input"], Mapping) else _nearest(key, known)
        said = f" The nearest one is {nearest}." if nearest else ""
        if isinstance(problem["input"], Mapping) and key.startswith("contents."):
            said = f' Quote a name with a dot: [contents."{key.removeprefix("contents.")}"].'
        return (
            f"{key} ({origin or 'unknown origin'}) is not a setting of tagstream.{said} "
            f"Next: correct or remove it; `tagstream config show` lists all."
        )
    reason = _reason(key, problem)
    if " Next: " in reason and key.startswith("contents."):
        return f"{key} ({origin}) cannot be used: {reason.replace('fields.', f'{key}.')}"
    if " Next: " in reason:
        return f"these settings do not go together: {reason}"
    return (
        f"setting {key}{_shown(key, problem['input'])} ({origin or 'default'}) cannot be used: {reason}. "
        f"Next: correct it; `tagstream config show` describes every setting."
    )


def _reason(key: str, problem: Mapping[str, Any]) -> str:
    """Why a value cannot be used: in our words if it is not a number or out of range, else in the validator's words."""
    kind = NUMBERS.get(problem["type"])
    if kind is not None:
        return f"it is empty; unset it, or give {kind}" if problem["input"] == "" else f"it is not {kind}"
    if problem["type"] in BOUNDS:
        field = _field(key)
        return "it must be " + " and ".join(
            f"{words} {getattr(bound, name)}"
            for bound in field.metadata
            for name, words in BOUNDS.values()
            if hasattr(bound, name)
        )
    said: str = problem["msg"]
    return said.removeprefix("Value error, ")


def _shown(key: str, value: Any) -> str:
    """The refused value for the error's message; hidden if it may hold a password."""
    secret = key in {*FILES_OF_SECRETS, COMMAND} or (key in ADDRESSES and "@" in str(value))
    return " (its value is not shown)" if secret else f" = {value!r}"
