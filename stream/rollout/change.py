"""Changes the model of a running stream: another bundle for all events or a share, a rollback, or the end of an abandoned change."""

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

# A worker looks for the topic every 15 s. Once it has found the topic, it writes its state.
FIRST_WORD_SECONDS = 40.0
ASK_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """
    The events that a challenger decides.

    Attributes:
        share: The share of the units, above 0 and at most 1.
        unit: `key` draws all events of a key together, `id` draws each event by itself. None: the unit of the running canary, or else
            `key`.
        sources: Only events of these sources; empty for all sources. None: the sources of the running canary, or else all.
    """

    share: float
    unit: str | None = None
    sources: tuple[str, ...] | None = None


def store(settings: Settings, bundle: Path) -> BundleName:
    """
    Copy a bundle into the depot, where workers find it.

    Raises:
        BundleError: The bundle cannot be trusted, or no key of the settings has signed it.
        DepotError: The settings name no depot, or the depot refuses the bundle.
    """
    found = depot_of(settings).write(bundle)
    return BundleName(digest=found.digest, name=found.manifest.name, version=found.manifest.version)


async def _tried(settings: Settings, bundle: Path) -> BundleName:
    """
    Verify a bundle as `model verify` does, in a process that is killed after `TRIAL_SECONDS`; then copy the bundle into the depot.

    The bundle must have the labels of the group, and is also tried on the golden texts of the group's bundle. All this precedes the plan: a
    worker refuses a bad bundle at its start, but the group may have no worker now.

    Raises:
        RolloutError: The bundle has other labels.
        BundleError: The bundle cannot be trusted, or it does not load in time.
        ParityError: A prediction of the bundle depends on its batch.
        DepotError: The depot refuses the bundle.
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
        # After a cancellation of this task, the thread still runs: this ends it.
        over.set()
    return await asyncio.to_thread(store, settings, bundle)


def _of_the_group(settings: Settings, depot: Depot, epochs: Epochs) -> Manifest:
    """Return the manifest of the group's oldest bundle that can be read. All bundles of a group have the same labels."""
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

    The first change also writes the start record: until then the bundle of the settings decided. The workers must have the same bundle.

    Args:
        settings: Brokers, group, topics and depot.
        bundle: The bundle's folder.
        asks_people: Every event goes to a person, with the tag of this bundle as a suggestion, until a promotion without it.
        without_workers: True if the group may have no worker now. Then no worker confirms that it can load the bundle.
        why: A note for people, kept in the topic.

    Raises:
        RolloutError: The workers' bundle differs from the bundle of the settings, the new bundle already decides or has other labels, or
            the group has no worker.
        PlanGivenUpError: A worker refused, or did not answer in time; the model has not changed.
        BundleError: The bundle cannot be trusted, or it does not load in time.
        ParityError: A prediction of the bundle depends on its batch.
        DepotError: The depot refuses the bundle.
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

    If the same bundle is already the challenger, a larger share keeps every unit of the smaller share, and the canary keeps its evidence
    and guards. Another challenger draws its units anew.

    Args:
        settings: Brokers, group, topics and depot.
        bundle: The bundle's folder.
        audience: The events that the bundle decides.
        guards: The guards by which `tagstream rollout watch` judges the bundle; the bundle's promise is added. None: the guards of the
            running canary, or else the defaults.
        without_workers: True if the group may have no worker now. Then no worker confirms that it can load the bundle.
        why: A note for people, kept in the topic.
        tell: Called before the plan, with the challenger and the size of its arm among the newest events.

    Raises:
        RolloutError: The workers' bundle differs from the bundle of the settings; the change changes nothing; the bundle has other
            labels or is the champion; guards are given for a canary that is running, or its unit or sources would change; a guard names an
            unknown slice; outcomes are required and there are no two arms of one stream; or the group has no worker.
        PlanGivenUpError: A worker refused, or did not answer in time; the model has not changed.
        BundleError: The bundle cannot be trusted, or it does not load in time.
        ParityError: A prediction of the bundle depends on its batch.
        DepotError: The depot refuses the bundle.
    """
    if not 0 < audience.share <= 1:
        msg = f"the share of a challenger must be above 0 and at most 1, and it is {audience.share:g}. Next: give another share; `tagstream rollout rollback` ends a canary."
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
                msg = "the guards, unit and sources of a canary are fixed when it begins. Next: give another --share alone; or `tagstream rollout rollback`, and begin again."
                raise RolloutError(msg)
            challenger, guards = msgspec.structs.replace(challenger, salt=before.salt), now.guards
        else:
            manifest, _ = await asyncio.to_thread(read_manifest, bundle)
            _require_slices(guards or Guards(), manifest.labels)
            promised = manifest.threshold
            guards = msgspec.structs.replace(
                guards or Guards(), promise=promised.target_precision if promised.certified else None
            )
        require_arms(guards or Guards(), challenger)
        wanted = replace(now, challenger=challenger, guards=guards)
        require_change(control.reader.epochs, wanted)
        tell(challenger, await asyncio.to_thread(arm_size, settings, challenger))
        return await control.change(wanted, why)


def require_arms(guards: Guards, challenger: Challenger) -> None:
    """
    Require that required outcomes can be compared.

    Raises:
        RolloutError: Outcomes are required, and there are no two arms of one stream.
    """
    if guards.required and (challenger.share == 1 or challenger.sources):
        msg = (
            "the outcomes that this canary requires are compared between two arms of one stream, and a share of 1 or a --source leaves no such "
            "arms. Next: give a share below 1 and no --source, or no --require."
        )
        raise RolloutError(msg)


def _require_slices(guards: Guards, labels: Sequence[str]) -> None:
    """Refuse a slice that no record can name: it would never have an answer. Producers name the sources, so any source passes."""
    known = {slice_name("label", label) for label in labels} | {slice_name(kind.group, kind.name) for kind in TEXT_SLICES}
    source = slice_name("source", "")
    for one in guards.slices:
        if one.name not in known and not (one.name.startswith(source) and one.name != source):
            msg = f"there is no slice {one.name!r}. Next: name one of {few(sorted(known), most=len(known))}; or '{source}NAME'."
            raise RolloutError(msg)


async def rollback(settings: Settings, *, why: str = "", tell: Callable[[Models, str], None] = lambda *_: None) -> Begun:
    """
    End a canary; without one, let the champion before the present one decide again. It begins a new epoch.

    If there is a challenger, it is removed, and the champion decides all events. Otherwise the champion before decides again. The new epoch
    begins at the events that wait in the log and that no worker has begun. Workers that are absent, or that end at each start, do not
    delay it.

    Args:
        settings: Brokers, group, topics and depot.
        why: A note for people, kept in the topic.
        tell: Called before the plan, with the target of the rollback (`goes_back_to`).

    Raises:
        NoRolloutError: There is no rollout, or no earlier model.
        PlanGivenUpError: A worker refused, or a working worker did not answer in time; the model has not changed.
        BundleError: The bundle is not in the depot any more.
        DepotError: The settings name no depot, or the depot does not answer.
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
            # Fail before the plan if the bundle is gone.
            await asyncio.to_thread(depot_of(settings).manifest, models.champion.digest)
        return await control.change(models, why or words, goes_back=True)


async def finish(settings: Settings) -> Epochs:
    """
    Finish an abandoned change, and change nothing else: mark a closing epoch, give up a plan, list new partitions.

    Returns:
        The epochs after that.

    Raises:
        NoRolloutError: There is no rollout.
    """
    await asyncio.to_thread(require_rollout, settings)
    async with controlling(settings, by=name_here()) as control:
        epochs = await control.begin()
        require_group(settings, epochs)
        return epochs


async def _begin(settings: Settings, control: Control, *, without_workers: bool) -> Models:
    """Become the controller, and write the start record if there is none. Return the models that decide now."""
    if not without_workers:
        # Checked before another controller is fenced.
        await control.workers.require_any()
    epochs = await control.begin()
    if not epochs.started:
        epochs = await control.controller.start(await _champion_of_the_start(settings, control), settings.group)
    require_group(settings, epochs)
    return epochs.models(epochs.newest)


async def _champion_of_the_start(settings: Settings, control: Control) -> BundleName:
    """Return the bundle of the settings, if the workers decide by it."""
    # Checked here too: an administrator may have made the topic.
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
    # Workers that restart with another bundle in their settings need this bundle to read events of epoch 0 again.
    await asyncio.to_thread(depot_of(settings).write, settings.bundle)
    return BundleName(digest=digest, name=manifest.name, version=manifest.version)
