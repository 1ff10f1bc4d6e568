"""The contract of `rollout`: the topic that says which model decides which event, from which offset on.

The topic has one partition, keeps everything, and has one writer at a time, the controller. Its records count in their order, and
`tagstream.stream.rollout.epochs` is the only reader of their meaning. The right to write to this topic is the right to choose the model.

Every record of every version is a JSON object with `kind`, `epoch`, `at` and `by`. Any other record is not ours: all readers skip it and
warn. A record of ours that this version cannot read is an error and is never skipped: it may say that another model decides from here on.
"""

from typing import Annotated

import msgspec

from tagstream.stream.contract.event import Record
from tagstream.stream.contract.field_types import MAX_NOTE_CHARACTERS, Asked, Moment, OutcomeName, PersonName, Share
from tagstream.stream.contract.published import fault

MAX_EPOCH = 1_000_000_000
# With more slices, each slice would get too few answers to prove anything.
MAX_SLICES = 32
MAX_OUTCOMES = 8

Epoch = Annotated[int, msgspec.Meta(ge=0, le=MAX_EPOCH)]
"""The number of a plan. Numbers grow along the topic. The number of an aborted plan is never used again."""
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Offset = Annotated[int, msgspec.Meta(ge=0)]
Why = Annotated[str, msgspec.Meta(max_length=MAX_NOTE_CHARACTERS)]


class RolloutRecordError(ValueError):
    """
    Records of `rollout` are missing, or this version cannot read a record, so no worker may decide.

    The message says which record and why, without its content.
    """

    exit_code = 2


class Partition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    A partition of a content topic.

    Attributes:
        topic: The topic's name.
        topic_id: The broker's id of the topic. A topic that is made again under the same name has another id.
        partition: The partition's number, from 0.
    """

    topic: Annotated[str, msgspec.Meta(min_length=1, max_length=249)]
    topic_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    partition: Annotated[int, msgspec.Meta(ge=0)]


class Mark(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    The place where an epoch begins in one partition.

    Attributes:
        at: The partition.
        offset: The first offset of the epoch; None if the partition does not exist any more, so no event of it comes.
    """

    at: Partition
    offset: Offset | None


class BundleName(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bundle, identified by its digest. `name` and `version` are for people."""

    digest: Digest
    name: str
    version: str


class Challenger(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    A second model that decides a share of the events.

    Attributes:
        bundle: The challenger's bundle.
        share: The share of the units that the challenger decides, above 0, to 1.
        unit: `key` if all events of one key are a unit, `id` if each event is a unit.
        salt: Hashed with the unit. A larger share under the same salt keeps every unit that is in the arm already.
        sources: The values of `source` whose events the challenger may decide; empty for all events.
    """

    bundle: BundleName
    share: Asked
    unit: Annotated[str, msgspec.Meta(pattern=r"^(key|id)$")]
    salt: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    sources: tuple[str, ...] = ()


class GuardedSlice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    A slice of the events in which the challenger must not be worse either.

    Attributes:
        name: The slice's name in the records of `shadow`.
        margin: The share of the slice's events by which the challenger may be right less often than the champion.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    margin: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.03


class RequiredOutcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    An outcome in which the challenger must be proved not worse.

    Attributes:
        name: The outcome's name on the topic `outcomes`.
        less: True if a smaller mean is better.
        margin: The part of the champion's mean by which the challenger's may be worse.
    """

    name: OutcomeName
    less: bool = False
    margin: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.05


class Guards(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    The bounds by which a challenger is judged. The plan fixes them before the first answer.

    Attributes:
        margin: The share of all events, 0 to 0.5, by which the challenger may be right less often than the champion and still be promoted;
            0 asks for a better challenger.
        alpha: The probability of a false promotion in one line of tries, and of a false rollback in one plan.
        max_days: The days after which the challenger counts as not proven.
        slices: The slices that are guarded apart.
        review_budget: The share of events by which more events, overall and of each label, may go to people.
        promise: The promised share of right tags among the challenger's published decisions; None without a promise.
        slips: The assumed largest share of answers that name a wrong label. Each other label is equally likely.
        anchoring: The assumed largest share of answers that repeat the champion's tag because the person saw it.
        asked_at_least: The least probability with which people are asked about a disagreement; bets are sized by it.
        audited_at_least: The least probability with which people are asked about any other event.
        fallbacks: The number of the challenger's failures after which it is rolled back, proved or not.
        outcomes: The outcomes that a promotion requires. Unset for none: then workers of 0.1.0 read the plan too.
    """

    margin: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.01
    alpha: Annotated[float, msgspec.Meta(gt=0, le=0.2)] = 0.05
    max_days: Annotated[float, msgspec.Meta(gt=0, le=365)] = 14.0
    slices: Annotated[tuple[GuardedSlice, ...], msgspec.Meta(max_length=MAX_SLICES)] = ()
    review_budget: Share = 0.02
    promise: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None
    slips: Annotated[float, msgspec.Meta(ge=0, le=0.3)] = 0.05
    anchoring: Annotated[float, msgspec.Meta(ge=0, le=0.3)] = 0.05
    asked_at_least: Asked = 0.02
    audited_at_least: Asked = 0.02
    fallbacks: Annotated[int, msgspec.Meta(ge=3, le=10_000)] = 10
    outcomes: (
        Annotated[tuple[RequiredOutcome, ...], msgspec.Meta(min_length=1, max_length=MAX_OUTCOMES)] | msgspec.UnsetType
    ) = msgspec.UNSET

    @property
    def required(self) -> tuple[RequiredOutcome, ...]:
        """The outcomes that a promotion requires."""
        return () if isinstance(self.outcomes, msgspec.UnsetType) else self.outcomes


class GateReading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    The present state of one test of a challenger.

    Attributes:
        name: The name of the test.
        state: `harms` and `worse` roll the challenger back, `freezes` and `forbids` keep it from promotion, `waits` is undecided, `passes`
            allows a promotion.
        says: A sentence for people.
        figures: The figures of the sentence.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    state: Annotated[str, msgspec.Meta(pattern=r"^(harms|freezes|worse|forbids|waits|passes)$")]
    says: Why
    figures: dict[str, float] = {}


class _Said(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Fields of every record: the epoch, why, and when and by whom the record was written (for people; neither is compared)."""

    epoch: Epoch
    at: Moment
    by: PersonName
    why: Why = ""


class Start(_Said, frozen=True, kw_only=True, tag="start"):
    """
    The first record: the model that has decided all events so far, and all partitions, which begin at offset 0.

    Attributes:
        group: The consumer group of the stream. No other group may follow the topic.
        champion: The group's model until now.
        partitions: The partitions of the group's content topics.
    """

    group: Annotated[str, msgspec.Meta(min_length=1)]
    champion: BundleName
    partitions: tuple[Partition, ...]


class Plan(_Said, frozen=True, kw_only=True, tag="plan", omit_defaults=True):
    """
    The models of the next epoch. Workers load the models and report whether they are ready; nothing changes yet.

    Attributes:
        champion: Decides every event that is not the challenger's.
        challenger: Decides a share; None for no second model.
        asks_people: True if every event of the epoch goes to a person, with the model's tag as a suggestion.
        guards: The bounds by which the challenger is judged; None for the defaults.
    """

    champion: BundleName
    challenger: Challenger | None = None
    asks_people: bool = False
    guards: Guards | None = None


class Close(_Said, frozen=True, kw_only=True, tag="close"):
    """
    The epoch is about to begin.

    A worker that reads the end of the topic after this record holds its events until `marks` or `abort`. A worker that read the end before
    may finish its events.
    """


class Marks(_Said, frozen=True, kw_only=True, tag="marks"):
    """The place where the epoch begins in each partition. Later marks of the same epoch add new partitions."""

    marks: tuple[Mark, ...]


class Abort(_Said, frozen=True, kw_only=True, tag="abort"):
    """The plan is given up. After the plan's marks this record has no effect: a rollback is an epoch of its own."""


class Verdict(_Said, frozen=True, kw_only=True, tag="verdict"):
    """
    The verdict on a challenger, for people and for the next plan, with its sentence in `why`. It changes no epoch.

    Attributes:
        epoch: The epoch in which the evidence was found.
        challenger: The bundle that was judged.
        decision: The verdict.
        days: The number of days for which the challenger was watched.
        gates: Every test with its figures.
    """

    challenger: BundleName
    decision: Annotated[str, msgspec.Meta(pattern=r"^(promote|roll_back|wait|frozen|not_proven)$")]
    days: Annotated[float, msgspec.Meta(ge=0)]
    gates: tuple[GateReading, ...]


class WorkerState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    A worker's report of its state, on the compacted topic of the workers. The record's key is the worker's member id in the group.

    Attributes:
        member: The member id.
        host: The host's name, for people.
        version: The version of the worker's package.
        epoch: The epoch of the report: a plan's epoch, or the newest epoch that the worker knows.
        state: `decides` by the epoch's champion, is `ready` for the plan, or has `refused` the plan.
        digest: The bundle of that epoch's champion.
        arithmetic: The arithmetic of the worker's processor for that bundle; None if it equals the arithmetic of the machine that made it.
        why: Why the worker refused the plan.
        at: When the worker wrote the report.
    """

    member: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
    host: str
    version: str
    epoch: Epoch
    state: Annotated[str, msgspec.Meta(pattern=r"^(decides|ready|refused)$")]
    digest: Digest
    arithmetic: str | None = None
    why: Why = ""
    at: Moment


class WorkerReach(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    How far one worker may have begun the events of an epoch, on the topic of the workers. It is written before these events begin.

    Attributes:
        worker: A name that no other process has.
        epoch: The newest epoch that the worker knew.
        reach: For each partition in which the worker began an event of the epoch, an offset above all events that it has begun.
    """

    worker: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    epoch: Epoch
    reach: tuple[Mark, ...]

    @property
    def key(self) -> bytes:
        """The record's key. The topic keeps the newest record of a key."""
        return f"reach:{self.epoch}:{self.worker}".encode()


RolloutRecord = Start | Plan | Close | Marks | Abort | Verdict
_DECODER: msgspec.json.Decoder[RolloutRecord] = msgspec.json.Decoder(RolloutRecord)


class _Envelope(msgspec.Struct):
    """The fields that a record has in every version."""

    kind: str
    epoch: Epoch
    at: str
    by: str


def read_rollout(record: Record) -> RolloutRecord | None:
    """
    Read one record of the topic; None for a foreign record, which no version has written.

    Raises:
        RolloutRecordError: The record is a record of a rollout that this version cannot read.
    """
    value = record.value or b""
    try:
        return _DECODER.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if not _is_ours(value):
            return None
        msg = (
            f"{record.topic}/{record.partition} has at offset {record.offset} a record of a later version ({fault(error)}), which this version of "
            "tagstream cannot read, and it may name the model that decides. Next: run the version that wrote it; if another program wrote it: "
            'docs/rollout-help.md, "The way back".'
        )
        raise RolloutRecordError(msg) from error


def _is_ours(value: bytes) -> bool:
    try:
        msgspec.json.decode(value, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def read_worker_state(record: Record) -> WorkerState | None:
    """A worker's report; None for a record of a later version or a foreign record. The member then counts as silent."""
    try:
        return msgspec.json.decode(record.value or b"", type=WorkerState)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def read_worker_reach(record: Record) -> WorkerReach | None:
    """A worker's reach; None for a record of another kind, or with a key that is not the reach's key."""
    try:
        found = msgspec.json.decode(record.value or b"", type=WorkerReach)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if record.key == found.key else None


def write_rollout(record: RolloutRecord) -> bytes:
    """
    The value of a record; it has no key.

    Raises:
        RolloutRecordError: A field has a value that no reader would accept.
    """
    value = msgspec.json.encode(record)
    try:
        _DECODER.decode(value)
    except msgspec.DecodeError as error:
        msg = f"a record `{type(record).__name__.lower()}` is not written, since no reader would take it ({fault(error)}). Next: correct that field."
        raise RolloutRecordError(msg) from error
    return value
