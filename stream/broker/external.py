"""The broker that `TAGSTREAM_BROKERS` names. It is used, or it is an error; no other broker is tried."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from stream.broker.probe import count_brokers, has_transactions, wait_for_one_port
from stream.broker.rung import Broker, BrokerUnavailable, Deadline, RungUnavailable, Wanted

VARIABLE = "TAGSTREAM_BROKERS"
_TRANSACTION_SECONDS = 5.0
_ADDRESS = re.compile(r"([^:\[\]]+|\[[0-9a-fA-F:]+\]):\d{1,5}")
_HIGHEST_PORT = 65_535


class External:
    """A broker of the user's own: it is neither started nor stopped, and no topic is written to."""

    kind = "external"

    @contextmanager
    def start(self, wanted: Wanted) -> Iterator[Broker]:
        """Wait until the named broker answers."""
        named = wanted.environ.get(VARIABLE, "").replace(" ", "")
        if not named:
            msg = f"{VARIABLE} is not set"
            raise RungUnavailable(msg)
        addresses = named.split(",")
        for address in addresses:
            if not _ADDRESS.fullmatch(address) or int(address.rpartition(":")[2]) > _HIGHEST_PORT:
                msg = f"{VARIABLE}={named!r} is not a list of host:port, separated by commas ({address!r} is not one)"
                raise BrokerUnavailable(msg)
        wanted.log(
            f"looking for the broker at {named}, which {VARIABLE} names, for {wanted.start_timeout_seconds:.0f} s at most; "
            f"unset {VARIABLE} to have one started"
        )
        deadline = Deadline.after(wanted.start_timeout_seconds)
        try:
            wait_for_one_port(addresses, deadline=deadline, check=lambda: None)
            brokers = count_brokers(named, deadline=deadline)
        except RungUnavailable as error:
            msg = (
                f"{VARIABLE} is {named}, and it did not answer within {wanted.start_timeout_seconds:.0f} s: {error}; "
                f"start that broker, or unset {VARIABLE} to have one started"
            )
            raise BrokerUnavailable(msg) from error
        if brokers < wanted.nodes:
            msg = (
                f"{VARIABLE} is {named}, a cluster of {brokers}, and {wanted.nodes} nodes are wanted; "
                f"unset {VARIABLE} to have them started"
            )
            raise BrokerUnavailable(msg)
        yield Broker(
            bootstrap=named,
            kind=self.kind,
            description=f"the broker that {VARIABLE} names ({brokers} {'node' if brokers == 1 else 'nodes'})",
            transactions=has_transactions(named, deadline=Deadline.after(_TRANSACTION_SECONDS)),
            # A client cannot ask for this; a broker that is named is taken for a durable one.
            durable=True,
        )
