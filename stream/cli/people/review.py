"""`tagstream review`: the console in which people answer."""

import getpass
from pathlib import Path
from typing import Annotated

import typer

from tagstream.stream.cli.exits import EXIT_USAGE, fail
from tagstream.stream.cli.options import Brokers, not_empty, path, settings
from tagstream.stream.cli.people import transfer

app = typer.Typer(help="Answer what waits for a person: a page in the browser.", rich_markup_mode=None)

app.command("export")(transfer.export)
app.command("import")(transfer.bring)

MOST_PORT = 65535
Names = Annotated[
    list[str] | None,
    typer.Option("--host-name", help="Host name by which browsers ask; addresses and localhost need none. May be repeated."),
]


@app.callback(invoke_without_command=True)
def review(
    context: typer.Context,
    brokers: Brokers = None,
    store: Annotated[
        str | None,
        typer.Option(
            help="Store: sqlite:///FILE, or postgresql://... for several consoles; a file in state_folder unless given.",
            callback=not_empty,
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.", callback=not_empty)] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=MOST_PORT)] = 8090,
    reviewer: Annotated[
        str | None, typer.Option(help="Name of who has not given one; this user's unless given.", callback=not_empty)
    ] = None,
    proxy_header: Annotated[
        str | None, typer.Option(help="Header in which a proxy gives the name of who has signed in.", callback=not_empty)
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None, typer.Option(help="Address or network of that proxy. May be repeated.", metavar="ADDRESS")
    ] = None,
    host_name: Names = None,
    report_origin: Annotated[
        list[str] | None,
        typer.Option(help="Site whose pages may send reports, such as https://news.example. May be repeated."),
    ] = None,
    guidelines: Annotated[
        Path | None,
        typer.Option(
            help="Markdown file on what each label means, shown beside the answers; unless given, what the bundle of the settings says, or of the shipped labels their own.",
            metavar="FILE",
            parser=path,
        ),
    ] = None,
    without_login: Annotated[
        bool, typer.Option("--without-login", help="Listen beyond this machine without a login: whoever reaches it may answer.")
    ] = False,
) -> None:
    """
    Serve the review console until it is stopped.

    It reads review, audit, reviewed and reports, and writes answers to reviewed. It listens on this machine alone, unless a proxy
    signs people in.
    """
    if context.invoked_subcommand is not None:
        return
    if (proxy_header is None) != (not trusted_proxy):
        fail("--proxy-header and --trusted-proxy belong together. Next: give both, or neither.", EXIT_USAGE)
    chosen = settings(brokers=brokers)
    try:
        from tagstream.stream.review.console import run
    except ModuleNotFoundError as error:
        from tagstream.model_export.extras import install

        fail(f"the console needs the extra `review` ({error}). Next: {install('review')}", EXIT_USAGE)
    from tagstream.stream import logs
    from tagstream.stream.deliver.state_folder import stem_of
    from tagstream.stream.review.console.access import Remembered, proxy
    from tagstream.stream.review.console.guidelines import Guidelines, of_bundle, shipped
    from tagstream.stream.review.console.guidelines import read as read_guidelines
    from tagstream.stream.review.console.reports import checked_origin
    from tagstream.stream.review.store.store import file_of
    from tagstream.stream.terminal import console as terminal
    from tagstream.stream.web.serving import is_loopback

    if not (is_loopback(host) or proxy_header or without_login):
        fail(
            f"on {host} whoever reaches the console could answer. Next: let a proxy sign people in (--proxy-header with --trusted-proxy), "
            f"keep --host 127.0.0.1, or say --without-login.",
            EXIT_USAGE,
        )
    access = proxy(proxy_header, trusted_proxy or ()) if proxy_header else Remembered(name=reviewer or getpass.getuser())
    plan = run.ConsolePlan(
        store=store or f"sqlite:///{file_of(_made(chosen.state_folder.expanduser()), stem_of(chosen))}",
        host=host,
        port=port,
        access=access,
        names=host_name or (),
        origins=[checked_origin(origin) for origin in report_origin or ()],
        guidelines=of_bundle(chosen.bundle) or shipped()
        if guidelines is None
        else Guidelines(text=read_guidelines(guidelines)),
    )
    logs.configure(level=chosen.log_level, form=chosen.log_format)
    run.run(chosen, plan, say=terminal.talk)


def _made(folder: Path) -> Path:
    """The same path, made if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"{folder} cannot be made ({error.strerror}). Next: give --store, or set TAGSTREAM_STATE_FOLDER.", EXIT_USAGE)
    return folder
