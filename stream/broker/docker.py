"""Apache Kafka's own image in Docker, where an engine answers."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

from stream.broker.jars import kafka_version
from stream.broker.layout import new_cluster_id
from stream.broker.ports import LOOPBACK, free_ports
from stream.broker.probe import wait_for_records
from stream.broker.properties import cluster_settings
from stream.broker.rung import Broker, Deadline, RungUnavailable, Wanted

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

# Requests that fail are OSErrors, which the client lets through as they are.
IMAGE = "apache/kafka"
PULL_SECONDS = 600.0
_ENGINE_SECONDS = 5.0
_REQUEST_SECONDS = 60.0
_TAIL_BYTES = 1500


class Docker:
    """One node in a container, which testcontainers removes even when this process is killed."""

    kind = "docker"

    @contextmanager
    def start(self, wanted: Wanted) -> Iterator[Broker]:
        """Start the image, fetching it the first time."""
        if wanted.nodes > 1:
            msg = f"one container is one node, {wanted.nodes} were asked for"
            raise RungUnavailable(msg)
        image = f"{IMAGE}:{kafka_version()}"
        _need_engine(wanted.environ)
        _need_image(image, wanted)
        with _container(image) as (container, bootstrap):
            deadline = Deadline.after(wanted.start_timeout_seconds)
            try:
                wait_for_records(bootstrap, nodes=1, idempotent=True, deadline=deadline, check=_must_run(container))
            except RungUnavailable as error:
                tail = b"".join(container.get_logs())[-_TAIL_BYTES:].decode(errors="replace")
                msg = f"{image} did not get ready: {error}; the end of its log is:\n{tail}"
                raise RungUnavailable(msg) from error
            yield Broker(
                bootstrap=bootstrap,
                kind=self.kind,
                description=f"Apache Kafka {kafka_version()} (KRaft, 1 node) in Docker",
                transactions=True,
                # The container goes in the end, and its records with it.
                durable=False,
            )


def _need_engine(environ: Mapping[str, str]) -> None:
    try:
        import docker
        import testcontainers.core.container  # noqa: F401 - only asked whether it is there
        from docker.errors import DockerException
    except ImportError as error:
        msg = f"testcontainers is not installed ({error}); `pip install 'tagstream[dev]'` brings it"
        raise RungUnavailable(msg) from None
    try:
        client = docker.from_env(environment=dict(environ), timeout=_ENGINE_SECONDS)
        try:
            client.ping()
        finally:
            client.close()
    except (DockerException, OSError) as error:
        msg = f"no Docker engine answers ({_first_line(error)}); start one, or set DOCKER_HOST"
        raise RungUnavailable(msg) from error


def _need_image(image: str, wanted: Wanted) -> None:
    """Fetch the image if it is not here, within its own bound: the client's is one for each piece of it."""
    import docker
    from docker.errors import DockerException, ImageNotFound

    client = docker.from_env(environment=dict(wanted.environ), timeout=_REQUEST_SECONDS)
    try:
        with suppress(ImageNotFound):
            client.images.get(image)
            return
        wanted.log(f"fetching the image {image}, once")
        deadline = Deadline.after(PULL_SECONDS)
        name, _, tag = image.rpartition(":")
        for step in client.api.pull(name, tag=tag, stream=True, decode=True):
            if "error" in step:
                msg = f"the image {image} cannot be fetched ({step['error']}); can Docker reach its registry?"
                raise RungUnavailable(msg)
            if deadline.passed():
                msg = f"the image {image} was not fetched within {PULL_SECONDS:.0f} s; try `docker pull {image}` by hand"
                raise RungUnavailable(msg)
    except (DockerException, OSError) as error:
        msg = f"the image {image} cannot be had ({_first_line(error)}); try `docker pull {image}` by hand"
        raise RungUnavailable(msg) from error
    finally:
        client.close()


@contextmanager
def _container(image: str) -> Iterator[tuple["DockerContainer", str]]:
    from docker.errors import DockerException
    from testcontainers.core.container import DockerContainer

    (port,) = free_ports(1)
    try:
        container = DockerContainer(image, docker_client_kw={"timeout": _REQUEST_SECONDS})
        for key, value in _environment(port).items():
            container.with_env(key, value)
        # testcontainers' own signature knows no address, and without one the broker would listen to the whole network.
        cast("dict[str, Any]", container.ports)[f"{port}/tcp"] = (LOOPBACK, port)
        host = container.get_docker_client().host()
        if host not in {"localhost", LOOPBACK}:
            msg = f"the Docker engine is on another machine ({host}); name a broker there in TAGSTREAM_BROKERS instead"
            raise RungUnavailable(msg)
        container.start()
    except (DockerException, OSError) as error:
        msg = f"the image {image} does not start ({_first_line(error)}); try `docker run --rm {image}` by hand"
        raise RungUnavailable(msg) from error
    try:
        yield container, f"{LOOPBACK}:{port}"
    finally:
        container.stop()


def _environment(port: int) -> dict[str, str]:
    """The image makes `server.properties` from these: any one set means that all must be."""
    settings: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": "1@localhost:9093",
        "listeners": f"PLAINTEXT://:{port},CONTROLLER://:9093",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": "/tmp/kraft-combined-logs",  # noqa: S108 - in the container, as in the image's examples
        **cluster_settings(1),
    }
    variables = {f"KAFKA_{key.upper().replace('.', '_')}": str(value) for key, value in settings.items()}
    return {**variables, "CLUSTER_ID": new_cluster_id(), "KAFKA_HEAP_OPTS": "-Xmx512m -Xms128m"}


def _must_run(container: "DockerContainer") -> Callable[[], None]:
    def check() -> None:
        container.reload()
        if container.status == "exited":
            msg = "its container has ended"
            raise RungUnavailable(msg)

    return check


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
