"""The faults themselves: how each is inflicted on workers, network and brokers, and how long it lasts."""

import random
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tagstream.stream.settings.settings import Settings
from tests.faults.cluster.brokers import StruckCluster
from tests.faults.cluster.proxy import Weather
from tests.faults.epochs.promoter import Promoter
from tests.faults.faults import BROKERS, CONTROLLERS, GROUP, NETWORK, POINTS, Fault
from tests.faults.worker.fleet import Fleet, Member

SHORT_FREEZE_SECONDS = 2.0
# Beyond the session: so long that a successor has the partitions and works before the frozen worker thaws.
FREEZE_BEYOND_SECONDS = 6.0
# Between two sends also until a successor has moved on in all that the frozen one had, but no longer than this, and than a worker with
# a patience of 30 s takes.
FREEZE_LATER_SECONDS = 10.0
WEATHER = {
    Fault.CUT: (Weather.CUT, 5.0),
    Fault.SILENT: (Weather.SILENT, 8.0),
    Fault.DEAF: (Weather.DEAF, 8.0),
    Fault.SLOW: (Weather.SLOW, 6.0),
    Fault.NARROW: (Weather.NARROW, 6.0),
}
BROKER_DOWN_SECONDS = 4.0
OUTAGE_SECONDS = 3.0


@dataclass(slots=True, kw_only=True)
class _Frozen:
    """
    When a worker is thawed: not before, and if not all its partitions have moved on since its session was over, not before `at_most`.

    `committed` is None until its session is over.
    """

    session_over: float
    not_before: float
    at_most: float
    partitions: frozenset[int]
    committed: Mapping[int, int] | None = None


class Striker:
    """
    Strikes, and thaws the workers that it has frozen.

    Args:
        settings: The session timeout of the workers, and their group.
        fleet: The workers.
        cluster: Brokers and network; None where no fault of theirs is planned.
        chance: Chooses the broker.
        promoter: Has the controllers; None where no model is changed.
    """

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        cluster: StruckCluster | None,
        chance: random.Random,
        promoter: Promoter | None = None,
    ) -> None:
        """Start with no worker frozen."""
        self._settings = settings
        self._fleet = fleet
        self._cluster = cluster
        self._chance = chance
        self._promoter = promoter
        self._frozen: dict[int, _Frozen] = {}
        self._now_seconds = 0.0

    @property
    def has_frozen(self) -> bool:
        """Whether a worker is frozen."""
        return bool(self._frozen)

    def thaw_all(self) -> None:
        """Let every frozen worker go on."""
        for number in list(self._frozen):
            self._fleet.thaw(self._fleet.members[number])
        self._frozen.clear()

    def do(self, fault: Fault, victims: Sequence[Member], now_seconds: float) -> None:
        """Strike. `now_seconds` is the time of the run; PARTITIONS is not done here."""
        self._now_seconds = now_seconds
        if fault in NETWORK:
            self._strike_network(fault)
        elif fault in BROKERS:
            self._strike_broker(fault)
        elif fault in GROUP:
            self._strike_group(fault, victims)
        elif fault in CONTROLLERS:
            self._strike_controller(fault)
        else:
            self._strike_worker(fault, victims[0])

    def _strike_worker(self, fault: Fault, victim: Member) -> None:
        match fault:
            case Fault.KILL:
                self._fleet.kill(victim)
            case Fault.TERM:
                self._fleet.terminate(victim)
            case Fault.TERM_TWICE:
                self._fleet.terminate(victim)
                self._fleet.terminate(victim)
            case Fault.FREEZE:
                self._fleet.freeze(victim)
                self._thaw_after(victim, self._settings.session_timeout_seconds + FREEZE_BEYOND_SECONDS)
            case Fault.SHORT_FREEZE:
                self._fleet.freeze(victim)
                self._thaw_after(victim, SHORT_FREEZE_SECONDS)
            case Fault.FREEZE_AMONG_SENDS:
                self._fleet.arm(victim, POINTS[fault])
                self._thaw_after(
                    victim, self._settings.session_timeout_seconds + FREEZE_BEYOND_SECONDS, later_seconds=FREEZE_LATER_SECONDS
                )
            case _:
                self._fleet.arm(victim, POINTS[fault])

    def _strike_group(self, fault: Fault, victims: Sequence[Member]) -> None:
        match fault:
            case Fault.JOIN:
                self._fleet.add(max(self._fleet.members) + 1)
            case Fault.LEAVE:
                self._fleet.terminate(victims[0], leave=True)
            case Fault.TERM_TOGETHER:
                for victim in victims:
                    self._fleet.terminate(victim)
            case _:
                for victim in victims:
                    self._fleet.kill(victim)

    def _strike_network(self, fault: Fault) -> None:
        cluster = self._cluster_of(fault)
        if fault is Fault.RESET:
            cluster.reset()
            return
        weather, seconds = WEATHER[fault]
        cluster.turn(weather, seconds=seconds)

    def _strike_broker(self, fault: Fault) -> None:
        cluster = self._cluster_of(fault)
        node = self._chance.randint(1, cluster.nodes)
        match fault:
            case Fault.BROKER_KILL:
                cluster.kill(node, seconds=BROKER_DOWN_SECONDS)
            case Fault.BROKER_STOP:
                cluster.restart(node)
            case Fault.BROKER_FREEZE:
                cluster.freeze(node, seconds=BROKER_DOWN_SECONDS + 1)
            case Fault.COORDINATOR_KILL:
                cluster.kill(cluster.coordinator(self._settings.group), seconds=BROKER_DOWN_SECONDS)
            case Fault.LEADER_KILL:
                cluster.kill(cluster.leader(self._settings.rollout.topic), seconds=BROKER_DOWN_SECONDS)
            case Fault.DISK_FULL:
                cluster.fill_disk(node, seconds=BROKER_DOWN_SECONDS)
            case _:
                cluster.outage(seconds=OUTAGE_SECONDS)

    def _strike_controller(self, fault: Fault) -> None:
        if self._promoter is None:
            msg = f"{fault} was planned in a run that does not change the model"
            raise ValueError(msg)
        if fault is Fault.BUNDLE_HANGS:
            self._promoter.hang()
            return
        signals = {
            Fault.CONTROLLER_KILL: signal.SIGKILL,
            Fault.CONTROLLER_FREEZE: signal.SIGSTOP,
            Fault.CONTROLLER_INTERRUPT: signal.SIGINT,
        }
        self._promoter.strike(signals[fault])

    def _cluster_of(self, fault: Fault) -> StruckCluster:
        if self._cluster is None:
            msg = f"{fault} was planned on brokers that are not the harness's own"
            raise ValueError(msg)
        return self._cluster

    def _thaw_after(self, victim: Member, seconds: float, later_seconds: float = 0.0) -> None:
        now = self._now_seconds
        self._frozen[victim.number] = _Frozen(
            session_over=now + self._settings.session_timeout_seconds,
            not_before=now + seconds,
            at_most=now + seconds + later_seconds,
            partitions=victim.partitions or frozenset(),
        )

    def thaw(
        self, now_seconds: float, committed: Mapping[int, int], have_moved: Callable[[frozenset[int], Mapping[int, int]], bool]
    ) -> bool:
        """
        Thaw the workers whose time has come.

        Args:
            now_seconds: The time of the run.
            committed: The group's offsets now.
            have_moved: Were some partitions committed beyond earlier offsets?

        Returns:
            Whether one was thawed.
        """
        thawed = False
        for number, frozen in list(self._frozen.items()):
            if frozen.committed is None and now_seconds > frozen.session_over:
                frozen.committed = dict(committed)
            if now_seconds > frozen.at_most or (
                now_seconds > frozen.not_before and have_moved(frozen.partitions, frozen.committed or {})
            ):
                del self._frozen[number]
                self._fleet.thaw(self._fleet.members[number])
                thawed = True
        return thawed
