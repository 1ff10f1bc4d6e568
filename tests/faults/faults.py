"""The catalogue of faults: to one worker, to all of them, to the network and to the brokers."""

from enum import StrEnum

from tests.faults.worker.failpoints import Point


class Fault(StrEnum):
    """A class of faults. Those that break inside a worker have the names of their `Point`."""

    # To one worker, from outside.
    KILL = "kill -9"
    TERM = "SIGTERM"
    TERM_TWICE = "SIGTERM twice"
    FREEZE = "SIGSTOP beyond the session"
    SHORT_FREEZE = "SIGSTOP for 2 s"
    # To the group.
    JOIN = "a worker joins"
    LEAVE = "a worker leaves"
    TERM_TOGETHER = "SIGTERM to two workers at once"
    KILL_ALL = "kill -9 of all workers"
    # Inside one worker.
    EXCEPTION = "exception behind the batch"
    MODEL_FAILS_ONCE = "the model raises once"
    PRODUCE_FAILURE = "a record fails late"
    PRODUCE_REFUSED = "a record is refused at once"
    PRODUCE_SILENCE = "a record is never confirmed"
    KILL_BEFORE_DECIDING = "kill -9 before the model"
    KILL_BEFORE_SENDING = "kill -9 before the sends"
    KILL_AMONG_SENDS = "kill -9 between two sends"
    FREEZE_AMONG_SENDS = "SIGSTOP between two sends, beyond the session"
    KILL_BEFORE_ACKNOWLEDGING = "kill -9 before the acknowledgement"
    KILL_BEFORE_COMMITTING = "kill -9 before the commit"
    ABORT = "native abort in the model"
    OUT_OF_MEMORY = "out of memory in the model"
    HANG = "the model hangs"
    SLOW_MODEL = "the model is slower than the session"
    BLOCKED_LOOP = "the event loop is blocked beyond the session"
    # To the network between workers and brokers.
    RESET = "connections reset"
    CUT = "connections refused for 5 s"
    SILENT = "nothing passes for 8 s"
    DEAF = "no answers pass for 8 s"
    SLOW = "300 ms of delay for 6 s"
    NARROW = "64 KiB/s for 6 s"
    # To a broker, or all.
    BROKER_KILL = "kill -9 of a broker"
    BROKER_STOP = "restart of a broker in order"
    BROKER_FREEZE = "SIGSTOP of a broker for 5 s"
    COORDINATOR_KILL = "kill -9 of the group's coordinator"
    DISK_FULL = "a broker's disk is full"
    OUTAGE = "kill -9 of all brokers"
    # To the topic.
    PARTITIONS = "partitions added"
    # To a run that changes the model: the broker that says where epochs begin, and the controller.
    LEADER_KILL = "kill -9 of the leader of the rollout"
    CONTROLLER_KILL = "kill -9 of the controller between two steps"
    CONTROLLER_FREEZE = "SIGSTOP of the controller while another one acts"
    CONTROLLER_INTERRUPT = "SIGINT to the controller between two steps"
    BUNDLE_HANGS = "a bundle that does not end to load is promoted"


POINTS = {fault: Point[fault.name] for fault in Fault if fault.name in Point.__members__}
GROUP = frozenset({Fault.JOIN, Fault.LEAVE, Fault.TERM_TOGETHER, Fault.KILL_ALL})
NETWORK = frozenset({Fault.RESET, Fault.CUT, Fault.SILENT, Fault.DEAF, Fault.SLOW, Fault.NARROW})
BROKERS = frozenset(
    {
        Fault.BROKER_KILL,
        Fault.BROKER_STOP,
        Fault.BROKER_FREEZE,
        Fault.COORDINATOR_KILL,
        Fault.DISK_FULL,
        Fault.OUTAGE,
        Fault.LEADER_KILL,
    }
)
CONTROLLERS = frozenset({Fault.CONTROLLER_KILL, Fault.CONTROLLER_FREEZE, Fault.CONTROLLER_INTERRUPT, Fault.BUNDLE_HANGS})
# SIGKILL of one worker, wherever it stands.
KILLS = frozenset({Fault.KILL} | {fault for fault in POINTS if fault.name.startswith("KILL_")})
# These need no brokers of the run's own.
OF_WORKERS = tuple(fault for fault in Fault if fault not in NETWORK | BROKERS | CONTROLLERS | {Fault.PARTITIONS})
# Those of a run without changes of the model, and of one with them.
OF_A_STREAM = tuple(fault for fault in Fault if fault not in CONTROLLERS | {Fault.LEADER_KILL})
OF_EPOCHS = (
    Fault.KILL,
    Fault.FREEZE,
    Fault.FREEZE_AMONG_SENDS,
    Fault.KILL_BEFORE_DECIDING,
    Fault.KILL_BEFORE_SENDING,
    Fault.KILL_AMONG_SENDS,
    Fault.KILL_BEFORE_COMMITTING,
    Fault.KILL_ALL,
    Fault.TERM,
    Fault.BROKER_KILL,
    Fault.BROKER_STOP,
    Fault.COORDINATOR_KILL,
    Fault.LEADER_KILL,
    Fault.SILENT,
    Fault.PARTITIONS,
    Fault.CONTROLLER_KILL,
    Fault.CONTROLLER_FREEZE,
    Fault.CONTROLLER_INTERRUPT,
    Fault.BUNDLE_HANGS,
)
# Without transactions the order of first outcomes may break by an event each: one record is lost on its way while later ones arrive,
# or a worker that was thought dead writes beside its successor.
DISORDERS = frozenset(
    {
        Fault.PRODUCE_FAILURE,
        Fault.PRODUCE_SILENCE,
        Fault.FREEZE,
        Fault.FREEZE_AMONG_SENDS,
        Fault.BLOCKED_LOOP,
        Fault.CUT,
        Fault.SILENT,
        Fault.DEAF,
    }
)
# A worker answers these faults by ending itself.
ANSWERED_BY_EXIT = frozenset(
    {
        Fault.EXCEPTION,
        Fault.PRODUCE_FAILURE,
        Fault.PRODUCE_REFUSED,
        Fault.PRODUCE_SILENCE,
        Fault.OUT_OF_MEMORY,
        Fault.HANG,
    }
)
