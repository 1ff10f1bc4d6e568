"""
The demo's rollout: a worse bundle decides at first; the bundle of the settings is shadowed, tried on a share and promoted; a worse one is tried and goes back.

Everything of the rollout is real: the workers' bundles, the commands, which run as a person gives them, and the verdicts of `tagstream rollout watch`.
Two things are made for it, and the demo says so. The worse bundles are that of the settings with the names of two labels exchanged. The people are a script
that answers fast and is right in nineteen of twenty, and they are asked about more events than usual, so that a proof takes minutes and not days.
"""

import asyncio
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tagstream.model_export.bundle import bundle as bundles
from tagstream.model_export.bundle import manifest as manifests
from tagstream.model_export.bundle.bundle import Bundle
from tagstream.stream.broker.ports import free_ports
from tagstream.stream.broker.processes import Processes, tail
from tagstream.stream.contract.rollout_records import Verdict
from tagstream.stream.demo.program import COMMAND, Program, ProgramError, environment
from tagstream.stream.rollout.history import history
from tagstream.stream.rollout.verdict import RolloutStep
from tagstream.stream.settings.settings import Settings

# One in twenty audits shows enough disagreements in a minute: each answer there weighs twenty.
AUDIT_RATE = 0.05
ANSWER_SECONDS = 0.1
ORDINARY_SECONDS = 8.0
SHARE, MARGIN = 0.2, 0.05
LOOK_SECONDS = 3.0
# In shadow it is shown that the two differ; the proof comes with the canary.
LEAST_IN_SHADOW = 100
# A verdict takes a minute or two; a busy machine more.
ACT_SECONDS = 600.0
STOP_SECONDS = 40.0
ACTS = 5
EVENTS_IN_SHADOW = "tagstream_shadow_events_total"
EVIDENCE, CHANGES = "tagstream_controller_evidence_events", "tagstream_controller_changes_total"


class StoryError(Exception):
    """The story did not go on as it should: the message says where."""


class _StoppedError(Exception):
    """The demo ends before the story does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """
    The bundles of the story.

    Attributes:
        old: Decides at first.
        new: That of the settings.
        worse: Comes last, and goes back.
    """

    old: Path
    new: Path
    worse: Path


def cast(settings: Settings, folder: Path) -> Cast:
    """
    Make the two worse bundles.

    Args:
        settings: Name the bundle.
        folder: Where they are written.

    Raises:
        BundleError: The bundle cannot be trusted.
    """
    new = bundles.read(settings.bundle)
    first, second, *_ = labels = new.manifest.labels
    return Cast(
        old=exchanged(new, folder / "old-bundle", (labels[-2], labels[-1]), "old"),
        new=settings.bundle,
        worse=exchanged(new, folder / "worse-bundle", (first, second), "worse"),
    )


def exchanged(bundle: Bundle, folder: Path, pair: tuple[str, str], suffix: str) -> Path:
    """
    The same network with the names of two labels exchanged, as when the list of labels is in another order after the training.

    Args:
        bundle: A verified bundle.
        folder: Of the new bundle.
        pair: The two labels.
        suffix: Behind the version.

    Returns:
        The folder.
    """
    names = dict(zip(pair, reversed(pair), strict=True))
    quoted = {msgspec.json.encode(name): msgspec.json.encode(other) for name, other in names.items()}
    pattern = re.compile(b"|".join(map(re.escape, quoted)))
    renamed = pattern.sub(lambda found: quoted[found[0]], manifests.render(bundle.manifest))
    manifest = msgspec.json.decode(renamed, type=manifests.Manifest)
    manifest = msgspec.structs.replace(manifest, version=f"{manifest.version}-{suffix}")
    before, after = ("\n".join(labels).encode() for labels in (bundle.manifest.labels, manifest.labels))
    # The graph says its labels too; both lists have the same length, so that no length in it changes.
    return bundles.write(folder, manifest=manifest, model=bundle.model.replace(before, after), tokenizer=bundle.tokenizer).path


def with_rollout(settings: Settings, old: Path, folder: Path) -> Settings:
    """The settings of the worker and of everything beside it: the old bundle, a place for bundles, and more audits than usual."""
    # Their own names of topics follow from the group, which is the demo's.
    place = type(settings.rollout)(bundles=str(folder / "bundles")).of_group(settings.group)
    return settings.model_copy(update={"bundle": old, "rollout": place, "audit_rate": AUDIT_RATE})


class Story:
    """
    The acts, one after another, for a thread of its own.

    Attributes:
        phase: What goes on now.
        failed: Why it did not come to its end; empty if it did, or was told to stop.
        ended: Nothing more will come.
    """

    def __init__(self, settings: Settings, actors: Cast, *, folder: Path, processes: Processes) -> None:
        """
        Begin nothing yet.

        Args:
            settings: Those of `with_rollout`.
            actors: The bundles.
            folder: Of the demo, for logs.
            processes: Ends what is started, if this process is killed.
        """
        self._settings = settings
        self._actors = actors
        self._folder = folder
        self._processes = processes
        self._versions = {path: bundles.read_manifest(path)[0].version for path in (actors.old, actors.new, actors.worse)}
        self._over = threading.Event()
        self._tell: Callable[[str], None] = lambda _: None
        self._started: list[Program] = []
        self.phase = f"1 of {ACTS}: {self._versions[actors.old]} decides"
        self.failed = ""
        self.ended = False

    def run(self, over: threading.Event, tell: Callable[[str], None]) -> None:
        """Tell it line by line, until `over` is set; what it has started has ended then."""
        self._over, self._tell = over, tell
        try:
            self._acts()
        except _StoppedError:
            pass
        except (StoryError, ProgramError) as error:
            self.failed = str(error)
        finally:
            # At once: each may take its time.
            for program in self._started:
                program.ask_to_end()
            unclean = [words for program in reversed(self._started) if (words := program.stop())]
            self.failed = self.failed or "; ".join(unclean)
            self.ended = True

    def _acts(self) -> None:
        actors, versions = self._actors, self._versions
        self._tell(
            f"{versions[actors.old]} decides. It is {versions[actors.new]} with the names of two labels exchanged, made for this demo; so is the "
            f"bundle that comes last. People are a script: up to {1 / ANSWER_SECONDS:.0f} answers a second, one in twenty wrong, on {AUDIT_RATE:.0%} of "
            "what is published beside all that goes to review. Bundles, commands and verdicts are real."
        )
        self._tell("$ tagstream rollout watch --every 5")
        controller = self._program("controller", "rollout", "watch", "--every", "5")
        self._sleep(ORDINARY_SECONDS)
        self._act(2, actors.new, RolloutStep.PROMOTE, controller)
        self._tell(f"{versions[actors.new]} decides every event from its place in the log on. No worker was started again.")
        self._act(4, actors.worse, RolloutStep.ROLL_BACK, controller)
        self._tell(f"{versions[actors.new]} decides all events again. Nobody had to do anything.")
        self.phase = "the rollout is told"

    def _act(self, number: int, bundle: Path, wanted: RolloutStep, controller: Program) -> None:
        """One bundle: in shadow, then on a share of the keys, until the controller has ended the canary."""
        version = self._versions[bundle]
        self._tell(
            f"$ tagstream rollout shadow {bundle.name} --sample 1        # decides all events too, and publishes nothing"
        )
        shadow = self._program("shadow", "rollout", "shadow", str(bundle), "--sample", "1", "--json")
        self._until(lambda: self._in_shadow(number, version, shadow) >= LEAST_IN_SHADOW, f"{version} in shadow", shadow)
        self._tell(self.phase.partition(": ")[2])
        before = sum(controller.figures(CHANGES).values())
        self.phase = f"{number + 1} of {ACTS}: {version} begins to decide {SHARE:.0%} of the keys"
        self._canary(bundle)
        self._until(
            lambda: self._has_verdict(number + 1, version, controller, before), f"a verdict on {version}", controller, shadow
        )
        entries, _ = asyncio.run(history(self._settings))
        last = [entry.record for entry in entries if entry.counts and isinstance(entry.record, Verdict)][-1]
        self._tell(f"the controller: {last.why}")
        if last.decision != wanted:
            msg = f"the verdict on {version} is {last.decision}, and {wanted} was to be shown"
            raise StoryError(msg)
        self._started.remove(shadow)
        if unclean := shadow.stop():
            raise StoryError(unclean)

    def _in_shadow(self, number: int, version: str, shadow: Program) -> int:
        """Show how the two compare; so many events are compared."""
        counts = shadow.figures(EVENTS_IN_SHADOW)
        alike, differ = (int(counts.get(f'{{result="{result}"}}', 0)) for result in ("agreed", "disagreed"))
        self.phase = f"{number} of {ACTS}: {version} in shadow: {alike + differ} compared, {differ} with another tag"
        return alike + differ

    def _canary(self, bundle: Path) -> None:
        words = ("rollout", "canary", str(bundle), "--share", f"{SHARE:g}", "--margin", f"{MARGIN:g}")
        self._tell(
            f"$ tagstream rollout canary {bundle.name} {' '.join(words[3:])}        # an answer counts half a minute later"
        )
        env = environment(self._settings, self._folder)
        process = self._processes.start([*COMMAND, *words], env=env, log_file=self._folder / "canary.log")
        self._until(lambda: not process.running(), "the end of the command")
        if process.exit_code:
            msg = f"`tagstream rollout canary` ended with {process.exit_code}; {tail(process)}"
            raise StoryError(msg)
        for line in process.output().splitlines():
            self._tell(line)

    def _has_verdict(self, number: int, version: str, controller: Program, before: float) -> bool:
        """Show the evidence; whether the controller has made more than `before` changes."""
        seen = controller.figures(EVIDENCE)
        compared, differ, asked, answered = (
            int(seen.get(f'{{kind="{kind}"}}', 0)) for kind in ("compared", "disagreed", "asked", "answered")
        )
        self.phase = f"{number} of {ACTS}: {version}: {compared} compared, {differ} differ, {answered} of {asked} answered"
        return sum(controller.figures(CHANGES).values()) > before

    def _program(self, name: str, *words: str) -> Program:
        port = free_ports(1)[0]
        program = Program(
            name,
            [*COMMAND, *words, "--metrics-port", str(port)],
            env=environment(self._settings, self._folder),
            address=f"http://{self._settings.metrics_host}:{port}",
            processes=self._processes,
            folder=self._folder,
            stop_seconds=STOP_SECONDS,
        )
        self._started.append(program)
        return program

    def _until(self, happened: Callable[[], bool], what: str, *programs: Program) -> None:
        """Wait for it, while these programs run."""
        until = time.monotonic() + ACT_SECONDS
        while not happened():
            for program in programs:
                program.check()
            if time.monotonic() > until:
                msg = f"{what} did not come within {ACT_SECONDS:.0f} s: {self.phase}"
                raise StoryError(msg)
            self._sleep(LOOK_SECONDS)

    def _sleep(self, seconds: float) -> None:
        if self._over.wait(seconds):
            raise _StoppedError
