"""Probabilities of a stream's decisions from a file: lines of `tagstream classify --json`, or the values of records of `tagged`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tagstream.model_export.bundle.files import read_whole
from tagstream.model_export.data.own.rows import places
from tagstream.model_export.data.reader import RowsError
from tagstream.monitoring.vocabulary import OF_CONFIDENCE

Floats = npt.NDArray[np.float64]


class _ModelRef(msgspec.Struct, frozen=True):
    digest: str


class _DecisionLine(msgspec.Struct, frozen=True):
    """The fields of a decision that say how probable each label was, and by whose word."""

    probabilities: dict[str, float]
    model: _ModelRef
    decider: str = "model"
    reasons: tuple[str, ...] = ()


def read_decisions(path: Path, labels: Sequence[str], digest: str) -> Floats:
    """
    The probabilities of every decision that a threshold decides about, shape (decisions, labels).

    Lines that hold no decision (rejected events) are left out, and so are decisions with a reason beside the confidence, such as texts
    that are out of distribution: no threshold decides about them.

    Args:
        path: The file, JSON Lines.
        labels: The bundle's labels.
        digest: The bundle's digest.

    Raises:
        RowsError: The file cannot be read, a line is no JSON object, or a decision is another bundle's or the rules'.
    """
    try:
        lines = read_whole(path).splitlines()
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}. Next: give a file of `tagstream classify --json`, or of records of `tagged`."
        raise RowsError(msg) from error
    found, foreign = [], []
    for number, line in enumerate(lines, start=1):
        decision = _decision(path, number, line) if line.strip() else None
        if decision is None:
            continue
        if decision.model.digest != digest or decision.decider != "model" or set(decision.probabilities) != set(labels):
            foreign.append(number)
        elif OF_CONFIDENCE.issuperset(decision.reasons):
            found.append([decision.probabilities[label] for label in labels])
    if foreign:
        msg = (
            f"{path}, {places(foreign)}: these decisions are not of the bundle with the digest {digest[:12]}. Next: decide the texts "
            "again with this bundle (`tagstream classify FILE --json --bundle FOLDER`)."
        )
        raise RowsError(msg)
    return np.array(found).reshape(-1, len(labels))


def _decision(path: Path, number: int, line: bytes) -> _DecisionLine | None:
    """The decision on a line; None where the line has an event that was not decided."""
    try:
        given = msgspec.json.decode(line, type=dict[str, Any])
        return msgspec.convert(given, type=_DecisionLine) if "probabilities" in given else None
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        msg = f"{path}, line {number} is no decision: {error}. Next: give a file of `tagstream classify --json`, unchanged."
        raise RowsError(msg) from error


def read_shares(path: Path) -> dict[str, float]:
    """
    Shares by label from a TOML or JSON file, at its top or under `shares`.

    Raises:
        RowsError: The file cannot be read, or holds something else.
    """
    decode = msgspec.toml.decode if path.suffix == ".toml" else msgspec.json.decode
    try:
        given: Any = decode(read_whole(path))
        inner = given.get("shares", given) if isinstance(given, dict) else given
        return msgspec.convert(inner, type=dict[str, float])
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}. Next: give a TOML or JSON file with a share for each label."
        raise RowsError(msg) from error
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        msg = f'{path} holds no shares: {error}. Next: write one number a label, as `mlops = 0.2` or {{"mlops": 0.2}}.'
        raise RowsError(msg) from error
