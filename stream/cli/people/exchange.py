"""`tagstream review --export` and `--import`: writes answers to files, and sends answers from files to the topic."""

from pathlib import Path

import msgspec

from tagstream.stream.contract.answers import UNSIGNED, AnsweredEvent, AnswerKeys, answer_id
from tagstream.stream.contract.event import Record
from tagstream.stream.contract.published import PublishedDecision, read_decision
from tagstream.stream.kafka import admin
from tagstream.stream.kafka.producer import sender
from tagstream.stream.kafka.rights import Operation
from tagstream.stream.review.exchange import files, label_studio, lines
from tagstream.stream.review.exchange.files import Form
from tagstream.stream.review.exchange.lines import ExchangeError
from tagstream.stream.settings.secret_files import answer_keys
from tagstream.stream.settings.settings import Settings
from tagstream.stream.terminal import console
from tagstream.stream.terminal.text import counted


def export(settings: Settings, *, form: Form, out: Path, with_open: bool) -> None:
    """
    Write the answers on the topic to a file.

    Args:
        settings: The brokers and topics.
        form: The file's format.
        out: The file, which is replaced.
        with_open: Also write the events that wait for an answer; only Label Studio's format can hold them.

    Raises:
        BrokerUnreachableError: No broker answered in time, or one refused us.
        ExchangeError: The file cannot be written.
    """
    answered, asked = on_topics(settings) if with_open else (_answered(settings, keys=answer_keys(settings.security)), [])
    waiting = files.waiting(asked, answered)
    files.write(out, files.content(form, answered, waiting))
    what = counted(len(files.newest(answered)), "event")
    console.talk(f"{what} with an answer in {out}" + (f", and {len(waiting):,} that wait for one" if with_open else ""))
    if form is Form.LABEL_STUDIO:
        labels = {label: None for one in answered for label in one.answer.before.probabilities}
        labels |= {label: None for one in waiting for label in one.decision.probabilities}
        console.talk("the labelling configuration of the project:")
        console.show(label_studio.config(tuple(labels)))


def bring(settings: Settings, *, form: Form, file: Path, reviewer: str) -> None:
    """
    Send the answers in a file to the topic `reviewed`. Skip answers that the topic has already, so that an import can be repeated.

    The answers are signed, if the settings have a key. If the topic has an answer of the file without a signature, the answer is then sent
    again, signed, with its old key and headers.

    Args:
        settings: The brokers and topics.
        form: `lines` or `label-studio`.
        file: The file.
        reviewer: The name of the person who answered, for answers whose name the file does not have.

    Raises:
        ExchangeError: A line or a task of the file is not an answer; nothing is sent.
        BrokerUnreachableError: No broker answered in time, or one refused us.
        SendError: The broker did not confirm a record.
    """
    topic, keys = settings.topics.reviewed, answer_keys(settings.security)
    if form is Form.LINES:
        given = files.distinct(lines.answers_in_file(file))
        there = {answer_id(one.answer): one.event.record for one in _answered(settings, keys=UNSIGNED)}
        known = {name for name, record in there.items() if keys.accept(record)}
        fresh = [one for one in given if answer_id(one.answer) not in known]
        records = [
            msgspec.structs.replace(
                there.get(answer_id(one.answer), Record(key=one.event.id.encode(), value=None)), value=one.event.record.value
            )
            for one in fresh
        ]
        passed_over = {"that the topic has already": len(given) - len(fresh)} if len(given) > len(fresh) else {}
    else:
        tasks = _tasks(file)
        held = files.newest(_answered(settings, keys=keys))
        try:
            found = label_studio.answers_in(tasks, newest=held, reviewer=reviewer)
        except label_studio.TaskError as error:
            msg = f"{file}, {error}. No answer was sent. Next: export the project from Label Studio as JSON, and leave `data` as it is."
            raise ExchangeError(msg) from error
        records, passed_over = [Record(key=key, value=value) for key, value in found.records], found.passed_over
    with sender(settings) as producer:
        for record in map(keys.signed, records):
            producer.send(topic, key=record.key, value=record.value, headers=record.headers)
        producer.flush()
    for why, count in passed_over.items():
        console.talk(f"passed over: {counted(count, 'answer' if form is Form.LINES else 'task')} {why}")
    console.talk(f"{counted(len(records), 'answer')} sent to {topic}, confirmed by the broker")


def on_topics(settings: Settings) -> tuple[list[AnsweredEvent], list[PublishedDecision]]:
    """
    Return all answers on the topic, and all decisions about which a person was asked.

    Raises:
        BrokerUnreachableError: No broker answered in time, or one refused us.
    """
    answered = _answered(settings, "review", keys=answer_keys(settings.security))
    topics = [settings.topics.review]
    audit = settings.topics.audit
    if admin.describe(settings, [audit])[audit].partitions is None:
        console.talk(f"the topic {audit} does not exist, so no published event was drawn for an audit")
    else:
        topics.append(audit)
    read = (read_decision(record) for topic in topics for record in lines.records_of(settings, topic))
    return answered, [found for found in read if isinstance(found, PublishedDecision)]


def _answered(settings: Settings, *others: str, keys: AnswerKeys) -> list[AnsweredEvent]:
    needed = {key: getattr(settings.topics, key) for key in ("reviewed", *others)}
    admin.require(settings, needed, operations=dict.fromkeys(needed, Operation.READ))
    answered, refused = lines.answers_on_topic(settings, keys)
    if refused:
        console.talk(f"{counted(refused, 'record')} of {settings.topics.reviewed} cannot be read as answers and do not count")
    return answered


def _tasks(file: Path) -> list[label_studio.Task]:
    try:
        return label_studio.read_tasks(file.read_bytes())
    except OSError as error:
        msg = f"{file} cannot be read: {error.strerror}. Next: give a file that Label Studio exported as JSON."
        raise lines.MissingFileError(msg) from error
    except label_studio.TaskError as error:
        msg = f"{file} cannot be read: {error}. Next: export the project from Label Studio as JSON."
        raise ExchangeError(msg) from error
