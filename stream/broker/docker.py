"""Apache Kafka's own image in Docker, where an engine answers."""

import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

from tagstream.stream.broker.jars import kafka_version
from tagstream.stream.broker.kafka import NODE_SETTINGS, cluster_id
from tagstream.stream.broker.ports import LOOPBACK, free_ports
from tagstream.stream.broker.probe import wait_for_records
from tagstream.stream.broker.provider import Broker, BrokerRequest, Deadline, Log, ProviderUnavailable

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
    def start(self, request: BrokerRequest) -> Iterator[Broker]:
        """Start the image, fetching it the first time."""
        image = f"{IMAGE}:{kafka_version()}"
        leading = _find_engine(request.environ)
        _need_image(image, leading, request.log)
        with _container(image, leading) as (container, bootstrap):
            deadline = Deadline.after(request.start_timeout_seconds)
            try:
                wait_for_records(bootstrap, idempotent=True, deadline=deadline, check=_must_run(container))
            except ProviderUnavailable as error:
                tail = b"".join(container.get_logs())[-_TAIL_BYTES:].decode(errors="replace")
                msg = f"{image} did not get ready: {error}; the end of its log is:\n{tail}"
                raise ProviderUnavailable(msg) from error
            yield Broker(
                bootstrap=bootstrap,
                kind=self.kind,
                description=f"Apache Kafka {kafka_version()} (KRaft, 1 node) in Docker",
            )


def _find_engine(environ: Mapping[str, str]) -> dict[str, str]:
    """
    The environment that leads clients to an engine that answers.

    Raises:
        ProviderUnavailable: testcontainers is not installed, or no engine answers.
    """
    try:
        import docker
        from docker.errors import DockerException
        from testcontainers.core.docker_client import get_docker_host
    except ImportError as error:
        msg = f"testcontainers is not installed ({error}); `{sys.executable} -m pip install testcontainers` brings it"
        raise ProviderUnavailable(msg) from None
    # Besides the variable, testcontainers knows Docker's contexts and its own properties file.
    host = environ.get("DOCKER_HOST") or get_docker_host() or "unix:///var/run/docker.sock"
    leading = {**environ, "DOCKER_HOST": host}
    try:
        _knock(host)
        with closing(docker.from_env(environment=leading, timeout=_ENGINE_SECONDS)) as client:
            client.ping()
    except (DockerException, OSError) as error:
        msg = f"no Docker engine answers at {host} ({_first_line(error)}); start one, or set DOCKER_HOST"
        raise ProviderUnavailable(msg) from error
    return leading


def _knock(host: str) -> None:
    """Connect once by hand: the client library leaves an open socket behind when the connection is refused."""
    if host.startswith("unix://"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
            knocking.settimeout(_ENGINE_SECONDS)
            knocking.connect(host.removeprefix("unix://"))


def _need_image(image: str, leading: Mapping[str, str], log: Log) -> None:
    """Fetch the image if it is not here, within its own bound: the client's is one for each piece of it."""
    import docker
    from docker.errors import DockerException, ImageNotFound

    try:
        with closing(docker.from_env(environment=leading, timeout=_REQUEST_SECONDS)) as client:
            with suppress(ImageNotFound):
                client.images.get(image)
                return
            log(f"fetching the image {image}, once")
            deadline = Deadline.after(PULL_SECONDS)
            name, _, tag = image.rpartition(":")
            for step in client.api.pull(name, tag=tag, stream=True, decode=True):
                if "error" in step:
                    msg = f"the image {image} cannot be fetched ({step['error']}); can Docker reach its registry?"
                    raise ProviderUnavailable(msg)
                if deadline.passed():
                    msg = f"the image {image} was not here after {PULL_SECONDS:.0f} s; try `docker pull {image}` by hand"
                    raise ProviderUnavailable(msg)
    except (DockerException, OSError) as error:
        msg = f"the image {image} cannot be had ({_first_line(error)}); try `docker pull {image}` by hand"
        raise ProviderUnavailable(msg) from error


@contextmanager
def _container(image: str, leading: Mapping[str, str]) -> Iterator[tuple["DockerContainer", str]]:
    from docker.errors import DockerException
    from testcontainers.core.container import DockerContainer

    (port,) = free_ports(1)
    with ExitStack() as stack:
        try:
            container = DockerContainer(image, docker_client_kw={"environment": leading, "timeout": _REQUEST_SECONDS})
            stack.callback(container.stop)
            for key, value in _environment(port).items():
                container.with_env(key, value)
            # testcontainers' own signature knows no address, and without one the broker would listen to the whole network.
            cast("dict[str, Any]", container.ports)[f"{port}/tcp"] = (LOOPBACK, port)
            host = container.get_docker_client().host()
            if host not in {"localhost", LOOPBACK}:
                msg = f"the Docker engine is on another machine ({host}); name a broker there in TAGSTREAM_BROKERS instead"
                raise ProviderUnavailable(msg)
            container.start()
        except (DockerException, OSError) as error:
            msg = f"the image {image} does not start ({_first_line(error)}); try `docker run --rm {image}` by hand"
            raise ProviderUnavailable(msg) from error
        yield container, f"{LOOPBACK}:{port}"


def _environment(port: int) -> dict[str, str]:
    """The image makes `server.properties` from these: any one set means that all must be."""
    settings: dict[str, object] = {
        **NODE_SETTINGS,
        "controller.quorum.voters": "1@localhost:9093",
        "listeners": f"PLAINTEXT://:{port},CONTROLLER://:9093",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": "/tmp/kraft-combined-logs",  # noqa: S108 - in the container, as in the image's examples
    }
    variables = {f"KAFKA_{key.upper().replace('.', '_')}": str(value) for key, value in settings.items()}
    return {**variables, "CLUSTER_ID": cluster_id(), "KAFKA_HEAP_OPTS": "-Xmx512m -Xms128m"}


def _must_run(container: "DockerContainer") -> Callable[[], None]:
    def check() -> None:
        container.reload()
        if container.status == "exited":
            msg = "its container has ended"
            raise ProviderUnavailable(msg)

    return check


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
