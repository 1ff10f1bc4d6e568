"""The contract of `rollout`: the one topic that says which model decides which event, from which offset on.

The topic has one partition, keeps everything, and has one writer at a time, the controller. Its records count in their order, and
`tagstream.stream.rollout.epochs` is the only reader of their meaning. Rights: whoever may write here chooses the model.

Every record of every version is a JSON object with `kind`, `epoch`, `at` and `by`. Anything else is not ours: all readers skip it alike, and warn.
A record of ours that this version cannot read is an error and never skipped: it may say that another model decides from here on.
"""

from typing import Annotated

import msgspec

from tagstream.stream.contract.event import Record
from tagstream.stream.contract.field_types import MAX_NOTE_CHARACTERS, Asked, Moment, PersonName, Share
from tagstream.stream.contract.published import fault

MAX_EPOCH = 1_000_000_000
# More would be so few answers for each that none could be proved.
MAX_SLICES = 32

Epoch = Annotated[int, msgspec.Meta(ge=0, le=MAX_EPOCH)]
"""The number of a plan. Numbers grow along the topic; one whose plan was given up is never used again."""
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Offset = Annotated[int, msgspec.Meta(ge=0)]
Why = Annotated[str, msgspec.Meta(max_length=MAX_NOTE_CHARACTERS)]


class RolloutRecordError(ValueError):
    """
    The records of `rollout` are not there as a whole, or this version cannot read one of them, so nobody may decide.

    The message says which and why, without their content.
    """

    exit_code = 2


class Partition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    A partition of a content topic.

    Attributes:
        topic: The topic's name.
        topic_id: The broker's id of the topic: one that is made again under the same name is another one.
        partition: Its number, from 0.
    """

    topic: Annotated[str, msgspec.Meta(min_length=1, max_length=249)]
    topic_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    partition: Annotated[int, msgspec.Meta(ge=0)]


class Mark(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Where an epoch begins in one partition.

    Attributes:
        at: The partition.
        offset: The first offset of the epoch; None where the partition is not there any more, so that no event of it comes.
    """

    at: Partition
    offset: Offset | None


class BundleName(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bundle: its digest says which one, `name` and `version` are for people."""

    digest: Digest
    name: str
    version: str


class Challenger(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    A second model that decides a share of the events.

    Attributes:
        bundle: Which one.
        share: Of the units, above 0, to 1.
        unit: All events of one key, or each event by its id; with `sources` those of these sources alone.
        salt: Hashed with the unit. A larger share under the same salt keeps every unit that is in the arm already.
        sources: The audience, by the event's `source`; empty for all.
    """

    bundle: BundleName
    share: Asked
    unit: Annotated[str, msgspec.Meta(pattern=r"^(key|id)$")]
    salt: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    sources: tuple[str, ...] = ()


class GuardedSlice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    A part of the events in which the challenger must not be worse either.

    Attributes:
        name: As the records of `shadow` name it.
        margin: By so much of the slice's events it may be right less often.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    margin: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.03


class Guards(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    By which a challenger is judged. They are fixed before the first answer, in the plan.

    Attributes:
        margin: It may be right in so much less of all events, 0 to 0.5, and is promoted still; 0 asks for a better one.
        alpha: The probability of a false promotion in one line of tries, and that of a false rollback in one plan.
        max_days: After so long it is not proven.
        slices: Parts that are guarded apart.
        review_budget: So much more of the events, and of those of each label, may go to people.
        promise: The share right that is promised of what it publishes; None without a promise.
        slips: So many answers at most name a wrong label, each other label alike.
        anchoring: So many answers at most repeat the champion's tag because it was seen.
        asked_at_least: The least probability with which people are asked about a disagreement; bets are sized by it.
        audited_at_least: The same of all other events.
        fallbacks: After so many failures of the challenger it goes back, proved or not.
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


class GateReading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    One test of a challenger, as it stands.

    Attributes:
        name: Of the test.
        state: `harms` and `worse` send it back, `freezes` and `forbids` keep it from promotion, `waits` is open, `passes` is not in the way.
        says: A sentence for people.
        figures: What the sentence is made of.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    state: Annotated[str, msgspec.Meta(pattern=r"^(harms|freezes|worse|forbids|waits|passes)$")]
    says: Why
    figures: dict[str, float] = {}


class _Said(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Fields of every record: the epoch that it is about, when and by whom it was written (for people; neither is compared), and why."""

    epoch: Epoch
    at: Moment
    by: PersonName
    why: Why = ""


class Start(_Said, frozen=True, kw_only=True, tag="start"):
    """
    The first record: the model that has decided everything so far, and every partition that there is. They begin at offset 0.

    Attributes:
        group: The consumer group whose stream it is. No other one may follow the topic.
        champion: Its model until now.
        partitions: Of its content topics.
    """

    group: Annotated[str, msgspec.Meta(min_length=1)]
    champion: BundleName
    partitions: tuple[Partition, ...]


class Plan(_Said, frozen=True, kw_only=True, tag="plan", omit_defaults=True):
    """
    The models of the next epoch. Workers load them and say whether they are ready; nothing changes yet.

    Attributes:
        champion: Decides every event that is not the challenger's.
        challenger: Decides a share; None for no second model.
        asks_people: Every event of the epoch goes to a person, with the model's tag as a suggestion.
        guards: By which the challenger is judged; None for the defaults.
    """

    champion: BundleName
    challenger: Challenger | None = None
    asks_people: bool = False
    guards: Guards | None = None


class Close(_Said, frozen=True, kw_only=True, tag="close"):
    """Whoever asks for the end of the topic after this holds its events until `marks` or `abort`; who asked before may finish."""


class Marks(_Said, frozen=True, kw_only=True, tag="marks"):
    """Where the epoch begins in each partition. A later one of the same epoch adds partitions that are new."""

    marks: tuple[Mark, ...]


class Abort(_Said, frozen=True, kw_only=True, tag="abort"):
    """The plan is given up. After its marks this takes nothing back: going back is an epoch of its own."""


class Verdict(_Said, frozen=True, kw_only=True, tag="verdict"):
    """
    What the evidence came to, for people and for the next plan; `why` is the sentence. It changes no epoch.

    Attributes:
        epoch: The one in which it was found.
        challenger: The bundle that was judged.
        decision: What follows.
        days: So long the challenger was watched.
        gates: Every test with its figures.
    """

    challenger: BundleName
    decision: Annotated[str, msgspec.Meta(pattern=r"^(promote|roll_back|wait|frozen|not_proven)$")]
    days: Annotated[float, msgspec.Meta(ge=0)]
    gates: tuple[GateReading, ...]


class WorkerState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What one worker says of itself on the topic beside, whose records are compacted; the key is its member id in the group.

    Attributes:
        member: The member id.
        host: Its host's name, for people.
        version: The version of its package.
        epoch: The epoch that it speaks of: that of a plan, or the newest that it knows.
        state: `decides` by the epoch's champion, is `ready` for the plan, or has `refused` it.
        digest: The bundle of that epoch's champion.
        arithmetic: How its processor computes that bundle, where it is otherwise than on the machine that made it.
        why: Why it refused.
        at: When it said so.
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
    How far one worker may have begun the events of an epoch, on the topic of the workers' words. It is written before these events begin.

    Attributes:
        worker: A name that no other process has.
        epoch: The newest epoch that the worker knew.
        reach: In each partition in which it began one: the worker has begun no event of the epoch at or above the offset.
    """

    worker: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    epoch: Epoch
    reach: tuple[Mark, ...]

    @property
    def key(self) -> bytes:
        """The record's key, under which the topic keeps the newest one."""
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
    Read one record of the topic; None for one that no version has written, and that means nothing.

    Raises:
        RolloutRecordError: It is a record of a rollout, and this version cannot read it.
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
    """A worker's word on itself; None for a record of a later version, or of nobody: its member then counts as silent."""
    try:
        return msgspec.json.decode(record.value or b"", type=WorkerState)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def read_worker_reach(record: Record) -> WorkerReach | None:
    """How far a worker may have come; None for a record of another kind, or under a key that is not its own."""
    try:
        found = msgspec.json.decode(record.value or b"", type=WorkerReach)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if record.key == found.key else None


def write_rollout(record: RolloutRecord) -> bytes:
    """
    The value of a record; it has no key.

    Raises:
        RolloutRecordError: A field has a value that no reader would take.
    """
    value = msgspec.json.encode(record)
    try:
        _DECODER.decode(value)
    except msgspec.DecodeError as error:
        msg = f"a record `{type(record).__name__.lower()}` is not written, since no reader would take it ({fault(error)}). Next: correct that field."
        raise RolloutRecordError(msg) from error
    return value
