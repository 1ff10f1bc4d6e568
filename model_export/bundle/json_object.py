"""Reads one JSON object strictly: a row of a file, or a setting in an environment variable."""

import json
from typing import Any


def object_of(value: bytes) -> dict[str, Any]:
    """
    The JSON object in a row's value.

    Raises:
        ValueError: The value is not UTF-8, is not a JSON object, is nested too deeply, or has an object that names a key twice.

    >>> object_of(b'{"title": "Refund", "n": 1}')
    {'title': 'Refund', 'n': 1}
    """
    try:
        found = json.loads(value.decode("utf-8-sig"), object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        msg = f"not UTF-8 (byte {error.start})"
    except RecursionError:
        msg = "no JSON object: too deep"
    except ValueError as error:
        msg = f"no JSON object: {error}"
    else:
        if isinstance(found, dict):
            return found
        msg = "no JSON object"
    raise ValueError(msg)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        msg = f"{next(name for name in names if names.count(name) > 1)!r} is there twice"
        raise ValueError(msg)
    return found
