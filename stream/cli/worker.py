"""`tagstream worker`, `doctor` and `top`: run a worker, check everything that it needs, and watch running workers."""

import gc
from typing import Annotated, Literal

import typer

from tagstream.stream.cli.exits import EXIT_BROKER, EXIT_FAILED
from tagstream.stream.cli.options import Brokers, BundleFolder, Decider, Json, Threshold, finite, not_empty, settings

# The values of tagstream.stream.kafka.rights.Role, which is not imported, so that `--help` stays fast.
Role = Literal[
    "worker", "producer", "consumer", "reviewer", "reporter", "tags", "operator", "serve", "shadow", "controller", "creator"
]


def worker(
    brokers: Brokers = None,
    bundle: BundleFolder = None,
    group: Annotated[str | None, typer.Option(help="Consumer group.", callback=not_empty)] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of /metrics; 0 takes a free one.")] = None,
    threshold: Threshold = None,
    decider: Decider = None,
) -> None:
    """Read events, tag them, publish; run until stopped."""
    # Garbage collections would take a sixth of the start and free little, because most objects of the start stay. `process.run` enables
    # collection again.
    gc.disable()
    chosen = settings(
        brokers=brokers,
        bundle=bundle,
        group=group,
        metrics_port=metrics_port,
        confidence_threshold=threshold,
        decider=decider,
    )
    from tagstream.stream.cli import worker_process

    worker_process.main(chosen)


def doctor(
    brokers: Brokers = None,
    bundle: BundleFolder = None,
    create_topics: Annotated[bool, typer.Option("--create-topics", help="Make the topics that do not exist.")] = False,
    acls: Annotated[
        str | None,
        typer.Option(
            "--acls",
            help="Only print the commands that give this user the rights of a role, and no further rights.",
            metavar="USER",
            callback=not_empty,
        ),
    ] = None,
    role: Annotated[Role, typer.Option("--role", help="Role of the user of --acls.")] = "worker",
    json: Json = False,
) -> None:
    """Check everything that a worker needs; say the next step."""
    chosen = settings(brokers=brokers, bundle=bundle)
    from tagstream.stream.doctor.examine import examine
    from tagstream.stream.doctor.show import printer
    from tagstream.stream.kafka import rights
    from tagstream.stream.terminal import console

    if acls is not None:
        console.print_lines(rights.lines(chosen, rights.Role(role), acls), as_json=json)
        return
    report = examine(chosen, create_topics=create_topics, say=printer(chosen, as_json=json))
    if not report.broker_reachable:
        raise typer.Exit(EXIT_BROKER)
    if report.failed:
        raise typer.Exit(EXIT_FAILED)


def top(
    urls: Annotated[
        list[str] | None,
        typer.Argument(
            help="Addresses of the workers' metrics; the settings' address unless given.", metavar="[HOST:PORT|URL]..."
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end.")] = False,
    json: Json = False,
    every: Annotated[float, typer.Option(help="Seconds between two frames.", min=0.2, max=60, callback=finite)] = 1.0,
) -> None:
    """Watch running workers: flow, latency, confidence, drift, alarms."""
    from tagstream.monitoring.top import top as run
    from tagstream.monitoring.top.workers import address
    from tagstream.stream.settings.metrics_address import own_address
    from tagstream.stream.terminal.console import Terminal, show_json

    def waiting() -> str:
        from tagstream.stream.doctor.group import in_a_sentence

        return in_a_sentence(settings())

    addresses = [address(url) for url in urls or [own_address(settings())]]
    run.top(addresses, once=once, as_json=json, every_seconds=every, console=Terminal(), show_json=show_json, waiting=waiting)
