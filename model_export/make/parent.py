"""The parent of a bundle, as the manifest of a bundle names it: the bundle that it was made from or follows, and what has changed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.manifest import MODEL, TOKENIZER, Manifest
from tagstream.model_export.bundle.model import limits_in
from tagstream.model_export.data.own.row_list import MoveCounts, Moves

# The entry of `training` in a manifest. An older tagstream does not read `training`, and takes a bundle with any entry.
RECORD = "parent"
# The parts of a bundle that may change, and what each is made of.
PARTS: dict[str, Callable[[Manifest], object]] = {
    "labels": lambda manifest: manifest.labels,
    "rows": lambda manifest: _files(manifest.training.get("data")),
    "network": lambda manifest: manifest.files[MODEL],
    "tokenizer": lambda manifest: manifest.files[TOKENIZER],
    "length of texts": lambda manifest: (manifest.max_length, manifest.windows),
    "temperature": lambda manifest: manifest.temperature,
    "shares of labels": lambda manifest: manifest.offsets(),
    "promise": lambda manifest: (
        manifest.threshold.promise,
        manifest.threshold.target_precision,
        manifest.threshold.review_budget,
    ),
    "thresholds": lambda manifest: manifest.asked_below(),
    "limits": lambda manifest: limits_in(manifest.reference),
    "several labels": lambda manifest: manifest.multilabel and manifest.multilabel.thresholds,
}


class Parent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    The record of a parent.

    Attributes:
        name: The parent's name.
        version: The parent's version.
        digest: The parent's digest.
        changed: The parts that differ from the parent's, as `PARTS` names them.
        rows: The number of texts that came, went, changed their label and stayed; None if this is not known.
    """

    name: str
    version: str
    digest: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    changed: tuple[str, ...] = ()
    rows: MoveCounts | None = None

    def __str__(self) -> str:
        """Return name, version and the beginning of the digest."""
        return f"{self.name} {self.version} ({self.digest[:12]})"

    def changes(self) -> str:
        """Return what has changed, in words."""
        said = ", ".join(self.changed) or "nothing that decides"
        return said if self.rows is None else f"{said}; of the texts, {self.rows}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Predecessor:
    """
    The bundle that a new bundle is made from or follows.

    Attributes:
        bundle: The bundle.
        moves: What became of its rows; None if this is not known.
    """

    bundle: Bundle
    moves: Moves | None = None


def recorded(manifest: Manifest, before: Predecessor | None) -> dict[str, Any]:
    """
    Return the `training` of a new bundle's manifest, with its parent.

    Args:
        manifest: The manifest. Its training may be a copy of the parent's, with the parent's own parent, which is replaced.
        before: The bundle that the new bundle is made from or follows; None for a bundle without a parent.
    """
    if before is None:
        return manifest.training
    old = before.bundle.manifest
    parent = Parent(
        name=old.name,
        version=old.version,
        digest=before.bundle.digest,
        changed=tuple(part for part, made_of in PARTS.items() if made_of(old) != made_of(manifest)),
        rows=None if before.moves is None else before.moves.counts(),
    )
    return {**manifest.training, RECORD: msgspec.to_builtins(parent)}


def of(training: Mapping[str, Any]) -> Parent | None:
    """Return the parent that a manifest names in its training; None if it names none in this form, as an older bundle's."""
    try:
        return msgspec.convert(training.get(RECORD), type=Parent)
    except msgspec.ValidationError:
        return None


def _files(data: object) -> object:
    return data.get("sha256") if isinstance(data, dict) else None
