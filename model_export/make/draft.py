"""A bundle in memory, before it is written: it can classify and be changed, and its folder appears complete."""

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from tagstream.model_export.bundle import bundle
from tagstream.model_export.bundle.bundle import Bundle, BundleError
from tagstream.model_export.bundle.manifest import MANIFEST, MODEL, TOKENIZER, Manifest
from tagstream.model_export.bundle.model import OnnxClassifier
from tagstream.model_export.make import card
from tagstream.model_export.measure.bundle_metrics import BundleMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The contents of a bundle folder."""

    manifest: Manifest
    model: bytes
    tokenizer: bytes

    @classmethod
    def of(cls, bundle: Bundle) -> "Draft":
        """Return the contents of a bundle that exists."""
        return cls(manifest=bundle.manifest, model=bundle.model, tokenizer=bundle.tokenizer)

    def saying(self, **of_manifest: object) -> "Draft":
        """Return a copy with these fields of the manifest replaced."""
        return replace(self, manifest=msgspec.structs.replace(self.manifest, **of_manifest))

    def named(self) -> Manifest:
        """Return the manifest with the SHA-256 of the draft's files, as it will be written."""
        return msgspec.structs.replace(self.manifest, files=bundle.digests(model=self.model, tokenizer=self.tokenizer))

    def loaded(self) -> OnnxClassifier:
        """
        Return the classifier of the bundle, as production runs it.

        Raises:
            BundleError: The bundle does not verify.
        """
        with tempfile.TemporaryDirectory(prefix="tagstream-bundle-") as name:
            return OnnxClassifier(self._write(Path(name)))

    def put(self, folder: Path) -> Bundle:
        """
        Verify the bundle and write it to `folder`, with its card and its bill of materials. A new folder appears at once; in an existing
        folder the manifest is written last, and a README that is no card stays.

        Raises:
            BundleError: The bundle does not verify, and the folder keeps its contents; or the folder cannot be written.
        """
        place = folder.resolve()
        there = place.exists()
        made = place / ".new" if there else place.with_name(f".{place.name}.new")
        try:
            written = self._write(made)
            OnnxClassifier(written)
            for name, text in card.files(written.manifest).items():
                (made / name).write_text(text, encoding="utf-8")
            if there:
                (place / MANIFEST).unlink(missing_ok=True)
                if not card.is_ours(place / card.README):
                    (made / card.README).unlink()
                for name in (MODEL, TOKENIZER, card.BOM, card.README, MANIFEST):
                    if (made / name).exists():
                        (made / name).replace(place / name)
            else:
                made.rename(place)
        except OSError as error:
            msg = f"the bundle cannot be written to {folder} ({error}). Next: give a folder that you may write, on a disk with room"
            raise BundleError(msg) from error
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return bundle.read(folder)

    def _write(self, folder: Path) -> Bundle:
        return bundle.write(folder, manifest=self.manifest, model=self.model, tokenizer=self.tokenizer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """
    A bundle that is ready to be written, and its measurements.

    Attributes:
        draft: The bundle.
        metrics: The measurements; None if they could not be made on these rows. With `Earning` the bundle then keeps its old figures.
    """

    draft: Draft
    metrics: BundleMetrics | None
