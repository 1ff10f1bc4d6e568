"""Apache Kafka as processes on the machine's own Java."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from stream.broker.apache.cluster import KafkaCluster
from stream.broker.rung import Broker, Wanted


class Kafka:
    """The broker that CI runs on."""

    kind = "kafka"

    @contextmanager
    def start(self, wanted: Wanted) -> Iterator[Broker]:
        """Start as many nodes as are wanted."""
        cluster = KafkaCluster(
            nodes=wanted.nodes,
            data_dir=wanted.data_dir,
            environ=wanted.environ,
            start_timeout_seconds=wanted.start_timeout_seconds,
            log=wanted.log,
        )
        with closing(cluster):
            cluster.start()
            yield Broker(
                bootstrap=cluster.bootstrap,
                kind=self.kind,
                description=cluster.description,
                transactions=True,
                durable=True,
            )
