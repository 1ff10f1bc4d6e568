"""`python -m tests.mutants`: thirty-three faults, most of them of the core, one at a time in a copy of the working tree, and the test that finds each.

Prints a line for each mutant. Exit code 1 if a mutant survives, if its text is not there exactly once, or if its test fails without it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
# A mutant may make its test hang: pytest ends the test after the first, in seconds, and the second bounds a run of pytest.
TEST_SECONDS, RUN_SECONDS = 120, 600
# Exit codes of pytest, and one for a run that did not end.
PASSED, FAILED, NO_END = 0, 1, -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """
    A fault, and the test that must find it.

    Attributes:
        name: For the command line.
        file: Relative to the root.
        old: A text that is in the file exactly once.
        new: The text in its place.
        breaks: The fault of a worker with this mutant, in one sentence.
        test: The fastest test that fails with this mutant, as `path::name`.
    """

    name: str
    file: str
    old: str
    new: str
    breaks: str
    test: str


MUTANTS = (
    # --- the contract ---
    Mutant(
        name="key",
        file="stream/contract/outcome.py",
        old="key=event.record.key if event.record.key is not None else event.id.encode(),",
        new="key=event.id.encode(),",
        breaks="An outcome leaves the partition of its producer's key.",
        test="tests/unit/stream/contract/test_outcomes.py::test_the_key_is_the_producers_or_else_the_events_id",
    ),
    Mutant(
        name="headers",
        file="stream/contract/outcome.py",
        old="headers=outcome_headers(event.record.headers, destination, decision.prediction_id, at, limits),",
        new="headers=(),",
        breaks="An outcome drops the producer's headers.",
        test="tests/unit/stream/contract/test_outcomes.py::"
        "test_headers_go_on_except_those_that_would_call_the_outcome_the_producers_cloudevent",
    ),
    Mutant(
        name="dedupe",
        file="stream/contract/distinct.py",
        old="if len(self._seen) > self._remember:",
        new="if len(self._seen) >= self._remember:",
        breaks="A consumer's memory of outcomes forgets one too early, and takes a repetition for a new outcome.",
        test="tests/unit/stream/contract/test_distinct.py::test_a_repetition_is_known_within_the_bound_and_not_beyond",
    ),
    Mutant(
        name="signature",
        file="stream/contract/answers.py",
        old="return not self.keys or any(hmac.compare_digest(given, _signature(key, record)) for key in self.keys)",
        new="return not self.keys or bool(given)",
        breaks="Any signature makes a person's answer a decision.",
        test="tests/unit/stream/contract/test_signature.py::test_a_signature_is_of_one_key_and_one_value",
    ),
    # --- the decision ---
    Mutant(
        name="threshold",
        file="stream/decide/pipeline.py",
        old="prediction.confidence < asked_below:",
        new="prediction.confidence <= asked_below:",
        breaks="An event that just reaches its threshold goes to a person.",
        test="tests/unit/stream/decide/test_decider.py::test_the_threshold_of_the_predicted_label_is_applied_and_published",
    ),
    Mutant(
        name="blame",
        file="stream/decide/pipeline.py",
        old="if failures < self._attempts:",
        new="if failures < 1:",
        breaks="An event becomes a dead letter when the model fails on it for a moment.",
        test="tests/unit/stream/decide/test_isolation.py::test_a_passing_failure_blames_no_event",
    ),
    Mutant(
        name="repeats",
        file="stream/decide/repeats.py",
        old='hashlib.blake2b(f"{model} {text}".encode()',
        new='hashlib.blake2b(f"{text}".encode()',
        breaks="A new model gives the old model's answer to a text that comes again.",
        test="tests/unit/stream/decide/test_repeats.py::test_another_model_does_not_know_the_texts_of_the_first",
    ),
    Mutant(
        name="labels",
        file="model_export/bundle/model.py",
        old="label=labels[probabilities.index(confidence)],",
        new="label=sorted(labels)[probabilities.index(confidence)],",
        breaks="The labels of a bundle are read in another order than the network has them.",
        test="tests/unit/model_export/bundle/test_prediction.py::test_label_is_the_first_of_the_most_probable",
    ),
    # --- the bundle ---
    Mutant(
        name="sums",
        file="model_export/bundle/bundle.py",
        old="if found != expected:",
        new="if len(found) != len(str(expected)):",
        breaks="A bundle with an altered byte is loaded.",
        test="tests/unit/model_export/bundle/test_bundle.py::test_one_changed_byte_is_refused",
    ),
    Mutant(
        name="bound-of-thresholds",
        file="model_export/bundle/manifest.py",
        old='"threshold.confidence must lie in 0 to 1": 0 <= manifest.threshold.confidence <= 1,',
        new='"threshold.confidence must lie in 0 to 1": 0 <= manifest.threshold.confidence,',
        breaks="A bundle whose threshold no confidence reaches is loaded.",
        test="tests/unit/model_export/bundle/test_bundle.py::test_a_value_that_cannot_work_is_refused",
    ),
    # --- the delivery ---
    Mutant(
        name="unawaited-send",
        file="stream/deliver/delivery.py",
        old="await confirmations.all()",
        new="pass",
        breaks="Known bad: an event is acknowledged before the broker has its outcome.",
        test="tests/unit/stream/deliver/test_order.py::test_no_event_is_acknowledged_before_its_whole_batch_is_confirmed",
    ),
    Mutant(
        name="swallowed-failure",
        file="stream/deliver/delivery.py",
        old="if self._error is not None:\n            raise self._error",
        new="return",
        breaks="Known bad: an outcome that the broker refused counts as confirmed.",
        test="tests/unit/stream/deliver/test_silence_bound.py::test_one_record_that_fails_fails_its_batch_at_once",
    ),
    Mutant(
        name="acknowledged-out-of-order",
        file="stream/deliver/delivery.py",
        old="await before.acknowledged.wait()\n                self._engine.ack(batch)",
        new="self._engine.ack(batch)",
        breaks="Known bad: a later batch is acknowledged while an earlier one is not confirmed.",
        test="tests/unit/stream/deliver/test_order.py::test_a_later_batch_that_is_confirmed_first_waits_for_the_earlier_one",
    ),
    Mutant(
        name="sent-out-of-order",
        file="stream/deliver/delivery.py",
        old="await before.sent.wait()",
        new="pass",
        breaks="Known bad: events of one partition are sent out of order.",
        test="tests/unit/stream/deliver/test_order.py::test_a_batch_that_is_decided_first_is_not_sent_before_the_earlier_one",
    ),
    Mutant(
        name="excuse",
        file="stream/deliver/delivery.py",
        old="if not isinstance(error, InferenceTimeoutError):\n            self._guard.excuse()",
        new="pass",
        breaks="Events are suspected because the broker was silent.",
        test="tests/unit/stream/deliver/crash/test_delivery_poison.py::test_only_a_model_that_hangs_is_blamed_on_events",
    ),
    Mutant(
        name="handed-back",
        file="stream/deliver/batch.py",
        old="if cleared != self._cleared:",
        new="if cleared > self._cleared:",
        breaks="An event of a partition that was handed back is decided here, too.",
        test="tests/unit/stream/deliver/test_batcher.py::test_clear_drops_the_queue_and_the_event_that_waits_for_room",
    ),
    Mutant(
        name="breaker",
        file="stream/deliver/breaker.py",
        old="if len(self._seen) < self._window:",
        new="if len(self._seen) <= self._window:",
        breaks="The circuit breaker never opens.",
        test="tests/unit/stream/deliver/test_breaker.py::test_it_trips_when_the_last_window_holds_more_than_its_share",
    ),
    Mutant(
        name="another-event",
        file="stream/deliver/crash/guard.py",
        old="if suspect.deaths >= self._deaths and suspect.fingerprint == fingerprint(event):",
        new="if suspect.deaths >= self._deaths:",
        breaks="An event is given up for the deaths of another one, which was at its place before the topic was made anew.",
        test="tests/unit/stream/deliver/crash/test_crash_guard.py::test_an_offset_of_a_topic_that_was_made_anew_is_another_event",
    ),
    # --- the worker and the brokers ---
    Mutant(
        name="gap",
        file="stream/worker/consumer.py",
        old="elif committed is None or offset >= committed:\n                break",
        new="elif committed is None and not acknowledged:\n                break",
        breaks="Known bad: a commit passes over a record that is not acknowledged.",
        test="tests/unit/stream/worker/test_committable.py::test_a_commit_ends_at_the_first_record_that_is_not_acknowledged",
    ),
    Mutant(
        name="restarted-agent",
        file="stream/worker/faust_app.py",
        old="agent_supervisor=mode.CrashingSupervisor,",
        new="agent_supervisor=mode.OneForOneSupervisor,",
        breaks="Known bad: Faust restarts an agent behind the batch on which it failed.",
        test="tests/contract/test_agent.py::test_faust_is_configured_as_the_decision_record_says",
    ),
    Mutant(
        name="acks",
        file="stream/worker/faust_app.py",
        old='{"acks": "all", "enable_idempotence": self.idempotent}',
        new='{"acks": 1, "enable_idempotence": self.idempotent}',
        breaks="An outcome counts as confirmed while one broker alone has it.",
        test="tests/contract/test_agent.py::test_the_producer_waits_for_all_replicas",
    ),
    Mutant(
        name="partition",
        file="stream/kafka/partitioner.py",
        old="(murmur2(key) & 0x7FFFFFFF)",
        new="murmur2(key)",
        breaks="A key's outcomes are in another partition than other producers of Kafka choose.",
        test="tests/unit/stream/kafka/test_partitioner.py::test_the_partition_of_a_key_is_that_of_the_library",
    ),
    Mutant(
        name="unfenced",
        file="stream/kafka/transactions.py",
        old="producers = await asyncio.gather(*(self._started(partition) for partition in new))\n"
        "            # Only now: before the fencing, the previous owner could still have committed.\n"
        "            firsts = await asyncio.to_thread(self._committed, new) if new else []",
        new="firsts = await asyncio.to_thread(self._committed, new) if new else []\n"
        "            producers = await asyncio.gather(*(self._started(partition) for partition in new))",
        breaks="Under exactly once, a new owner reads the group's offset while the old one can still move it.",
        test="tests/unit/stream/kafka/test_transactions.py::test_the_offset_is_read_after_every_predecessor_is_fenced",
    ),
    # --- the model of an event ---
    Mutant(
        name="mark",
        file="stream/rollout/epochs.py",
        old="if offset >= first:",
        new="if offset > first:",
        breaks="The first event of an epoch is decided by the model before.",
        test="tests/unit/stream/rollout/test_epochs.py::test_an_epoch_begins_at_its_mark_in_each_partition",
    ),
    Mutant(
        name="closing-does-not-hold",
        file="stream/rollout/epochs.py",
        old="(self.closing is None and all(partition in self._marks for partition in partitions))",
        new="all(partition in self._marks for partition in partitions)",
        breaks="Known bad: events begin between a close and its marks, so that a later mark may give them another model.",
        test="tests/unit/stream/rollout/test_epochs.py::test_between_close_and_marks_no_event_may_begin",
    ),
    Mutant(
        name="says-late",
        file="stream/rollout/gate.py",
        old="await self._reach.extend(epochs, lacking)",
        new="await self._reach.extend(epochs, lacking)\n            return epochs",
        breaks="Known bad: a worker begins events before it has asked again whether the epoch was closed meanwhile.",
        test="tests/unit/stream/rollout/test_protocol.py::test_a_change_within_a_batch_leaves_each_event_one_decider",
    ),
    Mutant(
        name="unfenced-controller",
        file="stream/rollout/controller.py",
        old="await self._topic.fence()\n        self._epochs = await self._topic.read_to_end()",
        new="self._epochs = await self._topic.read_to_end()\n        await self._topic.fence()",
        breaks="Known bad: a controller reads the topic while the one before can still write.",
        test="tests/unit/stream/rollout/test_protocol.py::test_an_event_has_one_decider_whoever_decides_it",
    ),
    # --- viewers' votes ---
    Mutant(
        name="token-of-any-event",
        file="stream/contract/asking.py",
        old="(day, prediction_id.encode(), event_id.encode())",
        new="(day, prediction_id.encode())",
        breaks="The token of one event is taken with the id of another, so that viewers deny what they were not asked about.",
        test="tests/unit/stream/decide/test_asking.py::test_a_token_is_of_one_event_one_decision_and_one_day",
    ),
    Mutant(
        name="two-votes",
        file="stream/review/store/votes.py",
        old='"viewer": report.viewer,',
        new='"viewer": f"{report.viewer} {report.reported_at}",',
        breaks="A viewer who answers twice has two votes.",
        test="tests/unit/stream/review/store/test_votes.py::test_each_viewer_counts_once_whatever_the_order_and_the_repetition",
    ),
    Mutant(
        name="picked",
        file="stream/review/store/store_writer.py",
        old='"in_audit": item.door == "audit", "seen": True}',
        new='"in_audit": item.door != "review", "seen": True}',
        breaks="A decision that viewers deny counts as drawn for an audit, so that their choice enters live quality.",
        test="tests/unit/stream/review/store/test_votes.py::test_no_vote_enters_the_estimate",
    ),
    # --- settings ---
    Mutant(
        name="secret",
        file="stream/settings/security.py",
        old="if key not in FILES_OF_SECRETS or path.exists():",
        new="if key in FILES_OF_SECRETS or path.exists():",
        breaks="A password that was set in place of its file is printed.",
        test="tests/unit/stream/settings/test_security.py::test_a_password_in_the_place_of_its_file_is_not_shown",
    ),
    # --- monitoring ---
    Mutant(
        name="adwin",
        file="monitoring/drift/adwin.py",
        old="bound = math.sqrt(spread * weight) + 2.0 / 3.0 * chance * weight",
        new="bound = math.sqrt(spread * weight)",
        breaks="ADWIN's bound is too low, and ordinary noise is a change.",
        test="tests/unit/monitoring/drift/test_adwin.py::test_it_detects_where_river_detects_and_keeps_the_same_window",
    ),
    Mutant(
        name="ages",
        file="monitoring/metrics/metrics.py",
        old="fresh = [one for one in timed if one >= self._group_began_ms]",
        new="fresh = timed",
        breaks="The backlog that a new group reads makes every latency look like days.",
        test="tests/unit/monitoring/metrics/test_metrics.py::test_events_older_than_the_group_have_no_age_and_are_counted_apart",
    ),
)


def tried(mutants: Sequence[Mutant], root: Path) -> bool:
    """
    Apply each mutant to a copy of the tree, run its test there, and print what came of it.

    Args:
        mutants: 1 or more.
        root: The tree; it is not changed.

    Returns:
        Whether every mutant was killed, and every test passes without it.
    """
    with tempfile.TemporaryDirectory(prefix="tagstream-mutants-") as folder:
        tree = Path(folder) / "tree"
        # No name that begins with a dot: environments, caches, git. The links of the package `tagstream` stay links.
        shutil.copytree(root, tree, symlinks=True, ignore=shutil.ignore_patterns(".*", "build", "dist", "__pycache__"))
        code, said = _run(tree, *dict.fromkeys(mutant.test for mutant in mutants))
        if code != PASSED:
            _say(f"{said}\nwithout a mutant the tests do not pass: pytest ended with {code}")
            return False
        fates = []
        for mutant in mutants:
            fates.append(_fate(mutant, tree))
            _say(f"{fates[-1]:9}{mutant.name}: {mutant.breaks} {mutant.test}")
    _say(f"{fates.count('killed')} of {len(fates)} killed")
    return set(fates) == {"killed"}


def _fate(mutant: Mutant, tree: Path) -> str:
    file = tree / mutant.file
    text = file.read_text(encoding="utf-8")
    if (count := text.count(mutant.old)) != 1:
        return f"its text is {count} times in {mutant.file} "
    _write(file, text.replace(mutant.old, mutant.new))
    code, said = _run(tree, mutant.test)
    _write(file, text)
    fate = {PASSED: "survived", FAILED: "killed"}.get(code)
    return fate or f"{said}\npytest ended with {code} "


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    # Python takes bytecode for current by the second and the size of its file, which may both be those of the text before.
    shutil.rmtree(file.parent / "__pycache__", ignore_errors=True)


def _run(tree: Path, *tests: str) -> tuple[int, str]:
    """The exit code of pytest, and its output."""
    # Without the plugin of schemathesis, which no test of the core needs: loading it takes longer than most of them.
    plugins = ("-p", "no:cacheprovider", "-p", "no:schemathesis")
    command = [sys.executable, "-m", "pytest", "-q", "-x", *plugins, f"--timeout={TEST_SECONDS}", *tests]
    # The path is for programs that a test starts: the environment has the tree of the original installed.
    environment = os.environ | {"PYTHONPATH": str(tree), "SAME_EXAMPLES": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return NO_END, f"pytest did not end within {RUN_SECONDS} s"
    return done.returncode, done.stdout


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a program for the terminal


def main() -> int:
    """Try all mutants, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--list", action="store_true", help="print the mutants and try none")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a mutant; all unless given")
    asked = parser.parse_args()
    by_name = {mutant.name: mutant for mutant in MUTANTS}
    if unknown := [name for name in asked.names if name not in by_name]:
        parser.error(f"no mutant is called {unknown[0]}. Next: `python -m tests.mutants --list` names them.")
    chosen = [by_name[name] for name in asked.names] or MUTANTS
    if asked.list:
        for mutant in chosen:
            _say(f"{mutant.name}: {mutant.breaks} {mutant.file}, {mutant.test}")
        return 0
    return 0 if tried(chosen, ROOT) else 1


if __name__ == "__main__":
    sys.exit(main())
