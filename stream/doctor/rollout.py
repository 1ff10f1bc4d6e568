"""Checks of a rollout: the options of its two topics, the bundle that decides, and members of the group that do not follow it."""

import asyncio
from collections.abc import Iterator, Mapping

from tagstream.stream.change import operations
from tagstream.stream.contract.rollout import RolloutRecordError
from tagstream.stream.doctor.findings import CheckFinding, Status, finding_of
from tagstream.stream.kafka import admin
from tagstream.stream.kafka.errors import BrokerUnreachableError
from tagstream.stream.kafka.rollout import OPTIONS_OF_RECORDS, OPTIONS_OF_WORKERS, rollout_topic, workers_of
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal.text import counted

AS_CONTROLLER = "run the doctor as the user of the controller (tagstream doctor --acls USER --role controller)"


def rollout(settings: Settings) -> Iterator[CheckFinding]:
    """
    Every check of a rollout; none where there is no topic of one, or this user may not know of it. The topic `content` exists.

    Raises:
        BrokerUnreachableError: No broker answered.
    """
    if rollout_topic(settings) is None:
        return
    wanted = {settings.rollout.topic: OPTIONS_OF_RECORDS, settings.rollout.workers_topic: OPTIONS_OF_WORKERS}
    described = admin.describe(settings, wanted)
    options = admin.topic_options(settings, wanted, sorted({key for options in wanted.values() for key in options}))
    for name, needed in wanted.items():
        yield _topic(settings, name, described[name].partitions, needed, options.get(name, {}))
    yield _decides(settings)
    yield _members(settings)


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
            detail=f"has {partitions} partitions, and only the first is written and read: what others write to the rest is seen by nobody",
            fix="name a new topic by TAGSTREAM_ROLLOUT__TOPIC; a partition cannot be taken away",
        )
    wrong = {key: value for key, value in needed.items() if options.get(key, value) != value}
    if wrong:
        return CheckFinding(
            check=check,
            status=Status.FAIL,
            detail=f"has {', '.join(f'{key} {options[key]}' for key in wrong)}: "
            + (
                "once its first records are removed, workers end, since it is not known what decided"
                if "retention.ms" in needed
                else "words of workers are removed, and a change of the model finds those workers silent"
            ),
            fix=f"kafka-configs.sh --bootstrap-server {settings.brokers} --alter --entity-type topics --entity-name {name} "
            f"--add-config {','.join(f'{key}={value}' for key, value in wrong.items())}",
        )
    said = "" if options else "; its options the brokers do not say, or not to this user"
    return CheckFinding(check=check, status=Status.OK, detail=f"one partition{said}")


def _decides(settings: Settings) -> CheckFinding:
    """The bundle of the newest epoch, which decides in the place of the setting `bundle`."""
    check = "rollout epoch"
    try:
        _, epochs = asyncio.run(operations.history(settings))
    except RolloutRecordError as error:
        return finding_of(check, Status.FAIL, error)
    except BrokerUnreachableError as error:
        why, _, _ = str(error).partition(" Next: ")
        return CheckFinding(
            check=check, status=Status.WARN, detail=f"which bundle decides is not known: {why}", fix=AS_CONTROLLER
        )
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


def _members(settings: Settings) -> CheckFinding:
    check = "rollout members"
    try:
        workers = workers_of(settings)
    except BrokerUnreachableError as error:
        # As the user of a worker, who may write there and not read.
        why, _, _ = str(error).partition(" Next: ")
        return CheckFinding(
            check=check,
            status=Status.WARN,
            detail=f"whether all members of the group follow the rollout is not known: {why}",
            fix=AS_CONTROLLER,
        )
    silent = sorted(host for host, state in workers if state is None)
    if not silent:
        return CheckFinding(check=check, status=Status.OK, detail=f"{counted(len(workers), 'member')} of the group follow it")
    return CheckFinding(
        check=check,
        status=Status.WARN,
        detail=f"{len(silent)} of {counted(len(workers), 'member')} without a word on the rollout ({', '.join(silent)}): one of an older "
        "version, or that decides by rules, takes its own model for every event. One that has just started speaks within 15 s",
        fix="run this version on all of them, or end them: docs/rollout.md",
    )
