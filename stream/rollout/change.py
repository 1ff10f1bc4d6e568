"""Changes the model of a running stream: by another bundle for all events or a share of them, by going back, or by finishing what was left."""

import asyncio
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from tagstream.model_export.bundle.bundle import BundleError, read_manifest
from tagstream.model_export.bundle.depot import Depot
from tagstream.model_export.bundle.manifest import Manifest
from tagstream.model_export.measure.slices import TEXT_SLICES
from tagstream.model_export.verify import TRIAL_SECONDS, verify
from tagstream.monitoring.vocabulary import few
from tagstream.stream.contract.rollout_records import BundleName, Challenger, Guards
from tagstream.stream.contract.shadow_records import slice_name
from tagstream.stream.rollout.arm_size import ArmSize, arm_size
from tagstream.stream.rollout.control import Begun, Control, controlling, epochs_now, name_here, require_change
from tagstream.stream.rollout.deciders import NotReadyError, depot_of, require_labels
from tagstream.stream.rollout.epochs import Epochs, Models
from tagstream.stream.rollout.errors import NoRolloutError, RolloutError
from tagstream.stream.rollout.history import require_group, require_rollout
from tagstream.stream.rollout.members import require_known_group
from tagstream.stream.rollout.rollback_target import goes_back_to
from tagstream.stream.settings.settings import Settings

# A worker looks for the topic every 15 s, and then says what it has.
FIRST_WORD_SECONDS = 40.0
ASK_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """
    The events that a challenger decides.

    Attributes:
        share: Of the units, above 0, to 1.
        unit: `key`: all events of a key; `id`: each event by itself. None: as the canary that goes on has it, or else `key`.
        sources: Of these sources alone; empty for all. None: as the canary that goes on has them, or else all.
    """

    share: float
    unit: str | None = None
    sources: tuple[str, ...] | None = None


def store(settings: Settings, bundle: Path) -> BundleName:
    """
    Put a bundle into the place where workers find it.

    Raises:
        BundleError: It is no bundle that can be trusted, or it is not signed by a key of the settings.
        DepotError: The settings name no place, or it does not take the bundle.
    """
    found = depot_of(settings).write(bundle)
    return BundleName(digest=found.digest, name=found.manifest.name, version=found.manifest.version)


async def _tried(settings: Settings, bundle: Path) -> BundleName:
    """
    Verify a bundle as `model verify` does, in a process that is ended after `TRIAL_SECONDS`; then put it into its place.

    It has the labels of the group, and decides the golden texts of the group's bundle too. Nothing is planned before: what a worker would refuse at
    its start must not decide where no worker is there to refuse it.

    Raises:
        RolloutError: It has other labels.
        BundleError: It is no bundle that can be trusted, or it does not end to load.
        ParityError: A prediction of it depends on its batch.
        DepotError: The place of bundles does not take it.
    """
    depot = depot_of(settings)
    manifest, digest = await asyncio.to_thread(read_manifest, bundle)
    epochs = await epochs_now(settings)
    require_group(settings, epochs)
    before = await asyncio.to_thread(_of_the_group, settings, depot, epochs)
    try:
        require_labels(digest, manifest, before.labels, f"the group's {before.name} {before.version}")
    except NotReadyError as error:
        raise RolloutError(str(error)) from error
    over = threading.Event()
    try:
        await asyncio.to_thread(
            verify, bundle, seconds=TRIAL_SECONDS, texts=[one.text for one in before.golden], goes_on=lambda: not over.is_set()
        )
    finally:
        # The thread goes on where this task was cancelled.
        over.set()
    return await asyncio.to_thread(store, settings, bundle)


def _of_the_group(settings: Settings, depot: Depot, epochs: Epochs) -> Manifest:
    """The manifest of the oldest bundle of the group that can be had: all have the labels of the start, which workers hold theirs against."""
    if not epochs.started:
        return read_manifest(settings.bundle)[0]
    missing: BundleError | None = None
    for models in epochs.begun():
        try:
            return depot.manifest(models.champion.digest)
        except BundleError as error:
            missing = missing or error
    assert missing is not None
    raise missing


async def promote(
    settings: Settings, bundle: Path, *, asks_people: bool = False, without_workers: bool = False, why: str = ""
) -> Begun:
    """
    Let a bundle decide all events from a point in the log on.

    The first change writes the start of the rollout too: the bundle of the settings, which the workers must have, decided until then.

    Args:
        settings: Brokers, group, topics, and the place of bundles.
        bundle: Its folder.
        asks_people: Every event goes to a person, with the tag of this bundle as a suggestion, until the next epoch.
        without_workers: The group may have no worker now, so that none says whether it can load the bundle.
        why: For people, in the topic.

    Raises:
        RolloutError: The workers' bundle is not that of the settings, the new one decides already or has other labels, or the group has no worker.
        PlanGivenUpError: A worker refused, or did not answer in time; nothing has changed.
        BundleError: It is no bundle that can be trusted, or it does not end to load.
        ParityError: A prediction of it depends on its batch.
        DepotError: The place of bundles does not take it.
    """
    champion = await _tried(settings, bundle)
    async with controlling(settings, by=name_here()) as control:
        now = await _begin(settings, control, without_workers=without_workers)
        wanted = replace(now, champion=champion, challenger=None, asks_people=asks_people, guards=None)
        return await control.change(wanted, why)


async def canary(
    settings: Settings,
    bundle: Path,
    audience: Audience,
    *,
    guards: Guards | None = None,
    without_workers: bool = False,
    why: str = "",
    tell: Callable[[Challenger, ArmSize], None] = lambda *_: None,
) -> Begun:
    """
    Let a bundle decide a share of the events, beside the champion, from a point in the log on.

    Where the same bundle is the challenger already, a larger share of the same units keeps every unit that it has, and the evidence and its
    guards go on. Another challenger draws its units anew.

    Args:
        settings: Brokers, group, topics, and the place of bundles.
        bundle: Its folder.
        audience: The events that it decides.
        guards: By which it is judged (`tagstream rollout watch`), with the promise that the bundle has; None: the defaults, or those of the
            canary that goes on.
        without_workers: The group may have no worker now, so that none says whether it can load the bundle.
        why: For people, in the topic.
        tell: Called before anything is planned, with what will be, and how many of the newest events that would have been.

    Raises:
        RolloutError: The workers' bundle is not that of the settings, or nothing would change, or it has other labels, or is the champion, or it has guards already, or one
            of them is of a slice that there is not, or the group has no worker.
        PlanGivenUpError: A worker refused, or did not answer in time; nothing has changed.
        BundleError: It is no bundle that can be trusted, or it does not end to load.
        ParityError: A prediction of it depends on its batch.
        DepotError: The place of bundles does not take it.
    """
    if not 0 < audience.share <= 1:
        msg = f"a challenger decides a share above 0, to 1, and not {audience.share:g}. Next: give such a share; `tagstream rollout rollback` ends a canary."
        raise RolloutError(msg)
    name = await _tried(settings, bundle)
    async with controlling(settings, by=name_here()) as control:
        now = await _begin(settings, control, without_workers=without_workers)
        if name.digest == now.champion.digest:
            msg = f"bundle {name.digest[:12]} ({name.name} {name.version}) is the champion, and cannot be its own challenger. Next: name another bundle."
            raise RolloutError(msg)
        before = now.challenger if now.challenger is not None and now.challenger.bundle == name else None
        challenger = Challenger(
            bundle=name,
            share=audience.share,
            unit=audience.unit or ("key" if before is None else before.unit),
            salt=secrets.token_hex(8),
            sources=audience.sources if audience.sources is not None else () if before is None else before.sources,
        )
        if before is not None:
            same = msgspec.structs.replace(before, share=challenger.share, salt=challenger.salt) == challenger
            if guards is not None or not same:
                msg = "the guards, unit and sources of a canary are fixed before its first answer. Next: give another --share alone; or `tagstream rollout rollback`, and begin again."
                raise RolloutError(msg)
            challenger, guards = msgspec.structs.replace(challenger, salt=before.salt), now.guards
        else:
            manifest, _ = await asyncio.to_thread(read_manifest, bundle)
            _require_slices(guards or Guards(), manifest.labels)
            promised = manifest.threshold
            guards = msgspec.structs.replace(
                guards or Guards(), promise=promised.target_precision if promised.certified else None
            )
        wanted = replace(now, challenger=challenger, guards=guards)
        require_change(control.reader.epochs, wanted)
        tell(challenger, await asyncio.to_thread(arm_size, settings, challenger))
        return await control.change(wanted, why)


def _require_slices(guards: Guards, labels: Sequence[str]) -> None:
    """A slice that no record names would never have an answer. Sources are the producers' names, so any may come."""
    known = {slice_name("label", label) for label in labels} | {slice_name(kind.group, kind.name) for kind in TEXT_SLICES}
    source = slice_name("source", "")
    for one in guards.slices:
        if one.name not in known and not (one.name.startswith(source) and one.name != source):
            msg = f"there is no slice {one.name!r}. Next: name one of {few(sorted(known), most=len(known))}; or '{source}NAME'."
            raise RolloutError(msg)


async def rollback(settings: Settings, *, why: str = "", tell: Callable[[Models, str], None] = lambda *_: None) -> Begun:
    """
    End what the present epoch has begun, from now on and as an epoch of its own.

    A challenger goes, and the champion decides all. Without one the champion that was there before decides again. Its first events are those that
    wait in the log and that no worker has begun. Workers that are not there, or that end at each start, do not keep it from deciding.

    Args:
        settings: Brokers, group, topics, and the place of bundles.
        why: For people, in the topic.
        tell: Called before anything is planned, with where it goes (`goes_back_to`).

    Raises:
        NoRolloutError: There is no rollout, or no epoch before.
        PlanGivenUpError: A worker refused, or one that works did not answer in time; nothing has changed.
        BundleError: The bundle is not in the place of bundles any more.
        DepotError: The settings name no such place, or it does not answer.
    """
    await asyncio.to_thread(require_rollout, settings)
    async with controlling(settings, by=name_here()) as control:
        epochs = await control.begin()
        require_group(settings, epochs)
        found = goes_back_to(epochs.begun())
        if found is None:
            msg = "there is no model before the present one to go back to. Next: `tagstream rollout promote BUNDLE`."
            raise NoRolloutError(msg)
        models, words = found
        tell(models, words)
        if models.champion != epochs.models(epochs.newest).champion:
            # A model whose bundle is gone could be loaded by no worker.
            await asyncio.to_thread(depot_of(settings).manifest, models.champion.digest)
        return await control.change(models, why or words, goes_back=True)


async def finish(settings: Settings) -> Epochs:
    """
    Finish what a controller has left, and change nothing else: mark an epoch that is closing, give up a plan, list new partitions.

    Returns:
        What the topic says then.

    Raises:
        NoRolloutError: There is no rollout.
    """
    await asyncio.to_thread(require_rollout, settings)
    async with controlling(settings, by=name_here()) as control:
        epochs = await control.begin()
        require_group(settings, epochs)
        return epochs


async def _begin(settings: Settings, control: Control, *, without_workers: bool) -> Models:
    """Become the controller, and write the start where there is none: what decides now."""
    if not without_workers:
        # Before another controller is fenced.
        await control.workers.require_any()
    epochs = await control.begin()
    if not epochs.started:
        epochs = await control.controller.start(await _champion_of_the_start(settings, control), settings.group)
    require_group(settings, epochs)
    return epochs.models(epochs.newest)


async def _champion_of_the_start(settings: Settings, control: Control) -> BundleName:
    """The bundle of the settings, if it is what the workers decide by."""
    # An administrator may have made the topic.
    await asyncio.to_thread(require_known_group, settings)
    manifest, digest = await asyncio.to_thread(read_manifest, settings.bundle)
    until = time.monotonic() + FIRST_WORD_SECONDS
    while True:
        workers = await control.workers.look()
        silent = [host for host, state in workers if state is None]
        if not silent or time.monotonic() > until:
            break
        await asyncio.sleep(ASK_SECONDS)
    if silent:
        msg = (
            f"{len(silent)} of {len(workers)} workers of the group {settings.group} do not follow the topic {settings.rollout.topic} "
            f"({', '.join(sorted(set(silent)))}): they are of an older version, or decide by rules. Next: run this version on all of them, then try again."
        )
        raise RolloutError(msg)
    others = sorted({state.digest for _, state in workers if state is not None} - {digest})
    if others:
        msg = (
            f"the workers decide by bundle {others[0][:12]}, and the setting `bundle` names {digest[:12]} ({settings.bundle}). "
            "Next: set TAGSTREAM_BUNDLE for this command to the workers' bundle."
        )
        raise RolloutError(msg)
    # Workers that restart under a later setting read the events of the start again with it.
    await asyncio.to_thread(depot_of(settings).write, settings.bundle)
    return BundleName(digest=digest, name=manifest.name, version=manifest.version)
