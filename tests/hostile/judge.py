"""Judges whether an outcome is right for its hostile record, for tests with and without a broker. Pure."""

import base64
import json
from typing import Any

import msgspec

from tagstream.monitoring.vocabulary import Destination, TextFlag
from tagstream.stream.contract.event import Headers
from tagstream.stream.contract.outcome import DECISION_FIELDS
from tests.hostile.record import Hostile


def complaints(
    record: Hostile, *, destination: Destination, key: bytes | None, value: bytes | None, headers: Headers
) -> list[str]:
    """The errors of this outcome, in words; empty if it is right."""
    if record.codes:
        return _of_dead_letter(record, destination=destination, key=key, value=value, headers=headers)
    if destination is Destination.DLQ:
        return [f"dead letter with code {dict(headers).get('x-dlq-code')!r}, a decision was expected"]
    return _of_decision(record, destination=destination, value=value or b"")


def _of_dead_letter(
    record: Hostile, *, destination: Destination, key: bytes | None, value: bytes | None, headers: Headers
) -> list[str]:
    if destination is not Destination.DLQ:
        return [f"went to {destination}, a dead letter with {sorted(record.codes)} was expected"]
    sent = len(record.headers)
    ours = dict(headers[sent:])
    expected_key = b"" if record.key is None and record.value is None else record.key
    wrong = {
        f"the value has changed: {len(value or b'')} bytes": value != record.value,
        f"the key has changed: {key!r}": key != expected_key,
        "the headers have changed": headers[:sent] != record.headers,
        f"code {ours.get('x-dlq-code')!r}, expected {sorted(record.codes)}": ours.get("x-dlq-code", b"").decode()
        not in record.codes,
        "no header says at which stage": not ours.get("x-dlq-stage"),
    }
    return [what for what, holds in wrong.items() if holds]


def _of_decision(record: Hostile, *, destination: Destination, value: bytes) -> list[str]:
    try:
        decision = json.loads(value.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
    except ValueError as error:
        return [f"the value is no strict JSON: {type(error).__name__}"]
    flags = {TextFlag(flag) for flag in decision.get("text_flags", ())}
    wrong = {
        "a field of the input is missing or has changed": not _holds_input(record.value or b"", value),
        f"flags {sorted(flags)}, expected {sorted(record.flags or ())}": record.flags is not None and flags != record.flags,
        "a flagged text was published": bool(flags) and destination is not Destination.REVIEW,
        "a flagged text without a reason": bool(flags) and "out_of_distribution" not in decision.get("reasons", ()),
        "the decision is not whole": not {"tag", "confidence", "probabilities", "prediction_id", "tagged_at"}
        <= decision.keys(),
    }
    return [what for what, holds in wrong.items() if holds]


def _holds_input(sent: bytes, published: bytes) -> bool:
    """Whether every field that was sent is published with the same bytes, under its name or under `overridden`."""
    came = _fields(sent)
    if "specversion" in came:
        came = _fields(base64.b64decode(_text(came["data_base64"])) if "data_base64" in came else bytes(came["data"]))
    left = _fields(published)
    overridden = _fields(bytes(left["overridden"])) if "overridden" in left else {}
    return all(
        bytes(raw) == bytes((overridden if name in DECISION_FIELDS else left).get(name, b""))
        for name, raw in came.items()
        if not (name == "id" and bytes(raw) == b"null")
    )


def _fields(value: bytes) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(value, type=dict[str, msgspec.Raw])


def _text(raw: msgspec.Raw) -> str:
    return msgspec.json.decode(raw, type=str)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _refuse(name: str) -> None:
    raise ValueError(name)
