"""A Kafka broker for the demo and the tests: the first that can be had.

    with broker() as found:
        print(found.description, found.bootstrap)

`python -m stream.broker` starts one from a shell.
"""

from stream.broker.apache.cluster import KafkaCluster
from stream.broker.ladder import broker
from stream.broker.rung import Broker, BrokerUnavailable

__all__ = ["Broker", "BrokerUnavailable", "KafkaCluster", "broker"]
