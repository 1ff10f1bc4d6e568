"""The models of a rollout in one process: loaded by digest, and chosen for each event by its partition and offset."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import msgspec

from tagstream.model_export.bundle.bundle import Bundle, BundleError
from tagstream.model_export.bundle.depot import Depot, DepotError
from tagstream.model_export.bundle.invariance import ParityError
from tagstream.model_export.bundle.manifest import ALWAYS_ASK, Manifest
from tagstream.model_export.bundle.signature import keys_in
from tagstream.model_export.verify import TRIAL_SECONDS, verify
from tagstream.monitoring.vocabulary import few
from tagstream.stream.contract.event import ContentEvent
from tagstream.stream.contract.rollout_records import BundleName, Partition
from tagstream.stream.decide.from_settings import load_decider, remembering, table_of
from tagstream.stream.decide.memory import free_bytes, tried_bytes
from tagstream.stream.decide.pipeline import Decider
from tagstream.stream.rollout.arms import is_challengers
from tagstream.stream.rollout.epochs import Epochs, Models
from tagstream.stream.settings.settings import Settings

# The most models that are kept beside the models of the newest epoch and the plan, for events that are read again.
MOST_OLD = 2
MIB = 1024 * 1024


class NotReadyError(Exception):
    """This process cannot decide by a bundle: the message names the bundle, the reason and the next step."""

    exit_code = 2


class RolledDeciders:
    """
    The deciders of all epochs that this process needs. Any thread may call it; one thread at a time loads.

    Each decision names its epoch inside `model`. Decisions of epoch 0 name none.
    """

    def __init__(self, settings: Settings, running: Decider, epochs: Epochs, topic_ids: Mapping[str, str]) -> None:
        """
        Begin with the decider of the settings.

        Args:
            settings: The depot of bundles, and the threshold if one is set.
            running: The decider of the settings. All other deciders have its labels and share its table of texts.
            epochs: The epochs of `rollout`; this object grows.
            topic_ids: The broker's id of each content topic, by name.
        """
        self._settings = settings
        self._epochs = epochs
        self._topic_ids = topic_ids
        self._labels = running.labels
        self._table = table_of(running)
        self._loading = threading.Lock()
        # The deciders by digest, without an epoch. The most recently needed decider is the last.
        self._loaded: dict[str, Decider] = {running.model.digest: running}
        # Champion and challenger by epoch. The dict is replaced and never changed, so a reading thread sees a consistent one.
        self._of_epoch: dict[int, tuple[Decider, Decider | None]] = {}
        self._partitions: dict[tuple[str, int], Partition] = {}

    def partition(self, topic: str, partition: int) -> Partition:
        """Return the partition with its topic's id."""
        found = self._partitions.get((topic, partition))
        if found is None:
            found = Partition(topic=topic, topic_id=self._topic_ids[topic], partition=partition)
            self._partitions[topic, partition] = found
        return found

    def prepare(
        self, models: Models, *, bounded: bool = False, goes_on: Callable[[], bool] = lambda: True
    ) -> tuple[Decider, Decider | None]:
        """
        Load the models of an epoch, and take the memory that they need.

        A bundle whose network is not loaded yet is first tried in a process of its own. The bundle is refused if it does not load in
        time, or if it crashes that process. Other threads can load other models meanwhile.

        If the challenger raises for an event, the champion decides that event, and its arm is `fallback`: a decision for the reader is
        worth more than the comparison.

        Args:
            models: The bundles of the epoch.
            bounded: Refuse a bundle for which memory may not suffice. Used for a plan, which can be given up; an epoch that has begun
                cannot.
            goes_on: Called about ten times a second during a trial; False ends the trial.

        Returns:
            The champion, and the challenger or None. Both name their epoch and arm.

        Raises:
            NotReadyError: A bundle is missing, is refused, needs too much memory, or has other labels; or the settings have one
                threshold for both models.
            GivenUpError: `goes_on` returned False.
        """
        if models.challenger is not None:
            self._require_own_thresholds(models.epoch)
        tried = {
            name.digest: self._tried(name, bounded=bounded, goes_on=goes_on)
            for name in (models.champion, *([models.challenger.bundle] if models.challenger is not None else []))
            if name.digest not in self._loaded
        }
        with self._loading:
            champion = self._named(models, "champion", models.champion, tried)
            challenger = None
            if models.challenger is not None:
                challenger = replace(
                    self._named(models, "challenger", models.challenger.bundle, tried),
                    stand_in=self._named(models, "fallback", models.champion, tried),
                )
            self._of_epoch = {**self._of_epoch, models.epoch: (champion, challenger)}
            self._forget(models)
        return champion, challenger

    def arithmetic(self, epoch: int) -> str | None:
        """Return how this processor computes the models of a loaded epoch; None if it computes them as the machine that made them."""
        champion, challenger = (None if one is None else one.model.arithmetic for one in self._of_epoch[epoch])
        return champion if challenger is None else f"{champion or ''}/{challenger}"

    def lacking(self, places: Iterable[tuple[str, int, int]]) -> set[int]:
        """Return those epochs of the events (topic, partition, offset) whose models are not loaded."""
        needed = {self._epochs.epoch_of(self.partition(topic, number), offset) for topic, number, offset in places}
        return needed - self._of_epoch.keys()

    def decider_of(self, event: ContentEvent) -> Decider:
        """
        Return the decider of an event. The models of its epoch are loaded now if they are not loaded yet (`lacking`).

        The newest champion decides an event that has no offset in a topic, such as an event of the demo or a test.
        """
        record = event.record
        if record.offset < 0:
            return (self._of_epoch.get(self._epochs.newest) or self.prepare(self._epochs.models(self._epochs.newest)))[0]
        epoch = self._epochs.epoch_of(self.partition(record.topic, record.partition), record.offset)
        # The models of the epoch may have been unloaded since the batch was admitted.
        models = self._epochs.models(epoch)
        return of_arm(models, self._of_epoch.get(epoch) or self.prepare(models), event)

    def _named(self, models: Models, arm: str, bundle: BundleName, tried: Mapping[str, Bundle]) -> Decider:
        """Return a bundle's decider, with the names of epoch and arm (`in_epoch`)."""
        # The bundle may have been unloaded since the caller looked.
        found = self._loaded.get(bundle.digest) or self._load(tried.get(bundle.digest) or self._tried(bundle))
        self._loaded[bundle.digest] = self._loaded.pop(bundle.digest, found)
        return in_epoch(found, models, arm)

    def _require_own_thresholds(self, epoch: int) -> None:
        if self._settings.confidence_threshold is not None:
            msg = (
                f"epoch {epoch} compares two models, and confidence_threshold = {self._settings.confidence_threshold:g} would hold for both in place "
                "of their own thresholds. Next: unset TAGSTREAM_CONFIDENCE_THRESHOLD on the workers; a threshold comes with a bundle."
            )
            raise NotReadyError(msg)

    def _tried(self, name: BundleName, *, bounded: bool = False, goes_on: Callable[[], bool] = lambda: True) -> Bundle:
        """Return the verified bundle. It is tried in a process of its own, unless its network is already loaded."""
        threads = self._settings.inference_threads
        try:
            depot = depot_of(self._settings)
            size = depot.size(name.digest) if bounded else 0
            # The bundle is read into memory before it is known whether it shares a loaded network.
            self._require(name, size)
            bundle = depot.read(name.digest)
            require_labels(bundle.digest, bundle.manifest, self._labels)
            if not self._shares(bundle):
                self._require(name, tried_bytes(size, threads) if bounded else 0)
                most = free_bytes() if bounded else None
                verify(bundle.path, seconds=TRIAL_SECONDS, threads=threads, most_bytes=most, goes_on=goes_on)
        except (DepotError, BundleError, ParityError) as error:
            raise NotReadyError(str(error)) from error
        return bundle

    def _shares(self, bundle: Bundle) -> bool:
        """Return True if a loaded model has the same network and tokenizer."""
        loaded = list(self._loaded.values())
        return any(one.bundle is not None and bundle.manifest.files == one.bundle.manifest.files for one in loaded)

    def _load(self, bundle: Bundle) -> Decider:
        shared = self._shares(bundle)
        try:
            found = load_decider(bundle, threshold=self._settings.confidence_threshold)
        except BundleError as error:
            raise NotReadyError(str(error)) from error
        if not shared:
            found.warm_up(self._settings.inference_threads)
        return remembering(found, self._table)

    @staticmethod
    def _require(name: BundleName, needed: int) -> None:
        free = free_bytes()
        if needed and free is not None and free < needed:
            msg = (
                f"bundle {name.digest[:12]} ({name.name} {name.version}) takes about {needed / MIB:.0f} MiB beside the one that decides, and "
                f"this worker may take {free / MIB:.0f} MiB more before the kernel ends it. Next: give the workers more memory, or promote a smaller bundle."
            )
            raise NotReadyError(msg)

    def _forget(self, models: Models) -> None:
        """Unload old models, but for `MOST_OLD`: models that neither the newest epoch nor the plan nor `models` needs."""
        planned = self._epochs.planned
        kept = {self._epochs.newest, models.epoch} | ({planned.epoch} if planned is not None else set())
        needed = {one.model.digest for epoch in kept for one in self._of_epoch.get(epoch, ()) if one is not None}
        old = [digest for digest in self._loaded if digest not in needed]
        for digest in old[: max(0, len(old) - MOST_OLD)]:
            del self._loaded[digest]
        self._of_epoch = {
            epoch: pair
            for epoch, pair in self._of_epoch.items()
            if all(one is None or one.model.digest in self._loaded for one in pair)
        }


def in_epoch(decider: Decider, models: Models, arm: str) -> Decider:
    """
    Return the decider with the names of epoch and arm, which asks people as the epoch says.

    Decisions of epoch 0 name neither, as before the rollout.
    """
    if models.epoch == 0:
        return decider
    named = replace(decider, model=msgspec.structs.replace(decider.model, epoch=str(models.epoch), arm=arm))
    return replace(named, threshold=ALWAYS_ASK, thresholds={}) if models.asks_people else named


def of_arm(models: Models, pair: tuple[Decider, Decider | None], event: ContentEvent) -> Decider:
    """
    Return the decider of an event.

    Args:
        models: The models of the event's epoch.
        pair: The deciders of that epoch (`RolledDeciders.prepare`).
        event: An event of that epoch. If it has no key, its id is the unit.
    """
    (champion, challenger), share = pair, models.challenger
    if challenger is None or share is None:
        return champion
    return challenger if is_challengers(share, key=event.record.key, event_id=event.id, source=event.source) else champion


def require_labels(digest: str, manifest: Manifest, labels: Sequence[str], whose: str = "the one that decides") -> None:
    """
    Require that a bundle has exactly these labels, in any order.

    Raises:
        NotReadyError: The bundle has other labels.
    """
    if set(manifest.labels) != set(labels):
        msg = (
            f"bundle {digest[:12]} ({manifest.name} {manifest.version}) has the labels {few(sorted(manifest.labels))}, and {whose} has {few(sorted(labels))}. "
            "Next: train it on the same labels."
        )
        raise NotReadyError(msg)


def depot_of(settings: Settings) -> Depot:
    """
    Return the depot of the settings.

    Raises:
        DepotError: The settings name no depot.
        SignatureError: The settings name a place of keys, and it has no keys.
    """
    rollout = settings.rollout
    if not rollout.bundles:
        msg = "rollout.bundles is not set: bundles are found there by their digest. Next: set TAGSTREAM_ROLLOUT__BUNDLES to a folder that all workers see, or to s3://BUCKET/PREFIX, for the workers and for the commands."
        raise DepotError(msg)
    return Depot(
        rollout.bundles,
        cache=rollout.cache,
        cache_bytes=rollout.cache_bytes,
        seconds=rollout.fetch_seconds,
        keys=keys_in(rollout.bundle_keys),
    )


def bundle_name(decider: Decider) -> BundleName:
    """Return the name of a decider's bundle for the records of a rollout."""
    return BundleName(digest=decider.model.digest, name=decider.model.name, version=decider.model.version)
