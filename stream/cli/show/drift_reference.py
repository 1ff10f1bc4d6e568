"""`tagstream drift --confirm` and `drift --learn`: put the group's learned drift reference in force, or let the group learn again."""

import time

import msgspec

from tagstream.model_export.bundle.bundle import read as read_bundle
from tagstream.monitoring.drift.learning import GroupLearning, ReferenceNote
from tagstream.stream.drift.references import fold
from tagstream.stream.kafka import admin
from tagstream.stream.kafka.producer import sender
from tagstream.stream.kafka.reading.log import log_of
from tagstream.stream.kafka.rights import Operation
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal import console


class NotLearnedError(Exception):
    """The group has not learned a window that could be confirmed; the message gives the next step."""

    exit_code = 1


def confirm(settings: Settings) -> None:
    """
    Put the reference that the group has learned so far in force, before the learning time is over.

    Raises:
        BundleError: The bundle is refused.
        BrokerUnreachableError: No broker answered in time, or one refused us.
        TopicsMissingError: The topic `references` does not exist.
        NotLearnedError: The group has learned no window yet.
    """
    group = _read(settings)
    if group.in_force is not None:
        console.talk(f"the group {settings.group} has its reference already: {group.in_force.events} events")
        return
    try:
        note = group.end()
    except ValueError as error:
        msg = (
            f"the group {settings.group} has learned no window of {settings.drift_window_events} decisions with this bundle yet. "
            f"Next: let its workers decide that number of events, or give the workers' bundle by --bundle."
        )
        raise NotLearnedError(msg) from error
    _send(settings, note)
    found = note.baseline
    console.talk(
        f"in force for the group {settings.group}: {found.events if found else 0} events. The workers compare with them in a few seconds."
    )


def learn(settings: Settings) -> None:
    """
    Let the group learn a new reference from now on, after an intended, lasting change of the stream.

    Raises:
        BundleError: The bundle is refused.
        BrokerUnreachableError: No broker answered in time, or one refused us.
        TopicsMissingError: The topic `references` does not exist.
    """
    _send(settings, _read(settings).anew(int(time.time() * 1000)))
    console.talk(
        f"the group {settings.group} learns from now on, for {settings.drift_learning_seconds:g} s at least. Until then its figures are "
        f"compared with nothing."
    )


def _read(settings: Settings) -> GroupLearning:
    topic = settings.topics.references
    admin.require(settings, {"references": topic}, operations={"references": Operation.WRITE})
    model = read_bundle(settings.bundle).digest
    group = GroupLearning(group=settings.group, model=model, worker="", plan=settings.drift_plan)
    with log_of(settings, topic) as log:
        fold(log.read(), group.read)
    return group


def _send(settings: Settings, note: ReferenceNote) -> None:
    with sender(settings) as producer:
        producer.send(settings.topics.references, key=note.key, value=msgspec.json.encode(note))
        producer.flush()
