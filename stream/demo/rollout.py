"""
The demo's rollout, in five acts. At first a worse bundle decides. The bundle of the settings then runs in shadow, decides a share of the
events as a canary, and is promoted. Another worse bundle goes the same way and is rolled back.

The bundles, the commands and the verdicts of `tagstream rollout watch` are real. Two things are made for the demo, and the demo says so.
Each worse bundle is the bundle of the settings with the names of two labels exchanged. The reviewer is a script that answers fast, and
19 of 20 answers are right. More events than usual are audited, so that a proof takes minutes instead of days.
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

# The share of published decisions that are audited. One in twenty gives enough disagreements in a minute; each such answer weighs twenty.
AUDIT_RATE = 0.05
ANSWER_SECONDS = 0.1
ORDINARY_SECONDS = 8.0
SHARE, MARGIN = 0.2, 0.05
LOOK_SECONDS = 3.0
# The shadow run only shows that the two models differ. The proof follows with the canary.
LEAST_IN_SHADOW = 100
# A verdict takes a minute or two, and longer on a busy machine.
ACT_SECONDS = 600.0
STOP_SECONDS = 40.0
ACTS = 5
EVENTS_IN_SHADOW = "tagstream_shadow_events_total"
EVIDENCE, CHANGES = "tagstream_controller_evidence_events", "tagstream_controller_changes_total"


class StoryError(Exception):
    """A step of the rollout failed. The message names the step."""


class _StoppedError(Exception):
    """The demo is stopped before the end of the rollout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """
    The folders of the rollout's three bundles.

    Attributes:
        old: The worse bundle that decides at first.
        new: The bundle of the settings.
        worse: The worse bundle that comes last and is rolled back.
    """

    old: Path
    new: Path
    worse: Path


def cast(settings: Settings, folder: Path) -> Cast:
    """
    Make the two worse bundles.

    Args:
        settings: The settings with the bundle.
        folder: The folder to which the two bundles are written.

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
    Write a bundle with the same network and the names of two labels exchanged, as if the labels had been reordered after the training.

    Args:
        bundle: A verified bundle.
        folder: The folder of the new bundle.
        pair: The two labels.
        suffix: Added to the version.

    Returns:
        The folder of the new bundle.
    """
    names = dict(zip(pair, reversed(pair), strict=True))
    quoted = {msgspec.json.encode(name): msgspec.json.encode(other) for name, other in names.items()}
    pattern = re.compile(b"|".join(map(re.escape, quoted)))
    renamed = pattern.sub(lambda found: quoted[found[0]], manifests.render(bundle.manifest))
    manifest = msgspec.json.decode(renamed, type=manifests.Manifest)
    manifest = msgspec.structs.replace(manifest, version=f"{manifest.version}-{suffix}")
    before, after = ("\n".join(labels).encode() for labels in (bundle.manifest.labels, manifest.labels))
    # The graph contains the labels too. Both lists have the same number of bytes, so that no length field in the graph changes.
    return bundles.write(folder, manifest=manifest, model=bundle.model.replace(before, after), tokenizer=bundle.tokenizer).path


def with_rollout(settings: Settings, old: Path, folder: Path) -> Settings:
    """Return the settings of all programs of the demo: the old bundle, a folder for the rollout's bundles, and more audits than usual."""
    # The rollout's topic names are derived from the demo's group.
    place = type(settings.rollout)(bundles=str(folder / "bundles")).of_group(settings.group)
    return settings.model_copy(update={"bundle": old, "rollout": place, "audit_rate": AUDIT_RATE})


class Story:
    """
    The acts of the rollout, one after another, for a thread of its own.

    Attributes:
        phase: A line on the current act.
        failed: Why the rollout failed; empty if it succeeded or was stopped.
        ended: True once the rollout is over.
    """

    def __init__(self, settings: Settings, actors: Cast, *, folder: Path, processes: Processes) -> None:
        """
        Read the versions of the bundles; `run` starts the rollout.

        Args:
            settings: The settings from `with_rollout`.
            actors: The bundles.
            folder: The demo's folder, for logs.
            processes: Starts processes, and ends them if this process is killed.
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
        """Run the acts until `over` is set, and call `tell` with each line. On return, every program that this method started has ended."""
        self._over, self._tell = over, tell
        try:
            self._acts()
        except _StoppedError:
            pass
        except (StoryError, ProgramError) as error:
            self.failed = str(error)
        finally:
            # All programs get the signal first, because each may take a while to end.
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
        """Run one bundle in shadow, then as a canary on a share of the keys, until the controller has ended the canary."""
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
        """Show the comparison of the two models, and return the number of compared events."""
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
        """Show the evidence. Return True if the controller has made more than `before` changes."""
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
        """Wait until `happened()` is true. Meanwhile check that these programs are running."""
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
