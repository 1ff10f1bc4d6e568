"""tagstream on three brokers with TLS, users and ACLs: sufficient rights, refusals with their reasons, and no leaked password."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

from tagstream.model_export.bundle.bundle import Bundle
from tagstream.stream.broker import BrokerUnavailable
from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.contract.rollout_records import RolloutRecordError
from tagstream.stream.kafka import admin, errors
from tagstream.stream.kafka.credentials import client_options
from tagstream.stream.kafka.rights import NEEDED_TOPICS, Operation, Resource, Right, Role, lines, rights
from tagstream.stream.rollout import change
from tagstream.stream.rollout.presence import rollout_topic
from tagstream.stream.settings.settings import Settings
from tests.faults.cluster.topics import fresh_environment
from tests.faults.inputs import plant
from tests.faults.observer import TopicObserver
from tests.faults.worker.fleet import ROOT, Fleet, without_settings
from tests.integration.brokers.secure_cluster import ADMIN, Authority, SecureCluster, settings_of
from tests.integration.rollout.conftest import altered, begin_group
from tests.integration.running import all_committed, ended, is_committed
from tests.lacking import lacking, program
from tests.replacing import replace
from tests.waiting import HANG_SECONDS, until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

EVENTS = 500
# A refusal is reported at once; a client that waited for this bound instead would fail the test.
PATIENT = {"TAGSTREAM_STARTUP_TIMEOUT_SECONDS": str(10 * HANG_SECONDS)}
DEBUG = {"TAGSTREAM_LOG_LEVEL": "debug"}
Start = Callable[[Mapping[str, str]], Process]
STARTED = '"worker_starting"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Secure:
    """The cluster with topics, users and exactly the rights that `doctor --acls` prints."""

    cluster: SecureCluster
    folder: Path
    names: Mapping[str, str]
    passwords: Mapping[str, Path]

    def environ(self, user: str, **changes: str) -> dict[str, str]:
        """TAGSTREAM_* of a user on these topics."""
        return {**self.names, **self.cluster.environment(user, self.passwords[user]), **changes}

    def settings(self, user: str, **changes: str) -> Settings:
        """The same as settings."""
        return settings_of(self.environ(user, **changes), self.folder)

    def mutual(self, **changes: str) -> dict[str, str]:
        """TAGSTREAM_* at the listener that asks for a certificate."""
        own = {
            "TAGSTREAM_BROKERS": self.cluster.mutual,
            "TAGSTREAM_SECURITY__PROTOCOL": "SSL",
            "TAGSTREAM_SECURITY__CA_FILE": str(self.cluster.authority.certificate),
        }
        return {**self.names, **own, **changes}


# A worker for each right that it can lack.
LACKING = {
    "reader": ("content", Operation.READ),
    "member": ("group", Operation.READ),
    "tagger": ("tagged", Operation.WRITE),
    "undertaker": ("dlq", Operation.WRITE),
}


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """Start the cluster, make users and topics, and run the commands that tagstream prints as the administrator."""
    program("openssl")
    folder = tmp_path_factory.mktemp("secure")
    try:
        made = SecureCluster(folder)
    except BrokerUnavailable as error:
        lacking(f"Apache Kafka cannot be had, so nothing can be said of TLS, users and ACLs: {error}")
    with made as cluster:
        names = fresh_environment(cluster.bootstrap, "secure") | {"TAGSTREAM_TOPIC_REPLICATION": "3"}
        users = (ADMIN, *Role, "stranger", "dismissed", "transacting", "remembering", *LACKING)
        found = Secure(cluster=cluster, folder=folder, names=names, passwords=cluster.add_users(*users))
        settings = found.settings(ADMIN)
        printed = [
            line
            for role in (Role.CREATOR, Role.WORKER, Role.PRODUCER)
            for line in command("doctor", "--acls", role, "--role", role, environ=found.environ(ADMIN))
            .stdout.decode()
            .splitlines()
        ]
        assert printed == [line for role in (Role.CREATOR, Role.WORKER, Role.PRODUCER) for line in lines(settings, role, role)]
        cluster.run_acl_commands(printed, found.passwords[ADMIN].read_text(encoding="ascii").strip())
        cluster.allow(Role.OPERATOR, rights(settings, Role.OPERATOR))
        for user, (key, operation) in LACKING.items():
            cluster.allow(user, all_but(settings, key, operation))
        created = command("doctor", "--create-topics", environ=found.environ(Role.CREATOR))
        assert created.returncode == 0, created.stdout.decode() + created.stderr.decode()
        yield found


def all_but(settings: Settings, key: str, operation: Operation) -> list[Right]:
    """The rights of a worker without one operation on one topic or on the group."""
    name = settings.group if key == "group" else getattr(settings.topics, key)
    return [
        replace(right, operations=tuple(one for one in right.operations if (right.name, one) != (name, operation)))
        for right in rights(settings, Role.WORKER)
        if not (right.name == name and right.operations == (operation,))
    ]


def command(*words: str, environ: Mapping[str, str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """The `tagstream` command, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "tagstream.stream.cli.main", *words],
        env={**without_settings(os.environ), "PYTHONPATH": str(ROOT), "COLUMNS": "500", **environ},
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        timeout=2 * HANG_SECONDS,
        check=False,
    )


@pytest.fixture
def run_worker(tmp_path: Path) -> Iterator[Start]:
    """Starts workers with the stub for a model."""
    with Processes(grace_seconds=0) as processes:

        def start(environ: Mapping[str, str]) -> Process:
            folder = tmp_path / environ["TAGSTREAM_SECURITY__USERNAME"]
            folder.mkdir(exist_ok=True)
            fleet = Fleet(
                processes=processes, module="tests.faults.worker", environ=environ, seconds_per_batch=0.0, folder=folder
            )
            return fleet.add(1).process

        yield start


def test_the_printed_rights_are_enough_and_no_password_leaks(secure: Secure, run_worker: Start) -> None:
    """The printed rights let 500 events through a worker, and no password is in logs, `ps` or `config show`."""
    planted = plant(EVENTS, malformed=0, seed="secure")
    sent = command(
        "send", "-", environ=secure.environ(Role.PRODUCER), stdin=b"".join((one.value or b"") + b"\n" for one in planted)
    )
    assert sent.returncode == 0, sent

    worker = run_worker(secure.environ(Role.WORKER, TAGSTREAM_IDEMPOTENT_PRODUCER="on", **DEBUG))
    with TopicObserver(secure.settings(Role.OPERATOR)) as observer:
        assert sum(observer.ends().values()) == EVENTS
        until(lambda: is_committed(observer), "all events are committed", state=observer.committed, process=worker)
        outcomes = [record for records in observer.outcomes().values() for record in records]
    shown = Path(f"/proc/{worker.pid}/cmdline").read_bytes() + Path(f"/proc/{worker.pid}/environ").read_bytes()
    worker.ask_to_end()
    ended(worker)
    assert worker.exit_code == 0
    assert len(outcomes) == EVENTS
    assert len({json.loads(record.value or b"")["id"] for record in outcomes}) == EVENTS

    seen = shown + worker.output().encode() + sent.stdout + sent.stderr
    seen += command("config", "show", "--sources", environ=secure.environ(Role.WORKER)).stdout
    for file in secure.passwords.values():
        password = file.read_bytes().strip()
        assert password not in seen
    assert b"Authenticated as worker" in seen, "at debug level the clients do speak of users"


@pytest.mark.parametrize("user", LACKING)
def test_a_worker_that_lacks_a_right_names_it(secure: Secure, run_worker: Start, user: str) -> None:
    """A worker without a right ends with code 2 before it reads, and names the right and the command that gives it."""
    key, operation = LACKING[user]
    name = secure.settings(user).group if key == "group" else getattr(secure.settings(user).topics, key)
    worker = run_worker(secure.environ(user))
    ended(worker)
    said = worker.output()
    kind = "group" if key == "group" else "topic"
    assert worker.exit_code == 2, said
    assert f"user '{user}' is not authorised for {operation} on the {kind} '{name}'" in said
    assert f"--operation {operation.capitalize()} --{kind} {name}" in said
    assert STARTED not in said


def test_a_worker_of_exactly_once_needs_the_right_to_its_transactional_ids_and_no_more(
    secure: Secure, run_worker: Start
) -> None:
    """Without the right the command is named; with the printed rights an event comes through."""
    once = {"TAGSTREAM_DELIVERY": "exactly_once", "TAGSTREAM_GROUP": "once"}
    settings = secure.settings("transacting", **once)
    needed = rights(settings, Role.WORKER)
    # The last two are for the ids of `content` and of `reviewed`.
    secure.cluster.allow("transacting", needed[:-2])
    worker = run_worker(secure.environ("transacting", **once))
    ended(worker)
    assert worker.exit_code == 2
    assert "not authorised for WRITE and DESCRIBE on the transactional-id 'once-" in worker.output()
    assert "--resource-pattern-type prefixed" in worker.output()

    secure.cluster.allow("transacting", needed[-2:])
    sent = command("send", "-", environ=secure.environ(Role.PRODUCER), stdin=b'{"title": "Attention"}\n')
    assert sent.returncode == 0, sent
    worker = run_worker(secure.environ("transacting", **once))
    with TopicObserver(secure.settings(ADMIN, **once)) as observer:
        until(lambda: is_committed(observer), "all events are committed", state=observer.committed, process=worker)


def test_the_doctor_reports_the_rights_of_a_user(secure: Secure) -> None:
    """`doctor` passes a user with all rights, gives the command for a missing one, and lists all that a new user lacks."""
    well = command("doctor", "--json", environ=secure.environ(Role.WORKER, TAGSTREAM_METRICS_PORT="0"))
    assert failures(well) == [], well
    assert b"SASL_SSL, user 'worker'" in well.stdout
    lacking = command("doctor", "--json", environ=secure.environ("tagger"))
    failed = failures(lacking)
    assert lacking.returncode == 1
    assert [found["check"] for found in failed] == [f"topic {secure.settings('tagger').topics.tagged}"]
    assert "--operation Write" in failed[0]["fix"]
    stranger = command("doctor", "--json", environ=secure.environ("stranger"))
    failed = [found["check"] for found in map(json.loads, stranger.stdout.splitlines()) if found["status"] == "FAIL"]
    needed = [f"topic {getattr(secure.settings('stranger').topics, key)}" for key in NEEDED_TOPICS]
    assert failed[: len(needed) + 1] == [*needed, "group"]


def failures(doctor: subprocess.CompletedProcess[bytes]) -> list[dict[str, str]]:
    """The failed checks, but for events of earlier tests that wait without a worker."""
    found = map(json.loads, doctor.stdout.splitlines())
    return [check for check in found if check["status"] == "FAIL" and check["check"] != "waiting"]


def test_tools_name_the_right_that_they_lack(secure: Secure) -> None:
    """`send` names the right to write that it lacks, and `tail` the right to read."""
    sent = command("send", "-", environ=secure.environ(Role.WORKER), stdin=b'{"title": "a"}\n')
    assert (sent.returncode, b"user 'worker' is not authorised for WRITE on the topic" in sent.stderr) == (2, True), sent
    read = command("tail", "content", environ=secure.environ(Role.PRODUCER))
    assert (read.returncode, b"user 'producer' is not authorised for READ on the topic" in read.stderr) == (2, True), read


def test_a_controller_is_told_each_right_that_it_lacks(
    secure: Secure, tiny_bundle: Bundle, tiny_bundle_folder: Path, tmp_path: Path
) -> None:
    """Of those that a change of the model needs, one after the other, with the command that grants it; with all of them it is made."""
    user = Role.CONTROLLER
    settings = secure.settings(
        user,
        TAGSTREAM_GROUP="changing",
        TAGSTREAM_ROLLOUT__BUNDLES=str(tmp_path / "bundles"),
        TAGSTREAM_BUNDLE=str(tiny_bundle_folder),
    )
    rollout, bundle = settings.rollout, altered(tiny_bundle, tmp_path, "2")

    def right(name: str, resource: Resource) -> Right:
        return next(one for one in rights(settings, user) if (one.name, one.resource) == (name, resource))

    def refused(lacked: Right) -> None:
        with pytest.raises(errors.NotAuthorizedError) as found:
            asyncio.run(change.promote(settings, bundle, without_workers=True))
        assert f"user '{user}' is not authorised for" in str(found.value)
        assert f"on the {lacked.resource} '{lacked.name}'" in str(found.value)
        assert "kafka-acls.sh" in str(found.value)

    # Before the topics are there too: no answer of a broker to this user is taken for that.
    refused(right(rollout.topic, Resource.TOPIC))
    with secure.cluster.administrator() as client:
        client.create_topics(
            {name: {"num_partitions": 1, "replication_factor": 3} for name in (rollout.topic, rollout.workers_topic)},
            wait_for_metadata=True,
        )
        begin_group(settings, client)
    for lacked in (
        right(rollout.topic, Resource.TOPIC),
        right(rollout.workers_topic, Resource.TOPIC),
        right(settings.topics.content, Resource.TOPIC),
        right(rollout.topic, Resource.TRANSACTIONAL_ID),
        right(settings.group, Resource.GROUP),
    ):
        refused(lacked)
        secure.cluster.allow(user, [lacked])
    assert asyncio.run(change.promote(settings, bundle, without_workers=True)).models.champion.version == "2"


def test_a_topic_of_a_rollout_that_is_hidden_from_its_workers_is_a_lost_one(secure: Secure) -> None:
    """The commits of the group name an epoch of it: a user who lost the right to see it is told, and decides by no setting."""
    user = "remembering"
    settings = secure.settings(user, TAGSTREAM_GROUP="remembering")
    topic = settings.rollout.topic
    secure.cluster.allow(user, rights(settings, Role.WORKER))
    assert rollout_topic(settings) is None
    place = TopicPartition(settings.topics.content, 0)
    consumer = KafkaConsumer(**client_options(settings), group_id=settings.group, enable_auto_commit=False)
    consumer.assign([place])
    consumer.commit({place: OffsetAndMetadata(0, f"epoch 7 of {topic}", -1)})
    consumer.close()
    with secure.cluster.administrator() as client:
        client.create_topics({topic: {"num_partitions": 1, "replication_factor": 3}}, wait_for_metadata=True)
    until(lambda: rollout_topic(settings), "the topic is seen")
    secure.cluster.forbid(user, topic)

    def lost() -> str:
        try:
            return "" if rollout_topic(settings) else "no rollout"
        except RolloutRecordError as error:
            return str(error)

    said = until(lost, "the topic is hidden")
    assert f"epoch 7 of the topic {topic}" in said
    assert "Next: grant READ" in said


def test_a_right_that_is_taken_away_ends_the_worker(secure: Secure, run_worker: Start) -> None:
    """A worker ends with code 70 and the topic's name, and does not commit events whose outcomes it could not write."""
    settings = secure.settings("dismissed")
    secure.cluster.allow("dismissed", rights(settings, Role.WORKER))
    worker = run_worker(secure.environ("dismissed"))
    until(lambda: '"partitions_assigned"' in worker.output(), "the worker has its partitions", process=worker)
    with TopicObserver(secure.settings(Role.OPERATOR)) as observer:
        # The events of earlier tests are processed first.
        all_committed(observer)
        for topic in (settings.topics.tagged, settings.topics.review):
            secure.cluster.forbid("dismissed", topic)
        before = observer.committed()
        sent = command("send", "-", environ=secure.environ(Role.PRODUCER), stdin=b'{"title": "Attention"}\n')
        assert sent.returncode == 0, sent
        ended(worker)
        assert worker.exit_code == 70
        assert "TopicAuthorizationFailedError" in worker.output()
        assert observer.committed() == before
        assert sum(observer.ends().values()) == sum(before.values()) + 1


REFUSALS: dict[str, str] = {
    "wrong password": "refuses user 'worker' with SCRAM-SHA-512: the password is wrong",
    "no such user": "refuses user 'nobody' with SCRAM-SHA-512",
    "mechanism": "does not offer SCRAM-SHA-256",
    "authority": "is not trusted",
    "name": "is for other names",
    "plaintext": "speaks TLS, and security.protocol = PLAINTEXT does not",
    "no user": "it requires a user or a client certificate",
    "no certificate": "requires a client certificate",
    "strange certificate": "refuses our certificate",
}


def refused_environment(secure: Secure, why: str) -> dict[str, str]:
    """The environment of a client that is refused for this reason."""
    port = secure.cluster.bootstrap.split(",")[0].rpartition(":")[2]
    wrong = secure.folder / "wrong.password"
    wrong.write_text("tr0ub4dor-and-3\n", encoding="ascii")
    wrong.chmod(0o600)
    stranger = Authority(secure.folder / "stranger", "somebody else")
    certificate, key = stranger.issue("guest")
    common = {"TAGSTREAM_SECURITY__CA_FILE": str(secure.cluster.authority.certificate)}
    changes = {
        "wrong password": {"TAGSTREAM_SECURITY__PASSWORD_FILE": str(wrong)},
        "no such user": {"TAGSTREAM_SECURITY__USERNAME": "nobody"},
        "mechanism": {"TAGSTREAM_SECURITY__MECHANISM": "SCRAM-SHA-256"},
        "authority": {"TAGSTREAM_SECURITY__CA_FILE": str(stranger.certificate)},
        "name": {"TAGSTREAM_BROKERS": f"localhost:{port}"},
    }
    if why in changes:
        return secure.environ(Role.WORKER, **changes[why])
    if why == "plaintext":
        return {**secure.names}
    if why == "no user":
        return {**secure.names, "TAGSTREAM_SECURITY__PROTOCOL": "SSL", **common}
    if why == "no certificate":
        return secure.mutual()
    return secure.mutual(TAGSTREAM_SECURITY__CERTIFICATE_FILE=str(certificate), TAGSTREAM_SECURITY__KEY_FILE=str(key))


@pytest.mark.parametrize("why", REFUSALS)
def test_a_refused_client_reports_the_reason(secure: Secure, why: str) -> None:
    """A refused client ends at once with code 3, the reason and the remedy, and without a password in its output."""
    settings = settings_of(refused_environment(secure, why) | PATIENT, secure.folder)
    with pytest.raises(errors.BrokerRefusedError) as caught:
        admin.partitions(settings)
    assert REFUSALS[why] in str(caught.value)
    assert "Next: " in str(caught.value)
    assert "tr0ub4dor" not in repr(caught.value) + repr(caught.value.__context__)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("verb", ["worker", "send -", "tail content", "doctor"])
def test_every_command_reports_a_refusal(secure: Secure, verb: str) -> None:
    """Every command that is refused ends with code 3 and the same sentence."""
    done = command(*verb.split(), environ=refused_environment(secure, "wrong password"))
    said = (done.stdout + done.stderr).decode()
    assert (done.returncode, REFUSALS["wrong password"] in said) == (3, True), said
    assert "Traceback" not in said


def test_a_client_certificate_alone_is_enough_for_mutual_tls(secure: Secure) -> None:
    """With mTLS the administrator's certificate and encrypted key open the listener that has no passwords."""
    certificate, key = secure.cluster.authority.issue("operator", password="open sesame")  # noqa: S106 - a test's own key
    password = secure.folder / "key.password"
    password.write_text("open sesame", encoding="ascii")
    password.chmod(0o400)
    environ = secure.mutual(
        TAGSTREAM_SECURITY__CERTIFICATE_FILE=str(certificate),
        TAGSTREAM_SECURITY__KEY_FILE=str(key),
        TAGSTREAM_SECURITY__KEY_PASSWORD_FILE=str(password),
    )
    read = command("tail", "tagged", "--from-beginning", "--json", "--idle", "1", environ=environ)
    assert read.returncode == 0, read
