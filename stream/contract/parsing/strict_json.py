"""Strict JSON: UTF-8, no key twice in an object, no NaN, no U+0000, no half surrogate pair, bounded depth and length of numbers.

A value is parsed twice. Python's parser sees every string, key and number and refuses; msgspec keeps the bytes of each field as they came.
"""

import json
import math
from typing import Any

import msgspec

from monitoring.vocabulary import Reason
from stream.contract.limits import Limits
from stream.contract.refusal import undecodable

Fields = dict[str, msgspec.Raw]
"""The fields of an object by name, each as its own JSON bytes."""


def checked_object(value: bytes, limits: Limits) -> dict[str, Any]:
    """
    The JSON object in `value`, with every number replaced by zero: for checks of shape and strings only.

    Raises:
        Refused: It is not an object, not strict JSON, or beyond the limits.
    """
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise undecodable(Reason.INVALID_UTF8, f"byte {error.start} is not UTF-8") from None
    decoder = _decoder(limits.max_number_digits)
    try:
        parsed = decoder.decode(text)
    except json.JSONDecodeError as error:
        raise undecodable(Reason.INVALID_JSON, f"not JSON at character {error.pos + 1}") from None
    except RecursionError:
        raise undecodable(Reason.TOO_DEEP, f"nested deeper than {limits.max_depth} levels") from None
    if not isinstance(parsed, dict):
        raise undecodable(Reason.NOT_AN_OBJECT, f"the value is a JSON {json_name(parsed)}, an object is expected")
    # A NUL or half a surrogate pair must be escaped, and nesting needs brackets: most events need no walk.
    if "\\u" in text or text.count("{") + text.count("[") > limits.max_depth:
        _walk(parsed, limits.max_depth)
    return parsed


def _decoder(max_digits: int) -> json.JSONDecoder:
    decoder = _DECODERS.get(max_digits)
    if decoder is None:
        decoder = _DECODERS[max_digits] = json.JSONDecoder(
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=lambda digits: _number(digits, max_digits),
            parse_int=lambda digits: _number(digits, max_digits),
        )
    return decoder


_DECODERS: dict[int, json.JSONDecoder] = {}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise undecodable(Reason.DUPLICATE_KEY, "an object names the same key twice")
    return unique


def _constant(name: str) -> float:
    raise undecodable(Reason.NON_FINITE_NUMBER, f"{name} is not a JSON number")


def _number(digits: str, max_digits: int) -> int:
    if len(digits) > max_digits:
        raise undecodable(Reason.NUMBER_TOO_LONG, f"a number has {len(digits)} characters, the limit is {max_digits}")
    if ("e" in digits or "E" in digits) and not math.isfinite(float(digits)):
        raise undecodable(Reason.NON_FINITE_NUMBER, "a number is too large for a float")
    return 0


def _walk(parsed: dict[str, Any], max_depth: int) -> None:
    level: list[Any] = [parsed]
    for _ in range(max_depth):
        strings, level = _next_level(level)
        for string in strings:
            _check_string(string)
        if not level:
            return
    raise undecodable(Reason.TOO_DEEP, f"nested deeper than {max_depth} levels")


def _next_level(containers: list[Any]) -> tuple[list[str], list[Any]]:
    strings: list[str] = []
    deeper: list[Any] = []
    for container in containers:
        if isinstance(container, dict):
            strings.extend(container)
        for child in container.values() if isinstance(container, dict) else container:
            if isinstance(child, str):
                strings.append(child)
            elif isinstance(child, dict | list):
                deeper.append(child)
    return strings, deeper


def _check_string(string: str) -> None:
    if "\0" in string:
        raise undecodable(Reason.NUL_CHARACTER, "a string holds U+0000, which databases and C programs cut at")
    try:
        string.encode("utf-8")
    except UnicodeEncodeError as error:
        raise undecodable(
            Reason.LONE_SURROGATE, f"a string holds half a surrogate pair at character {error.start + 1}"
        ) from None


def fields_of(value: bytes | msgspec.Raw) -> Fields:
    """
    The fields of a JSON object, as they came.

    Raises:
        Refused: Python's parser accepts the value and msgspec does not.
    """
    try:
        return msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The two parsers agree on everything that our tests and fuzzers have tried.
        raise undecodable(Reason.INVALID_JSON, "the JSON parsers disagree on this value") from None


def encoded(value: object) -> msgspec.Raw:
    """A value of ours as the bytes of a field."""
    return msgspec.Raw(msgspec.json.encode(value))


def json_name(value: object) -> str:
    """
    The JSON name of a parsed value's type.

    >>> json_name(None), json_name(1.5)
    ('null', 'number')
    """
    names = {type(None): "null", bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return names[type(value)]
