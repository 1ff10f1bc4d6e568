"""Finds the manifests of the bundles that decided, by digest: in the settings' folder and in the place of a rollout's bundles."""

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

# A decision's digest may be any text that its writer chose, and a digest becomes the name of a folder.
_DIGEST = re.compile("[0-9a-f]{64}")
# The pause before a missing bundle is looked up again.
AGAIN_SECONDS = 600.0

log = logger("tagstream.review")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBundle:
    """
    The part of a bundle's manifest that concerns its decisions.

    Attributes:
        judgement: `Manifest.judgement`, which is the same for bundles that differ only in thresholds.
        promise: The certified accuracy; None unless the manifest certifies the whole bundle or each of its labels.
        progress: The table of what answers certify, for a bundle that was begun with labels in words; None for another bundle.
    """

    judgement: str
    promise: PromisedAccuracy | None
    progress: QualityTable | None = None


class Bundles:
    """Looks up bundles and remembers the results. Only one thread may use it at a time."""

    def __init__(self, folder: Path, depot: Depot | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Prepare the lookup. Only `known` reads bundles.

        Args:
            folder: The folder of the settings' bundle. Another bundle may replace the bundle in it.
            depot: The place of a rollout's bundles; None if there is no such place.
            clock: Returns seconds.
        """
        self._folder = folder
        self._depot = depot
        self._clock = clock
        self._found: dict[str, KnownBundle] = {}
        self._missing: dict[str, float] = {}

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the lookup for these settings. It checks no signatures, because the bundles found here decide nothing."""
        rollout = settings.rollout
        depot = (
            Depot(rollout.bundles, cache=rollout.cache, cache_bytes=rollout.cache_bytes, seconds=rollout.fetch_seconds)
            if rollout.bundles
            else None
        )
        return cls(settings.bundle, depot)

    def known(self, digests: Iterable[str]) -> Mapping[str, KnownBundle]:
        """
        Return the bundles that were found, by digest.

        A place of bundles that does not answer is asked once a call. A digest that failed is looked up again after `AGAIN_SECONDS`.

        Args:
            digests: The digests in decisions.
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
            # The console works without a bundle; the page says where a bundle is missing.
            return
        self._found[digest] = _known(manifest)

    def _look_in_depot(self, digest: str) -> bool:
        """Look up one bundle. Return False if there is no depot, or if the depot failed: another lookup would fail the same way."""
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
        # An accuracy that each label reaches is reached by all labels together.
        least = min(one.target_precision for one in labels)
        return PromisedAccuracy(accuracy=least, least=least)
    return None
