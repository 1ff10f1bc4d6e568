"""Checks of a rollout: the options of its two topics, its records, the deciding bundle, and group members that do not follow it."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tagstream.stream.contract.published import milliseconds
from tagstream.stream.contract.rollout_records import Plan, RolloutRecord, RolloutRecordError
from tagstream.stream.doctor.findings import CheckFinding, Status, finding_of
from tagstream.stream.kafka import admin
from tagstream.stream.kafka.errors import BrokerUnreachableError
from tagstream.stream.rollout.control import OPTIONS_OF_RECORDS
from tagstream.stream.rollout.epochs import Epochs
from tagstream.stream.rollout.members import workers_of
from tagstream.stream.rollout.presence import rollout_topic
from tagstream.stream.rollout.search import LOADING_SECONDS
from tagstream.stream.rollout.topic import OPTIONS_OF_WORKERS, rollout_reader
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal.text import counted

AS_CONTROLLER = "run the doctor as the user of the controller (tagstream doctor --acls USER --role controller)"
# Healthy brokers and a healthy controller need some tens of milliseconds from closing an epoch to marking it.
CLOSING_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRecords:
    """
    All records of the rollout's topic.

    Attributes:
        epochs: The state after all records. An epoch that is closing here has been closing for at least `CLOSING_SECONDS`.
        skipped: Number of records that are not a rollout's records.
        uncounted: Number of records without effect, because the protocol does not allow them at their place.
        planned_at: When the newest plan was written, by its controller's clock; empty if no epoch is planned.
    """

    epochs: Epochs
    skipped: int = 0
    uncounted: int = 0
    planned_at: str = ""


def rollout(settings: Settings) -> Iterator[CheckFinding]:
    """
    Make every check of a rollout, or none if no rollout has begun. The topic `content` must exist.

    Raises:
        BrokerUnreachableError: No broker answered.
    """
    try:
        if rollout_topic(settings) is None:
            return
    except RolloutRecordError as error:
        yield finding_of(f"rollout {settings.rollout.topic}", Status.FAIL, error)
        return
    wanted = {settings.rollout.topic: OPTIONS_OF_RECORDS, settings.rollout.workers_topic: OPTIONS_OF_WORKERS}
    described = admin.describe(settings, wanted)
    options = admin.topic_options(settings, wanted, sorted({key for options in wanted.values() for key in options}))
    for name, needed in wanted.items():
        yield _topic(settings, name, described[name].partitions, needed, options.get(name, {}))
    newest = 0
    try:
        found = asyncio.run(read_records(settings))
    except (RolloutRecordError, BrokerUnreachableError) as error:
        # A user may be allowed to see the topic and not to read it. A worker that cannot read the topic does not decide.
        yield finding_of(f"rollout {settings.rollout.topic} records", Status.FAIL, error)
    else:
        yield from _records(settings, found, now=time.time())
        yield _decides(found.epochs)
        newest = found.epochs.newest
    yield _members(settings, newest)


async def read_records(settings: Settings) -> RolloutRecords:
    """
    Read all records. If an epoch is closing, wait until it is marked, for `CLOSING_SECONDS` at most.

    Raises:
        RolloutRecordError: Records are missing, or this version cannot read one of them.
        BrokerUnreachableError: No broker answered.
    """
    plans: list[Plan] = []
    uncounted: list[int] = []

    def taken(record: RolloutRecord, offset: int, counts: bool) -> None:  # noqa: FBT001 - a reader's callback
        if not counts:
            uncounted.append(offset)
        elif isinstance(record, Plan):
            plans.append(record)

    async with rollout_reader(settings, taken) as reader:
        until = time.monotonic() + CLOSING_SECONDS
        while reader.epochs.closing is not None and time.monotonic() < until:
            await reader.wait_for_more()
        planned_at = plans[-1].at if reader.epochs.planned is not None else ""
        return RolloutRecords(epochs=reader.epochs, skipped=reader.skipped, uncounted=len(uncounted), planned_at=planned_at)


def _records(settings: Settings, found: RolloutRecords, *, now: float) -> Iterator[CheckFinding]:
    """Report records of another group, an epoch that does not begin, an abandoned plan, and foreign records. `now`: Unix seconds."""
    check, epochs, well = f"rollout {settings.rollout.topic} records", found.epochs, True
    if epochs.started and epochs.group != settings.group:
        well = False
        yield CheckFinding(
            check=check,
            status=Status.FAIL,
            detail=f"they belong to the group {epochs.group!r}: no event of {settings.group} begins",
            fix="correct TAGSTREAM_GROUP, or name a topic of its own by TAGSTREAM_ROLLOUT__TOPIC",
        )
    if epochs.closing is not None:
        well = False
        yield CheckFinding(
            check=check,
            status=Status.FAIL,
            detail=f"epoch {epochs.closing} has been closing for {CLOSING_SECONDS:g} s and is not marked: workers hold their events, and "
            "end with exit code 70",
            fix="tagstream rollout finish",
        )
    elif epochs.planned is not None:
        waited = now - milliseconds(found.planned_at) / 1000
        if waited > settings.rollout.fetch_seconds + LOADING_SECONDS:
            well = False
            yield CheckFinding(
                check=check,
                status=Status.WARN,
                detail=f"epoch {epochs.planned.epoch} is planned for {waited:.0f} s, longer than a controller waits: its controller has ended, "
                "and workers load its bundle at each start",
                fix="tagstream rollout finish gives it up",
            )
    if found.skipped or found.uncounted:
        well = False
        yield CheckFinding(
            check=check,
            status=Status.WARN,
            detail=f"{counted(found.skipped, 'record')} that no version of tagstream has written, and {found.uncounted} out of place, "
            "which have no effect: another program writes to the topic, and may choose the model",
            fix="tagstream rollout log shows the records that can be read; take WRITE on the topic from everyone but the controller",
        )
    if well:
        yield CheckFinding(check=check, status=Status.OK, detail="complete, and every record counts")


def _topic(
    settings: Settings, name: str, partitions: int | None, needed: Mapping[str, str], options: Mapping[str, str]
) -> CheckFinding:
    check = f"rollout {name}"
    if partitions is None:
        return CheckFinding(
            check=check,
            status=Status.FAIL,
            detail="does not exist, or this user may not see it: workers cannot say that they are ready",
            fix="an administrator makes it with one partition, compacted; or `tagstream rollout promote`, which makes it",
        )
    if partitions != 1:
        return CheckFinding(
            check=check,
            status=Status.FAIL,
            detail=f"has {partitions} partitions, and only the first is written and read: records in its other partitions are ignored",
            fix="name a new topic by TAGSTREAM_ROLLOUT__TOPIC; a partition cannot be taken away",
        )
    wrong = {key: value for key, value in needed.items() if options.get(key, value) != value}
    if wrong:
        return CheckFinding(
            check=check,
            status=Status.FAIL,
            detail=f"has {', '.join(f'{key} {options[key]}' for key in wrong)}: "
            + (
                "once its first records are removed, workers end, since they do not know which model decided"
                if "retention.ms" in needed
                else "states of workers are removed, and a change of the model takes those workers for silent"
            ),
            fix=f"kafka-configs.sh --bootstrap-server {settings.brokers} --alter --entity-type topics --entity-name {name} "
            f"--add-config {','.join(f'{key}={value}' for key, value in wrong.items())}",
        )
    said = "" if options else "; the brokers do not tell its options, or not to this user"
    return CheckFinding(check=check, status=Status.OK, detail=f"one partition{said}")


def _decides(epochs: Epochs) -> CheckFinding:
    """Report the bundle of the newest epoch, which decides instead of the bundle of the settings."""
    check = "rollout epoch"
    if not epochs.started:
        return CheckFinding(check=check, status=Status.OK, detail="none has begun: the bundle of the settings decides")
    now = epochs.models(epochs.newest)
    bundles = [now.champion, *([] if now.challenger is None else [now.challenger.bundle])]
    named = " and ".join(f"{one.name} {one.version}, digest {one.digest[:12]}" for one in bundles)
    return CheckFinding(
        check=check,
        status=Status.OK,
        detail=f"epoch {now.epoch}: {named} decide{'s' if len(bundles) == 1 else ''}; with the bundle of the settings a worker only starts",
    )


def _members(settings: Settings, newest: int) -> CheckFinding:
    check = "rollout members"
    try:
        workers = asyncio.run(workers_of(settings))
    except BrokerUnreachableError as error:
        # A worker's user may write to the workers' topic and not read it.
        why, _, _ = str(error).partition(" Next: ")
        return CheckFinding(
            check=check,
            status=Status.WARN,
            detail=f"whether all members of the group follow the rollout is not known: {why}",
            fix=AS_CONTROLLER,
        )
    silent = sorted(host for host, state in workers if state is None)
    behind = sorted(host for host, state in workers if state is not None and state.epoch < newest)
    if behind and not silent:
        return CheckFinding(
            check=check,
            status=Status.WARN,
            detail=f"{len(behind)} of {counted(len(workers), 'member')} have not said that they decide by epoch {newest} ({', '.join(behind)}): "
            "they hang, or may not write their word",
            fix="look at their log and /readyz; restart them: docs/rollout-help.md",
        )
    if not silent:
        return CheckFinding(check=check, status=Status.OK, detail=f"{counted(len(workers), 'member')} of the group follow it")
    return CheckFinding(
        check=check,
        status=Status.WARN,
        detail=f"{len(silent)} of {counted(len(workers), 'member')} without a word on the rollout ({', '.join(silent)}): a worker of "
        "an older version, or one that decides by rules, uses its own model for every event. A new worker speaks within 15 s",
        fix="run this version on all of them, or end them: docs/rollout.md",
    )
