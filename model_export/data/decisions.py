"""Read the probabilities of decisions from a file with lines of `tagstream classify --json` or record values of `tagged`."""

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
    """The fields of a decision that have the probabilities of the labels and the decider."""

    probabilities: dict[str, float]
    model: _ModelRef
    decider: str = "model"
    reasons: tuple[str, ...] = ()


def read_decisions(path: Path, labels: Sequence[str], digest: str) -> Floats:
    """
    Return the probabilities of all decisions that depend on a threshold, shape (decisions, labels).

    Rejected events have no decision and are left out. A decision with a reason other than confidence is left out too: for example, a text
    that is out of distribution goes to a person at any confidence.

    Args:
        path: The file, JSON Lines.
        labels: The labels of the bundle.
        digest: The digest of the bundle.

    Raises:
        RowsError: The file cannot be read, a line is not a JSON object, or another bundle or the rules made a decision.
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
    """Return the decision of a line, or None if the line's event has no decision."""
    try:
        given = msgspec.json.decode(line, type=dict[str, Any])
        return msgspec.convert(given, type=_DecisionLine) if "probabilities" in given else None
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        msg = f"{path}, line {number} is no decision: {error}. Next: give a file of `tagstream classify --json`, unchanged."
        raise RowsError(msg) from error


def read_shares(path: Path) -> dict[str, float]:
    """
    Read shares by label from a TOML or JSON file. The shares are at the top level or under `shares`.

    Raises:
        RowsError: The file cannot be read, or does not hold shares.
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
