"""`tagstream model calibrate --reviewed`: people's answers from a file or the topic, and the bundle that they earn."""

from pathlib import Path

from model_export import commands
from model_export.commands import BundleOptions
from model_export.make.earn import lineage
from stream import logs
from stream.cli import making
from stream.contract.answers import AnsweredEvent
from stream.contract.published import PublishedDecision, read_decision
from stream.kafka import admin
from stream.kafka.rights import Operation
from stream.review.exchange import lines
from stream.review.exchange.evidence import gather
from stream.settings.settings import Settings
from stream.terminal import console
from stream.terminal.text import counted

TOPIC = "topic"


def calibrate(settings: Settings, *, reviewed: str, folder: Path, precision: float, as_json: bool) -> None:
    """
    Earn the thresholds of the settings' bundle, write the new one, and print what it buys.

    Args:
        settings: The bundle, and for the topic the brokers.
        reviewed: A file of records of `reviewed`, or `topic`.
        folder: Where the new bundle goes.
        precision: The share right that the thresholds shall reach.
        as_json: Print one object.

    Raises:
        ExtraMissingError: The extra `export` is not installed.
        ExchangeError: The file has a line that is no answer.
        BrokerUnreachableError: No broker answered in time, or one refused us.
        CalibrationError: The answers change no threshold.
    """
    making.require_export()
    logs.configure(level="info", form="console")
    bundle = commands.inspect(settings.bundle)
    answered, asked = _on_topic(settings) if reviewed == TOPIC else (lines.answers_in_file(Path(reviewed)), [])
    gathered = gather(answered, digests=lineage(bundle.manifest, bundle.digest), asked=asked)
    for why, count in gathered.left_out.items():
        console.talk(f"left out: answers on {counted(count, 'event')} {why}")
    options = BundleOptions(folder=folder, data_folder=making.data_folder_if_any(settings), target_precision=precision)
    gain = commands.earn(options, source=settings.bundle, evidence=gathered.evidence)
    if as_json:
        console.show_json(gain.as_record())
    else:
        console.show(gain.as_text())


def _on_topic(settings: Settings) -> tuple[list[AnsweredEvent], list[PublishedDecision]]:
    """All answers on the topic, and all decisions that a person was asked about."""
    needed = {"reviewed": settings.topics.reviewed, "review": settings.topics.review}
    admin.require(settings, needed, operations=dict.fromkeys(needed, Operation.READ))
    answered, refused = lines.answers_on_topic(settings)
    if refused:
        console.talk(f"{counted(refused, 'record')} of {settings.topics.reviewed} cannot be read as answers and do not count")
    doors = [settings.topics.review]
    audit = settings.topics.audit
    if admin.describe(settings, [audit])[audit].partitions is None:
        console.talk(f"the topic {audit} does not exist, so nothing is known of what is published")
    else:
        doors.append(audit)
    read = (read_decision(record) for door in doors for record in lines.records_of(settings, door))
    return answered, [found for found in read if isinstance(found, PublishedDecision)]
