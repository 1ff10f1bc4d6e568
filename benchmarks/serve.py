"""
Many connections at once at `tagstream serve`, far more rows than it can decide: what is answered, refused and lost, how late, and with how much memory.

python -m benchmarks.serve

Each connection sends its requests one after the other, each with one event of its own. One that is refused (503) is sent again after
`Retry-After`, as a good client does it. The command ends with 1 if any request had no answer, another answer than its own, or a status
that is none of 200, 503 and 504 (its deadline was over).

Before that, one client alone asks again and again on a connection that it keeps. `--against FOLDER`, a checkout of another version, asks its
service in turns, so that both have the same machine.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

MIB = 1024
START_SECONDS = 120.0
# Against hanging alone.
MOST_SECONDS = 1800.0
FILES = 8192
ROUNDS = 5
ROOT = Path(__file__).parents[1]
SENTENCES = (
    "Attention is all you need for translation",
    "Detecting small objects in aerial images",
    "Deploying models on kubernetes without downtime",
    "A walk along the river on a Sunday",
)


@dataclass
class Seen:
    """The answers as the clients saw them."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    refused_seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    broken: Counter[str] = field(default_factory=Counter)


async def client(host: str, port: int, name: int, requests: int, seen: Seen) -> None:
    """One connection."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
        for number in range(requests):
            event_id = f"{name}-{number}"
            body = json.dumps({"id": event_id, "title": SENTENCES[(name + number) % len(SENTENCES)]}).encode()
            head = f"POST /classify HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            while True:
                began = time.perf_counter()
                writer.write(head + body)
                await writer.drain()
                status, headers, answer = await answered(reader)
                took = time.perf_counter() - began
                seen.statuses[status] += 1
                if status != HTTPStatus.SERVICE_UNAVAILABLE:
                    break
                seen.refused_seconds.append(took)
                await asyncio.sleep(float(headers["retry-after"]))
            seen.seconds.append(took)
            seen.wrong += status == HTTPStatus.OK and json.loads(answer)["id"] != event_id
        writer.close()
    except (OSError, asyncio.IncompleteReadError, KeyError) as error:
        seen.broken[type(error).__name__] += 1


async def answered(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    return int(first.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


async def load(host: str, port: int, connections: int, requests: int) -> Seen:
    """All connections at once."""
    seen = Seen()
    async with asyncio.timeout(MOST_SECONDS):
        await asyncio.gather(*(client(host, port, name, requests, seen) for name in range(connections)))
    return seen


async def kept(host: str, port: int, requests: int) -> list[float]:
    """The seconds of each of so many requests of one event, one after the other on one connection."""
    seen = Seen()
    async with asyncio.timeout(MOST_SECONDS):
        await client(host, port, 0, requests, seen)
    if seen.wrong or seen.broken or set(seen.statuses) != {HTTPStatus.OK}:
        msg = f"a kept connection was not answered: {dict(seen.statuses)}, {dict(seen.broken)}, wrong {seen.wrong}"
        raise SystemExit(msg)
    return seen.seconds


def peak_mib(pid: int) -> float:
    """The most resident memory of a process so far."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / MIB if found else 0.0


def address(log: Path, process: subprocess.Popen[bytes]) -> tuple[str, int]:
    """Of the service that has started."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"http://([\d.]+):(\d+)/docs", log.read_text(encoding="utf-8"))
        if found:
            return found[1], int(found[2])
        time.sleep(0.1)
    raise SystemExit(log.read_text(encoding="utf-8"))


def share(sorted_seconds: list[float], part: float) -> float:
    """A quantile in seconds."""
    return sorted_seconds[min(len(sorted_seconds) - 1, int(part * len(sorted_seconds)))] if sorted_seconds else float("nan")


@contextlib.contextmanager
def service(tree: Path, queue_rows: int) -> Iterator[tuple[subprocess.Popen[bytes], str, int]]:
    """The service of a checkout: its process, host and port."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        command = [sys.executable, "-m", "tagstream.stream.cli.main", "serve", "--port", "0", "--queue-rows", str(queue_rows)]
        with log.open("wb") as written:
            process = subprocess.Popen(
                command, cwd=tree, env=os.environ | {"PYTHONPATH": str(tree)}, stdout=written, stderr=written
            )
        try:
            yield process, *address(log, process)
        finally:
            process.kill()
            process.wait(START_SECONDS)


def compare_kept(services: dict[str, tuple[str, int]], requests: int) -> None:
    """One client on a kept connection, at each of these services in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in services}
    for _ in range(ROUNDS):
        for name, (host, port) in services.items():
            seconds[name] += asyncio.run(kept(host, port, requests))
    for name, found in seconds.items():
        found.sort()
        print(
            f"one client, {len(found)} requests on kept connections, {name}: p50 {share(found, 0.5) * 1000:.1f} ms, "
            f"p99 {share(found, 0.99) * 1000:.1f} ms, {len(found) / sum(found):.0f} requests/s"
        )


def main() -> int:
    """Run the load and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--requests", type=int, default=5)
    parser.add_argument("--queue-rows", type=int, default=1024)
    parser.add_argument("--kept-requests", type=int, default=100, help="of the one client, in each of five rounds")
    parser.add_argument("--against", type=Path, help="a checkout of another version, for the one client")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))
    with contextlib.ExitStack() as stack:
        process, host, port = stack.enter_context(service(ROOT, options.queue_rows))
        services = {"this version": (host, port)}
        if options.against is not None:
            _, other_host, other_port = stack.enter_context(service(options.against.resolve(), options.queue_rows))
            services[str(options.against)] = (other_host, other_port)
        print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, with the clients of this command")
        compare_kept(services, options.kept_requests)
        idle = peak_mib(process.pid)
        began = time.perf_counter()
        seen = asyncio.run(load(host, port, options.connections, options.requests))
        took = time.perf_counter() - began
        peak = peak_mib(process.pid)
        process.terminate()
        code = process.wait(START_SECONDS)
    expected = options.connections * options.requests
    accepted, refused = sorted(seen.seconds), sorted(seen.refused_seconds)
    late = seen.statuses[HTTPStatus.GATEWAY_TIMEOUT]
    lost = expected - len(accepted)
    print(
        f"{options.connections} connections at once, {options.requests} requests each, of one event; {options.queue_rows} rows may wait"
    )
    print(
        f"answered {seen.statuses[200]} of {expected} in {took:.1f} s ({seen.statuses[200] / took:.0f} rows/s), late with 504: {late}, lost {lost}, wrong {seen.wrong}"
    )
    print(f"refused with 503: {seen.statuses[503]} ({seen.statuses[503] / sum(seen.statuses.values()):.0%} of what was sent)")
    print(
        f"accepted, with 200 or 504 in the end: p50 {share(accepted, 0.5):.3f} s, p99 {share(accepted, 0.99):.3f} s, longest {share(accepted, 1):.3f} s"
    )
    print(f"refused: p50 {share(refused, 0.5):.3f} s, p99 {share(refused, 0.99):.3f} s")
    print(f"memory of the service: {idle:.0f} MiB before, {peak:.0f} MiB at its peak")
    print(f"its exit code after SIGTERM: {code}; connections that broke: {dict(seen.broken) or 'none'}")
    return 0 if lost == seen.wrong == code == 0 and not seen.broken and set(seen.statuses) <= {200, 503, 504} else 1


if __name__ == "__main__":
    sys.exit(main())
