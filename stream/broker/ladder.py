"""A broker for the demo and the tests: the first that can be had, and why not an earlier one."""

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from tagstream.stream.broker.docker import Docker
from tagstream.stream.broker.kafka import Kafka
from tagstream.stream.broker.probe import wait_for_cluster
from tagstream.stream.broker.provider import (
    Broker,
    BrokerRequest,
    BrokerUnavailable,
    Deadline,
    Log,
    Provider,
    ProviderUnavailable,
    to_stderr,
)
from tagstream.stream.broker.tansu import Tansu
from tagstream.stream.logs import without_slow_tasks

VARIABLE = "TAGSTREAM_BROKERS"
_ADDRESS = re.compile(r"([^:\[\]]+|\[[0-9a-fA-F:]+\]):\d{1,5}")
_HIGHEST_PORT = 65_535


class NamedBroker:
    """The broker that `TAGSTREAM_BROKERS` names. It is used, or it is an error; it is never started, stopped or written to."""

    kind = "external"

    @contextmanager
    def start(self, request: BrokerRequest) -> Iterator[Broker]:
        """Wait until it answers."""
        named = request.environ.get(VARIABLE, "").replace(" ", "")
        if not named:
            msg = f"{VARIABLE} is not set"
            raise ProviderUnavailable(msg)
        addresses = named.split(",")
        for address in addresses:
            if not _ADDRESS.fullmatch(address) or int(address.rpartition(":")[2]) > _HIGHEST_PORT:
                msg = f"{VARIABLE}={named!r} is not a list of host:port, separated by commas ({address!r} is not one)"
                raise BrokerUnavailable(msg)
        bound = f"{request.start_timeout_seconds:.0f} s"
        unset = f"unset {VARIABLE} to have one started"
        request.log(f"looking for the broker at {named}, which {VARIABLE} names, for {bound} at most; {unset}")
        try:
            wait_for_cluster(addresses, deadline=Deadline.after(request.start_timeout_seconds))
        except ProviderUnavailable as error:
            msg = f"{VARIABLE} is {named}, and it did not answer within {bound}: {error}; start that broker, or {unset}"
            raise BrokerUnavailable(msg) from error
        yield Broker(bootstrap=named, kind=self.kind, description=f"the broker that {VARIABLE} names")


# The providers that start a broker of their own: Apache Kafka is first, since it has transactions and exact ends of a topic.
STARTED: tuple[Provider, ...] = (Docker(), Kafka(), Tansu())
# The same for a demo that needs no transactions: the embedded broker is there in a second.
QUICKEST: tuple[Provider, ...] = (Tansu(), Docker(), Kafka())
# All.
PROVIDERS: tuple[Provider, ...] = (NamedBroker(), *STARTED)


@contextmanager
def broker(
    *,
    prefer: str | None = None,
    environ: Mapping[str, str] = os.environ,
    start_timeout_seconds: float = 90.0,
    log: Log = to_stderr,
    providers: Sequence[Provider] = PROVIDERS,
) -> Iterator[Broker]:
    """
    A broker that has answered, ended on exit if it was started here.

    Args:
        prefer: The only provider to try: `external`, `docker`, `kafka` or `tansu`. None: all `providers`, in their order.
        environ: Where `TAGSTREAM_BROKERS`, JAVA_HOME, PATH and XDG_CACHE_HOME are read.
        start_timeout_seconds: Bound of one provider's start, downloads apart (they have their own, and say so).
        log: Called with the chosen broker and with long steps. The reasons against other providers are only in the error.
        providers: The ladder.

    Yields:
        The broker.

    Raises:
        ValueError: `prefer` is not the name of a provider.
        BrokerUnavailable: No provider could give one, with every reason; or `TAGSTREAM_BROKERS` is set and does not answer.
    """
    without_slow_tasks()
    known = [provider.kind for provider in providers]
    if prefer is not None and prefer not in known:
        msg = f"there is no broker {prefer!r}; choose one of {', '.join(known)}"
        raise ValueError(msg)
    request = BrokerRequest(environ=environ, start_timeout_seconds=start_timeout_seconds, log=log)
    reasons = []
    for provider in providers:
        if prefer not in (None, provider.kind):
            continue
        started = time.monotonic()
        with ExitStack() as stack:
            try:
                found = stack.enter_context(provider.start(request))
            except ProviderUnavailable as reason:
                reasons.append(f"{provider.kind}: {reason}")
                continue
            log(f"{found.description} at {found.bootstrap}, ready after {time.monotonic() - started:.1f} s")
            yield found
            return
    what = "no Kafka broker could be had" if prefer is None else f"the broker {prefer!r}, and only it, was asked for"
    listed = "\n".join(f"  {reason}" for reason in reasons)
    naming = f", or name a running broker in {VARIABLE}=host:port" if NamedBroker.kind in known else ""
    msg = f"{what}:\n{listed}\nNext: mend one of these{naming}"
    raise BrokerUnavailable(msg)
