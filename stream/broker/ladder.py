"""A broker for the demo and the tests: the first that can be had, and why not an earlier one."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stream.broker.apache.kafka import Kafka
from stream.broker.docker import Docker
from stream.broker.external import VARIABLE, External
from stream.broker.rung import Broker, BrokerUnavailable, Log, Rung, RungUnavailable, Wanted, to_stderr
from stream.broker.tansu import Tansu
from stream.logs import without_slow_tasks

# The rungs that start a broker of their own, and all: the first of those uses the broker that TAGSTREAM_BROKERS names.
STARTED: tuple[Rung, ...] = (Docker(), Kafka(), Tansu())
RUNGS: tuple[Rung, ...] = (External(), *STARTED)


@contextmanager
def broker(
    *,
    prefer: str | None = None,
    nodes: int = 1,
    environ: Mapping[str, str] = os.environ,
    data_dir: Path | None = None,
    start_timeout_seconds: float = 90.0,
    log: Log = to_stderr,
    rungs: Sequence[Rung] = RUNGS,
) -> Iterator[Broker]:
    """
    A broker that has answered, ended on exit if it was started here.

    Args:
        prefer: The only rung to try: `external`, `docker`, `kafka` or `tansu`. None: all, in this order.
        nodes: The least number of brokers in the cluster.
        environ: Where `TAGSTREAM_BROKERS`, JAVA_HOME, PATH and XDG_CACHE_HOME are read.
        data_dir: Where Apache Kafka keeps its records; None is a temporary folder. Docker and Tansu keep none.
        start_timeout_seconds: Bound of one rung's start, downloads apart (they have their own, and say so).
        log: Called with the chosen broker and with long steps. The reasons against other rungs are only in the error.
        rungs: The ladder.

    Yields:
        The broker.

    Raises:
        ValueError: `prefer` is not the name of a rung, or `nodes` is less than 1.
        BrokerUnavailable: No rung could give one, with every reason; or `TAGSTREAM_BROKERS` is set and does not answer.
    """
    without_slow_tasks()
    if nodes < 1:
        msg = f"{nodes} nodes were asked for; the least is 1"
        raise ValueError(msg)
    known = [rung.kind for rung in rungs]
    if prefer is not None and prefer not in known:
        msg = f"there is no broker {prefer!r}; choose one of {', '.join(known)}"
        raise ValueError(msg)
    wanted = Wanted(nodes=nodes, environ=environ, data_dir=data_dir, start_timeout_seconds=start_timeout_seconds, log=log)
    reasons = []
    for rung in rungs:
        if prefer not in (None, rung.kind):
            continue
        started = time.monotonic()
        with ExitStack() as stack:
            try:
                found = stack.enter_context(rung.start(wanted))
            except RungUnavailable as reason:
                reasons.append(f"{rung.kind}: {reason}")
                continue
            log(f"{found.description} at {found.bootstrap}, ready after {time.monotonic() - started:.1f} s")
            yield found
            return
    what = "no Kafka broker could be had" if prefer is None else f"the broker {prefer!r}, and only it, was asked for"
    listed = "\n".join(f"  {reason}" for reason in reasons)
    naming = f", or name a running broker in {VARIABLE}=host:port" if External.kind in known else ""
    msg = f"{what}:\n{listed}\nNext: mend one of these{naming}"
    raise BrokerUnavailable(msg)
