"""An engine for images: Docker, or podman with Compose 2 built from its Go modules and base images made on the spot.

CACHE/tagstream/images/          podman's store and networks, Compose's program; the user's own podman is not touched
CACHE/tagstream/kafka-*          Apache Kafka's jars, as the tests with a broker have them
"""

import fcntl
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tagstream.stream.broker.jars import get_jars
from tagstream.stream.broker.provider import ProviderUnavailable
from tests.go.programs import ASK_SECONDS, BUILD_SECONDS, ROOT, EngineError, run_to_end
from tests.images.compose import compose_program, images_cache

# The parts that podman needs beside itself: the runtime that works on every cgroup layout, networks with names, and what makes base images.
PROGRAMS = ("podman", "runc", "iptables", "debootstrap", "go")
UNSHARE = ("unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "true")
HELPERS = ("/usr/lib/podman/netavark", "/usr/lib/podman/aardvark-dns")
# Podman's database notes where it runs and refuses another place later.
RUN_ROOT = Path("/run/tagstream-images")
BASES_SECONDS, SERVICE_SECONDS = 7200.0, 600.0
DOWN_SECONDS = 900.0
LOOK_SECONDS = 2.0
# The image whose scripts testcontainers' KafkaContainer calls.
CONFLUENT_KAFKA = "confluentinc/cp-kafka:7.6.0"


class NoEngineError(Exception):
    """No engine here runs images: the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """
    A way to build and run images.

    Attributes:
        description: Name and version, for people.
        program: The program that builds, inspects and executes.
        compose: Gives the words that begin a command of Compose; waits until there is such a program.
        build_options: Options of `build` here.
        environ: The environment of all commands.
        needs_health_checks: The engine does not run the containers' health checks by itself.
    """

    description: str
    program: str
    compose: Callable[[], tuple[str, ...]]
    build_options: tuple[str, ...]
    environ: Mapping[str, str]
    needs_health_checks: bool

    def run(self, *words: str, seconds: float = ASK_SECONDS) -> str:
        """
        The engine's answer to a command, without white space at its ends.

        Raises:
            EngineError: It failed, or did not end in time.
        """
        return run_to_end((self.program, *words), self.environ, seconds)

    def build(self, tag: str) -> None:
        """
        Build the project's image.

        Raises:
            EngineError: It cannot be built.
        """
        self.run("build", *self.build_options, "--tag", tag, str(ROOT), seconds=BUILD_SECONDS)


@contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    """
    The first engine that can be had, while the context lasts.

    Args:
        folder: For sockets and logs; short, since a socket's path may have 107 bytes.

    Raises:
        NoEngineError: There is none.
        EngineError: There is one, and it cannot be prepared.
    """
    if _answers(("docker", "info")) and _answers(("docker", "compose", "version")):
        yield Engine(
            description="Docker",
            program="docker",
            compose=lambda: ("docker", "compose"),
            build_options=(),
            environ=os.environ,
            needs_health_checks=False,
        )
        return
    missing = [name for name in PROGRAMS if shutil.which(name) is None] + [path for path in HELPERS if not Path(path).exists()]
    if missing or sys.platform != "linux" or os.geteuid() != 0:
        msg = f"no Docker engine with Compose answers, and podman's way needs Linux, root and {', '.join(missing or PROGRAMS)}"
        raise NoEngineError(msg)
    with _podman(folder) as found:
        yield found


@contextmanager
def _podman(folder: Path) -> Iterator[Engine]:
    cache = images_cache()
    (cache / "networks").mkdir(parents=True, exist_ok=True)
    RUN_ROOT.mkdir(mode=0o700, exist_ok=True)
    with (cache / "lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            msg = f"another run of these tests uses {cache}: wait for its end"
            raise NoEngineError(msg) from None
        environ = {**os.environ, **_configuration(folder, cache), "DOCKER_HOST": f"unix://{folder}/podman.sock"}
        _must_isolate(environ)
        # The remains of a run that was killed; no other program uses this store.
        run_to_end(("podman", "rm", "--all", "--force", "--volumes"), environ, DOWN_SECONDS)
        run_to_end(("podman", "network", "prune", "--force"), environ, ASK_SECONDS)
        # Layers of older trees; younger ones save the next build its downloads.
        run_to_end(("podman", "image", "prune", "--force", "--filter", "until=168h"), environ, DOWN_SECONDS)
        # Compose is compiled while packages are fetched: the one waits for the processor, the other for the network.
        with ThreadPoolExecutor(1) as background:
            compose = background.submit(compose_program, cache)
            _bases(cache, environ)
            with _service(folder, environ):
                yield Engine(
                    description=run_to_end(("podman", "--version"), environ, ASK_SECONDS),
                    program="podman",
                    compose=lambda: (str(compose.result()),),
                    build_options=("--network", "host", "--format", "docker", "--quiet"),
                    environ=environ,
                    needs_health_checks=True,
                )


def _must_isolate(environ: Mapping[str, str]) -> None:
    """Root within a container may have podman and no right to what a container is made of."""
    for words in (UNSHARE, ("podman", "info")):
        try:
            run_to_end(words, environ, ASK_SECONDS)
        except EngineError as error:
            msg = f"podman cannot make containers here: {' '.join(str(error).split())[-300:]}"
            raise NoEngineError(msg) from error


@contextmanager
def _service(folder: Path, environ: Mapping[str, str]) -> Iterator[None]:
    """Podman's Docker API, which Compose speaks to."""
    log = (folder / "podman.log").open("wb")
    words = ("podman", "--log-level", "error", "system", "service", "--time", "0", environ["DOCKER_HOST"])
    with log, subprocess.Popen(words, env=environ, stdout=log, stderr=log) as service:
        try:
            _wait_for_service(folder / "podman.sock", service)
            yield
        finally:
            service.terminate()
            try:
                service.wait(SERVICE_SECONDS)
            except subprocess.TimeoutExpired:
                service.kill()


def _configuration(folder: Path, cache: Path) -> dict[str, str]:
    containers = folder / "containers.conf"
    containers.write_text(
        # The built-in limits are more than a container in a virtual machine may ask for.
        '[containers]\ndefault_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]\n'
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        f'[network]\nnetwork_backend = "netavark"\nnetwork_config_dir = "{cache}/networks"\n',
        encoding="utf-8",
    )
    storage = folder / "storage.conf"
    storage.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{cache}/storage"\nrunroot = "{RUN_ROOT}"\n', encoding="utf-8"
    )
    return {"CONTAINERS_CONF": str(containers), "CONTAINERS_STORAGE_CONF": str(storage)}


def _bases(cache: Path, environ: Mapping[str, str]) -> None:
    try:
        jars = get_jars(environ, lambda _: None)
    except ProviderUnavailable as error:
        msg = f"Apache Kafka's image cannot be made: {error}"
        raise NoEngineError(msg) from error
    names = [
        _named("Dockerfile", "ARG PYTHON="),
        *(_named("docker-compose.yml", f"image: {name}:") for name in ("apache/kafka", "prom/prometheus", "postgres")),
    ]
    full = [_full(name) for name in names]
    words = (str(Path(__file__).parent / "bases" / "make"), str(cache), *full, _full(CONFLUENT_KAFKA), str(jars.folder))
    run_to_end(words, environ, BASES_SECONDS)


def _full(name: str) -> str:
    """
    The name that an engine makes of a short one.

    >>> _full("postgres:17"), _full("apache/kafka:4"), _full("docker.io/library/python:3")
    ('docker.io/library/postgres:17', 'docker.io/apache/kafka:4', 'docker.io/library/python:3')
    """
    if name.startswith("docker.io/"):
        return name
    return f"docker.io/{name}" if "/" in name else f"docker.io/library/{name}"


def _named(file: str, beginning: str) -> str:
    """The image that a file names: the stand-in gets exactly this name."""
    for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
        if line.strip().startswith(beginning):
            return line.strip().removeprefix("ARG PYTHON=").removeprefix("image: ")
    msg = f"{file} has no line that begins with {beginning!r}"
    raise ValueError(msg)


def _wait_for_service(socket: Path, service: subprocess.Popen[bytes]) -> None:
    waiting = threading.Event()
    for _ in range(int(SERVICE_SECONDS / 0.1)):
        if socket.exists():
            return
        if service.poll() is not None:
            break
        waiting.wait(0.1)
    msg = f"podman's service did not open {socket} within {SERVICE_SECONDS:.0f} s: see podman.log beside it"
    raise EngineError(msg)


@contextmanager
def health_checks(found: Engine, project: str) -> Iterator[None]:
    """Run the health checks of a project's containers while the context lasts, where systemd does not do it for podman."""
    if not found.needs_health_checks:
        yield
        return
    over = threading.Event()

    def check() -> None:
        while not over.wait(LOOK_SECONDS):
            words = ("podman", "ps", "--filter", f"label=com.docker.compose.project={project}", "--format", "{{.Names}}")
            for name in _quietly(words, found.environ).split():
                _quietly(("podman", "healthcheck", "run", name), found.environ)

    thread = threading.Thread(target=check, name="health-checks", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(ASK_SECONDS * 2)


def _quietly(words: Sequence[str], environ: Mapping[str, str]) -> str:
    """A container may be gone by now, or have no check: that is no news."""
    try:
        return subprocess.run(words, env=dict(environ), capture_output=True, text=True, timeout=ASK_SECONDS, check=False).stdout
    except subprocess.TimeoutExpired:
        return ""


def _answers(words: Sequence[str]) -> bool:
    try:
        return subprocess.run(words, capture_output=True, timeout=ASK_SECONDS, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
