"""`tagstream serve`: answers requests for decisions by HTTP."""

from pathlib import Path
from typing import Annotated

import typer

from tagstream.stream.cli.exits import EXIT_USAGE, fail, needing
from tagstream.stream.cli.options import Brokers, BundleFolder, Decider, Threshold, finite, not_empty, path, settings

MOST_PORT = 65535


def serve(
    brokers: Brokers = None,
    bundle: BundleFolder = None,
    threshold: Threshold = None,
    decider: Decider = None,
    host: Annotated[str, typer.Option(help="Address to listen on.", callback=not_empty)] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=MOST_PORT)] = 8091,
    host_name: Annotated[
        list[str] | None,
        typer.Option("--host-name", help="Host name that clients use; addresses and localhost need none. May be repeated."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the token that each request must bring: Authorization: Bearer TOKEN.", parser=path, metavar="FILE"
        ),
    ] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="Listen beyond this machine without a token: a proxy lets clients through.")
    ] = False,
    feedback_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Origin such as https://news.example whose pages may send viewers' answers to POST /feedback. May be repeated."
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            help="Table of predictions that is asked before the model: sqlite:///FILE or postgresql://...", callback=not_empty
        ),
    ] = None,
    queue_rows: Annotated[
        int, typer.Option(help="Rows that may wait for the model; more are answered with 503.", min=1, max=100_000)
    ] = 1024,
    deadline_seconds: Annotated[
        float, typer.Option(help="Most seconds that a request waits for its decisions.", min=0.1, max=300, callback=finite)
    ] = 10.0,
) -> None:
    """
    Decide by HTTP until stopped: POST /classify.

    The service prints its address, which has a page with examples. It needs a broker only for requests with ?publish=true.
    """
    chosen = settings(brokers=brokers, bundle=bundle, confidence_threshold=threshold, decider=decider)
    with needing("the service", "http"):
        from tagstream.stream.serve import run
    from tagstream.stream import logs
    from tagstream.stream.terminal import console
    from tagstream.stream.web.origins import checked_origin
    from tagstream.stream.web.serving import is_loopback

    if not (is_loopback(host) or token_file or behind_proxy):
        fail(
            f"on {host} everyone who reaches the service could use it, and write events with ?publish=true. Next: give --token-file, keep "
            f"--host 127.0.0.1, or say --behind-proxy if a proxy lets clients through.",
            EXIT_USAGE,
        )
    options = run.ServeOptions(
        host=host,
        port=port,
        names=host_name or (),
        token_file=token_file,
        table=table,
        most_waiting=queue_rows,
        deadline_seconds=deadline_seconds,
        feedback_origins=[checked_origin(origin, "--feedback-origin") for origin in feedback_origin or ()],
        behind_proxy=behind_proxy,
    )
    logs.configure(level=chosen.log_level, form=chosen.log_format)
    run.run(chosen, options, say=console.talk)
