"""What is known of the bundles that decided: their manifests by digest, from the settings' folder and from the place of a rollout's bundles."""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tagstream.model_export.bundle.bundle import BundleError, read_manifest
from tagstream.model_export.bundle.depot import Depot, DepotError
from tagstream.model_export.bundle.manifest import Manifest
from tagstream.model_export.make import progress
from tagstream.monitoring.quality.report import PromisedAccuracy
from tagstream.monitoring.quality.words import QualityTable
from tagstream.stream.logs import logger
from tagstream.stream.settings.settings import Settings

# A decision says whatever its writer wants, and a digest becomes the name of a folder.
_DIGEST = re.compile("[0-9a-f]{64}")
# A bundle that was not found may come.
AGAIN_SECONDS = 600.0

log = logger("tagstream.review")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBundle:
    """
    What a bundle's manifest says about its decisions.

    Attributes:
        judgement: The same of bundles that differ in thresholds alone (`Manifest.judgement`).
        promise: As the manifest certifies it; None where nothing is certified of all labels.
        progress: What answers certify of a bundle that was begun with labels in words; None of others.
    """

    judgement: str
    promise: PromisedAccuracy | None
    progress: QualityTable | None = None


class Bundles:
    """Finds what is known of bundles, and remembers it. One thread at a time may ask."""

    def __init__(self, folder: Path, depot: Depot | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Look for nothing yet.

        Args:
            folder: Of the settings' bundle; another bundle may come to lie there.
            depot: The place of a rollout's bundles.
            clock: Seconds.
        """
        self._folder = folder
        self._depot = depot
        self._clock = clock
        self._found: dict[str, KnownBundle] = {}
        self._missing: dict[str, float] = {}

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those that a process with these settings can find. Nothing is decided by them, so signatures are not asked for."""
        rollout = settings.rollout
        depot = (
            Depot(rollout.bundles, cache=rollout.cache, cache_bytes=rollout.cache_bytes, seconds=rollout.fetch_seconds)
            if rollout.bundles
            else None
        )
        return cls(settings.bundle, depot)

    def known(self, digests: Iterable[str]) -> Mapping[str, KnownBundle]:
        """
        By digest, those that are found. A place that does not answer is asked once, and again after `AGAIN_SECONDS`.

        Args:
            digests: As decisions name them.
        """
        asked = list(dict.fromkeys(digests))
        self._look_in_folder()
        answers = True
        for digest in asked:
            waits = self._clock() < self._missing.get(digest, float("-inf")) + AGAIN_SECONDS
            if answers and digest not in self._found and not waits and _DIGEST.fullmatch(digest):
                answers = self._look_in_depot(digest)
        return {digest: self._found[digest] for digest in asked if digest in self._found}

    def _look_in_folder(self) -> None:
        try:
            manifest, digest = read_manifest(self._folder)
        except BundleError:
            # The console needs no bundle; where one is missed, the page says so.
            return
        self._found[digest] = _known(manifest)

    def _look_in_depot(self, digest: str) -> bool:
        """Look for one; False where the next one would wait as long for the same answer."""
        if self._depot is None:
            return False
        try:
            self._found[digest] = _known(self._depot.manifest(digest))
        except (BundleError, DepotError) as error:
            self._missing[digest] = self._clock()
            log.warning("bundle_unknown", bundle=digest, why=str(error))
            return isinstance(error, BundleError)
        return True


def _known(manifest: Manifest) -> KnownBundle:
    return KnownBundle(judgement=manifest.judgement, promise=_promise(manifest), progress=progress.table(manifest))


def _promise(manifest: Manifest) -> PromisedAccuracy | None:
    whole, labels = manifest.threshold, manifest.thresholds.values()
    if whole.promise is not None and whole.certified:
        least = whole.floor if whole.floor is not None else whole.target_precision
        return PromisedAccuracy(accuracy=whole.target_precision, least=least)
    if labels and all(one.certified for one in labels):
        # Where each label has it, all of them together have it.
        least = min(one.target_precision for one in labels)
        return PromisedAccuracy(accuracy=least, least=least)
    return None
