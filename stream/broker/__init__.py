"""A Kafka broker for the demo and the tests: the first that can be had.

    with broker() as found:
        print(found.description, found.bootstrap)

`tagstream broker` starts one from a shell.
"""

from tagstream.stream.broker.ladder import broker
from tagstream.stream.broker.provider import Broker, BrokerUnavailable

__all__ = ["Broker", "BrokerUnavailable", "broker"]
