"""A bundle before it has its place: it can be asked and changed, and reaches its folder whole."""

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from tagstream.model_export.bundle import bundle
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.model_export.bundle.manifest import MANIFEST, MODEL, TOKENIZER, Manifest
from tagstream.model_export.bundle.model import OnnxClassifier
from tagstream.model_export.measure.bundle_metrics import BundleMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The contents of a bundle folder."""

    manifest: Manifest
    model: bytes
    tokenizer: bytes

    @classmethod
    def of(cls, bundle: Bundle) -> "Draft":
        """The contents of a bundle that exists."""
        return cls(manifest=bundle.manifest, model=bundle.model, tokenizer=bundle.tokenizer)

    def saying(self, **of_manifest: object) -> "Draft":
        """The same with other values of these parts of the manifest."""
        return replace(self, manifest=msgspec.structs.replace(self.manifest, **of_manifest))

    def loaded(self) -> OnnxClassifier:
        """
        The classifier of the bundle, as production runs it.

        Raises:
            BundleError: It does not verify.
        """
        with tempfile.TemporaryDirectory(prefix="tagstream-bundle-") as name:
            return OnnxClassifier(self._write(Path(name)))

    def put(self, folder: Path) -> Bundle:
        """
        Write the bundle and give it its place: a new folder appears at once; in one that is there the manifest comes last.

        Raises:
            BundleError: It does not verify; the folder keeps what it had.
        """
        place = folder.resolve()
        there = place.exists()
        made = place / ".new" if there else place.with_name(f".{place.name}.new")
        try:
            OnnxClassifier(self._write(made))
            if there:
                (place / MANIFEST).unlink(missing_ok=True)
                for name in (MODEL, TOKENIZER, MANIFEST):
                    (made / name).replace(place / name)
            else:
                made.rename(place)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return bundle.read(folder)

    def _write(self, folder: Path) -> Bundle:
        return bundle.write(folder, manifest=self.manifest, model=self.model, tokenizer=self.tokenizer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """
    A bundle that is only to be written, and its measurements.

    Attributes:
        draft: The bundle.
        metrics: None where the rows have labels that the bundle lacks: it then has the figures of before.
    """

    draft: Draft
    metrics: BundleMetrics | None
