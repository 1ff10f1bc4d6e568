"""`tagstream doctor`: what a worker will need, looked at one by one, each with what to do about it."""

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

from model_export.bundle.bundle import BundleError, LabelThreshold
from model_export.bundle.bundle import read as read_bundle
from monitoring.drift import baseline
from stream.decide.decider import RULES_CONSEQUENCE, decider_of
from stream.decide.pipeline import release_of
from stream.decide.routing import Router
from stream.deliver.breaker_file import BreakerFile
from stream.deliver.crash_file import CrashFile
from stream.deliver.crash_guard import CONSEQUENCE
from stream.deliver.state_folder import mistaken, stem_of
from stream.kafka import admin, errors, probes
from stream.kafka.credentials import SecurityError, client_options, warnings
from stream.kafka.records import missing_codecs
from stream.kafka.rights import NEEDED_TOPICS, Operation, Resource, Right, missing
from stream.kafka.transactions import no_transactions
from stream.settings.metrics_address import is_taken, next_step
from stream.settings.settings import Settings

TRIED_BYTES = 4096


class Status(StrEnum):
    """How one check ended."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report. `fix` is empty where nothing needs doing."""

    check: str
    status: Status
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All findings, in the order in which they were made."""

    findings: tuple[Finding, ...]
    broker_reachable: bool

    @property
    def failed(self) -> bool:
        """Would a worker fail?"""
        return any(finding.status is Status.FAIL for finding in self.findings)


def examine(settings: Settings, *, create_topics: bool, say: Callable[[Finding], None] = lambda _: None) -> Report:
    """
    Make every check; `say` hears of each as it ends. Changes nothing, except topics when `create_topics` says so.

    Checks that need a broker are left out when none answers.
    """
    findings: list[Finding] = []
    reachable = True

    def note(finding: Finding) -> None:
        findings.append(finding)
        say(finding)

    for finding in _local(settings, create_topics=create_topics):
        note(finding)
    try:
        for finding in _remote(settings, create_topics=create_topics):
            note(finding)
    except SecurityError:
        # Said already, among what is local; nobody was asked anything.
        return Report(findings=tuple(findings), broker_reachable=reachable)
    except errors.BrokerUnreachableError as error:
        reachable = False
        note(_silent(settings, error) if isinstance(error, errors.BrokerSilentError) else _refused(error))
    return Report(findings=tuple(findings), broker_reachable=reachable)


def _local(settings: Settings, *, create_topics: bool) -> Iterator[Finding]:
    yield Finding(check="python", status=Status.OK, detail=f"{sys.version.split()[0]}")
    yield _stream_engine()
    yield _codecs()
    yield from _decider(settings)
    yield _drift(settings)
    yield _metrics_port(settings)
    yield _state_folder(settings)
    # Who makes topics need not be who works on them, and a worker must come up to wait for the answer where people see it.
    yield from _breaker(settings, opened=Status.WARN if create_topics else Status.FAIL)
    yield from _security(settings)


def _stream_engine() -> Finding:
    # Faust takes a second to load.
    from stream.worker.faust_app import has_c_extension

    if not has_c_extension():
        return Finding(
            check="faust",
            status=Status.FAIL,
            detail="runs without its C extension, whose Python twin loses stale messages",
            fix="install a binary wheel of faust-streaming for this CPython and unset NO_CYTHON",
        )
    return Finding(check="faust", status=Status.OK, detail=f"{version('faust-streaming')} with its C extension")


def _codecs() -> Finding:
    lacking = missing_codecs()
    if not lacking:
        return Finding(check="codecs", status=Status.OK, detail="gzip, snappy, lz4, zstd")
    return Finding(
        check="codecs",
        status=Status.WARN,
        detail=f"a batch that a producer compressed with {', '.join(lacking)} ends a worker: no library reads it here",
        fix="install cramjam beside tagstream",
    )


def _decider(settings: Settings) -> Iterator[Finding]:
    if settings.decider == "model":
        yield _bundle(settings, refused=Status.FAIL)
        return
    rules = decider_of(settings).router.model
    # Whether the way back is open is the next thing that a person wants to know.
    bundle = _bundle(settings.model_copy(update={"decider": "model"}), refused=Status.WARN)
    yield Finding(
        check="decider",
        status=Status.WARN,
        detail=f"{rules.name} {rules.version}, digest {rules.digest[:12]}: {RULES_CONSEQUENCE}",
        fix=f"TAGSTREAM_DECIDER=model {'now: the bundle verifies' if bundle.status is Status.OK else 'once the bundle verifies'}",
    )
    yield bundle


def _bundle(settings: Settings, *, refused: Status) -> Finding:
    try:
        decider = decider_of(settings)
    except BundleError as error:
        what, _, fix = str(error).partition(" Next: ")
        return Finding(check="bundle", status=refused, detail=what, fix=fix)
    model = decider.router.model
    certificates = decider.bundle.manifest.thresholds if decider.bundle is not None else {}
    asked = _asked_below(decider.router, certificates, settings.confidence_threshold)
    detail = f"{model.name} {model.version}, digest {model.digest[:12]}, {asked}, golden texts agree"
    return Finding(check="bundle", status=Status.OK, detail=detail)


def _asked_below(router: Router, certificates: Mapping[str, LabelThreshold], threshold: float | None) -> str:
    """The thresholds that a worker applies, and for how many labels they are certified; `threshold` is the setting."""
    if threshold is not None:
        return f"threshold {threshold} for every tag (setting confidence_threshold)"
    if not certificates:
        return f"threshold {router.threshold}"
    own = ", ".join(f"{label} {router.asked_below(label)}" for label in certificates)
    certified = sum(found.certified for found in certificates.values())
    return f"thresholds {own} ({certified} of {len(certificates)} certified)"


def _metrics_port(settings: Settings) -> Finding:
    where = f"{settings.metrics_host}:{settings.metrics_port}"
    if settings.metrics_host in {"0.0.0.0", "::"}:  # noqa: S104
        return Finding(
            check="metrics",
            status=Status.WARN,
            detail=f"{where} listens on every address, without authentication",
            fix="keep TAGSTREAM_METRICS_HOST on loopback or a private network",
        )
    try:
        with socket.create_server((settings.metrics_host, settings.metrics_port)):
            pass
    except OSError as error:
        if not is_taken(error):
            detail = f"{where} cannot be bound: {error.strerror}"
            return Finding(check="metrics", status=Status.FAIL, detail=detail, fix=next_step(error).removesuffix("."))
        return Finding(
            check="metrics",
            status=Status.WARN,
            detail=f"{where} cannot be bound now ({error.strerror}); a running worker may hold it",
            fix="TAGSTREAM_METRICS_PORT=0 takes a free port for each worker, which a scrape configuration does not know then",
        )
    if settings.metrics_port == 0:
        detail = f"a free port of {settings.metrics_host} will be taken and logged; a scrape configuration does not know it"
        return Finding(check="metrics", status=Status.OK, detail=detail)
    return Finding(check="metrics", status=Status.OK, detail=f"{where} is free")


def _drift(settings: Settings) -> Finding:
    """Read as a worker reads it, which does not start with one that it cannot read."""
    if not settings.drift_window_events:
        return Finding(check="drift", status=Status.OK, detail="not looked for (drift_window_events is 0)")
    path, by_model = settings.drift_reference, settings.decider == "model"
    if path is None and not by_model:
        return Finding(check="drift", status=Status.OK, detail="not looked for while the rules decide")
    if path is None:
        windows = f"the first {settings.drift_reference_windows} windows of {settings.drift_window_events} decisions"
        return Finding(check="drift", status=Status.OK, detail=f"a worker learns what is usual from {windows}")
    try:
        reference = baseline.read(path)
    except baseline.BaselineError as error:
        what, _, fix = str(error).partition(" Next: ")
        # The rules have nothing that drifts: it is read again when the model decides.
        return Finding(check="drift", status=Status.FAIL if by_model else Status.WARN, detail=what, fix=fix)
    detail = f"{path}: {reference.events} events, digest {reference.digest[:12]}"
    other = _other_model(settings, reference)
    if other is None:
        return Finding(check="drift", status=Status.OK, detail=detail)
    return Finding(
        check="drift",
        status=Status.WARN,
        detail=f"{detail}, {other}: what differs between the two looks like drift",
        fix=f"make one with this bundle: tagstream drift reference FILE --out {path}",
    )


def _other_model(settings: Settings, reference: baseline.Baseline) -> str | None:
    """In words, if another bundle decided the events of the reference."""
    try:
        digest = read_bundle(settings.bundle).digest
    except BundleError:
        # Said already.
        return None
    if reference.model in {"", digest}:
        return None
    return f"made with the bundle {reference.model[:12]} and not with {digest[:12]}"


def _state_folder(settings: Settings) -> Finding:
    """Tried as a worker uses it; nothing of that stays."""
    if not settings.crash_deaths:
        return Finding(check="state folder", status=Status.OK, detail="no guard against crash loops (crash_deaths is 0)")
    folder = settings.state_folder.expanduser()
    try:
        there = _try(folder, stem=stem_of(settings))
    except OSError as error:
        if (mistake := mistaken(settings, error)) is not None:
            what, _, fix = str(mistake).partition(" Next: ")
            return Finding(check="state folder", status=Status.FAIL, detail=what, fix=fix)
        return Finding(
            check="state folder",
            status=Status.WARN,
            detail=f"no guard against crash loops: {folder}: {error.strerror or error}; {CONSEQUENCE}",
            fix="set TAGSTREAM_STATE_FOLDER to a folder that survives the process",
        )
    detail = f"{folder} can be written" if there else f"{folder} can be made"
    return Finding(check="state folder", status=Status.OK, detail=detail)


def _try(folder: Path, *, stem: str) -> bool:
    """
    Whether the folder is there; whatever a worker would do in it has succeeded, and has been undone.

    Raises:
        OSError: A worker could not make it, or not write there.
    """
    if folder.exists() or folder.is_symlink():
        # Refuses what is there and is no folder.
        folder.mkdir(exist_ok=True)
        # Held as long as it is there, so that no worker that starts takes it for a dead one's.
        CrashFile(folder, stem=stem, payload_bytes=TRIED_BYTES).close(remove=True)
        return True
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    # Under a name of its own: a worker that makes the folder meanwhile keeps it.
    os.rmdir(tempfile.mkdtemp(prefix=".tagstream-", dir=above))  # noqa: PTH106 - a name, not a path
    return False


def _breaker(settings: Settings, *, opened: Status) -> Iterator[Finding]:
    """Looked at as a worker that starts with these settings looks, which would wait for an answer and decide nothing."""
    try:
        by_model = settings.decider == "model"
        digest = read_bundle(settings.bundle).digest if by_model else decider_of(settings).router.model.digest
    except BundleError:
        # Said already: no worker starts, and which bundle there will be instead, which may be the answer, nobody knows.
        return
    file = BreakerFile(settings, release=release_of(digest))
    found = file.look()
    if found is None:
        yield Finding(check="circuit breaker", status=Status.OK, detail="closed")
        return
    since = "" if found.since is None else f" since {datetime.fromtimestamp(found.since, UTC):%Y-%m-%dT%H:%M:%SZ}"
    if found.answered:
        yield Finding(
            check="circuit breaker",
            status=Status.WARN,
            detail=f"{file.path}: was open{since} under another release, bundle or limit: {found.why}",
            fix="start a worker anew with these settings: it removes the file, and those that wait on it go on too",
        )
        return
    yield Finding(
        check="circuit breaker",
        status=opened,
        detail=f"{file.path}: open{since}, a worker waits and decides nothing: {found.why}",
        fix=f"docs/runbooks/CircuitBreakerOpen.md, then remove {file.path}",
    )


def _security(settings: Settings) -> Iterator[Finding]:
    security = settings.security
    try:
        client_options(settings)
    except SecurityError as error:
        what, _, fix = str(error).partition(" Next: ")
        yield Finding(check="security", status=Status.FAIL, detail=what, fix=fix)
        return
    who = f", user {security.username!r}" if security.sasl else ", our certificate" if security.certificate_file else ""
    detail = f"{security.protocol}{who}"
    if security.protocol == "PLAINTEXT":
        detail += ": whoever reaches the brokers may read and write, and listen on the way"
    yield Finding(check="security", status=Status.OK, detail=detail)
    for warning in warnings(security):
        yield Finding(
            check="security",
            status=Status.WARN,
            detail=warning,
            fix="chmod 0400; in Kubernetes fsGroup, and defaultMode: 0440 of the Secret",
        )


def _remote(settings: Settings, *, create_topics: bool) -> Iterator[Finding]:
    brokers = admin.broker_count(settings)
    yield Finding(check="brokers", status=Status.OK, detail=f"{brokers} at {settings.brokers}")
    if create_topics:
        yield _created(settings)
    # Who makes topics need not be who works on them.
    rights = Status.WARN if create_topics else Status.FAIL
    yield from _topics(settings, brokers, rights)
    yield _group(settings, rights)
    yield _producer(settings)


def _created(settings: Settings) -> Finding:
    try:
        created = admin.create(settings)
    except errors.TopicsRefusedError as error:
        what, _, fix = str(error).partition(" Next: ")
        return Finding(check="create topics", status=Status.FAIL, detail=what, fix=fix)
    made = f"made {', '.join(created.made)}" if created.made else "nothing to make"
    return Finding(check="create topics", status=Status.OK, detail=f"{made}; found {', '.join(created.found) or 'none'}")


def _refused(error: errors.BrokerUnreachableError) -> Finding:
    what, _, fix = str(error).partition(" Next: ")
    return Finding(check="brokers", status=Status.FAIL, detail=what, fix=fix)


def _silent(settings: Settings, error: errors.BrokerSilentError) -> Finding:
    """Each address by itself: the clients only say that they found nobody."""
    found = probes.connect_to_each(settings)
    detail = f"no Kafka broker answered within {settings.startup_timeout_seconds:g} s: {'; '.join(map(str, found))}"
    if any(one.reach is probes.Reach.OPEN for one in found) and error.__cause__ is not None:
        detail += f". The client says {errors.summary_of(error.__cause__)}"
    steps = dict.fromkeys(_step(settings, one.reach) for one in found)
    return Finding(check="brokers", status=Status.FAIL, detail=detail, fix="; ".join(steps))


def _step(settings: Settings, reach: probes.Reach) -> str:
    protocol = settings.security.protocol
    return {
        probes.Reach.OPEN: f"is it a Kafka listener for {protocol} (TAGSTREAM_SECURITY__PROTOCOL), and does this machine reach what "
        "the broker advertises (its advertised.listeners)? Its log says more",
        probes.Reach.REFUSED: "start the broker, or correct host and port in TAGSTREAM_BROKERS: nothing listens there",
        probes.Reach.SILENT: "is that host up, and does a firewall or network policy let this machine through to the port?",
        probes.Reach.UNKNOWN: "correct the name in TAGSTREAM_BROKERS, or this machine's name service",
        probes.Reach.ELSE: "correct the address in TAGSTREAM_BROKERS, or this machine's route to it",
    }[reach]


def _topics(settings: Settings, brokers: int, rights: Status) -> Iterator[Finding]:
    names: dict[str, str] = settings.topics.model_dump()
    seen = admin.describe(settings, names.values())
    for key, name in names.items():
        yield _topic(settings, key, name, seen[name], rights)
    found = {name: one.partitions for name, one in seen.items() if one.partitions is not None}
    yield from _sizes(settings, found)
    content = found.get(settings.topics.content, 0)
    if content == 1:
        yield Finding(
            check="scale",
            status=Status.WARN,
            detail=f"{settings.topics.content} has one partition: only one worker of the group can work",
            fix="make the topic with two to four times as many partitions as there will be workers",
        )
    if brokers > 1 and settings.topic_replication == 1:
        yield Finding(
            check="replication",
            status=Status.WARN,
            detail="new topics would have one replica on a cluster of several brokers",
            fix="TAGSTREAM_TOPIC_REPLICATION=3",
        )


def _sizes(settings: Settings, found: Mapping[str, int]) -> Iterator[Finding]:
    """An outcome that its topic refuses would stop the worker at the same event again and again."""
    limits = {
        settings.topics.tagged: ("max_outcome_bytes", settings.max_outcome_bytes),
        settings.topics.review: ("max_outcome_bytes", settings.max_outcome_bytes),
        settings.topics.dlq: ("max_dead_letter_bytes", settings.max_dead_letter_bytes),
    }
    taken = admin.max_message_bytes(settings, [name for name in limits if name in found])
    for name, most_bytes in taken.items():
        key, wanted = limits[name]
        if most_bytes < wanted:
            yield Finding(
                check=f"size {name}",
                status=Status.FAIL,
                detail=f"takes records of {most_bytes} bytes, {key} lets {wanted} through: the worker would stop at a large event",
                fix=f"set max.message.bytes of the topic to {wanted}, or TAGSTREAM_{key.upper()}={most_bytes}",
            )


def _topic(settings: Settings, key: str, name: str, seen: admin.TopicDescription, rights: Status) -> Finding:
    check, needed = f"topic {name}", key in NEEDED_TOPICS
    wanted = NEEDED_TOPICS.get(key, Operation.WRITE if key == "drift" else Operation.DESCRIBE)
    denied = missing(settings, Right(resource=Resource.TOPIC, name=name, operations=(wanted,)), seen.operations)
    if denied is not None:
        what, _, fix = denied.partition(" Next: ")
        detail = what if needed else f"{what} A worker does not need it"
        return Finding(check=check, status=rights if needed else Status.WARN, detail=detail, fix=fix)
    if seen.partitions is None:
        return Finding(
            check=check,
            status=Status.FAIL if needed else Status.WARN,
            detail=f"does not exist{'' if needed else '; the worker does not need it'}",
            fix="tagstream doctor --create-topics",
        )
    may = f", may {' '.join(sorted(seen.operations))}" if seen.operations and settings.security.protocol != "PLAINTEXT" else ""
    return Finding(check=check, status=Status.OK, detail=f"{seen.partitions} partition{'s' * (seen.partitions != 1)}{may}")


def _group(settings: Settings, rights: Status) -> Finding:
    denied = asyncio.run(probes.group_denied(settings)) or asyncio.run(probes.transactions_denied(settings))
    if denied is None:
        return Finding(check="group", status=Status.OK, detail=f"may be a member of {settings.group}")
    what, _, fix = denied.partition(" Next: ")
    return Finding(check="group", status=rights, detail=what, fix=fix)


def _producer(settings: Settings) -> Finding:
    has_ids = asyncio.run(probes.has_producer_ids(settings))
    lacking = no_transactions(settings, idempotent=has_ids and settings.idempotent_producer != "off")
    if lacking is not None:
        what, _, fix = str(lacking).partition(" Next: ")
        return Finding(check="producer", status=Status.FAIL, detail=what, fix=fix)
    if has_ids:
        return Finding(check="producer", status=Status.OK, detail="the broker hands out producer ids: sends are idempotent")
    return Finding(
        check="producer",
        status=Status.WARN,
        detail="the broker hands out no producer ids: a retried send may be written twice (never lost)",
        fix="Apache Kafka 2.8 or newer has them",
    )
