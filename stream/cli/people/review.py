"""`tagstream review`: serves the console in which people answer, writes answers to a file, or sends answers from a file to the topic."""

import getpass
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from tagstream.stream.cli.exits import EXIT_USAGE, fail, needing
from tagstream.stream.cli.options import Brokers, given_of, not_empty, path, settings, verb

MOST_PORT = 65535
HOST, PORT = "127.0.0.1", 8090
# Marks of options that apply only to the console, and of options that apply only to --export and --import.
CONSOLE, FILE = "console", "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewOptions:
    """The options of `tagstream review`."""

    brokers: Brokers = None
    reviewer: Annotated[
        str | None,
        typer.Option(
            help="Name of a reviewer who has not given one; this user's name unless given. With --import: the reviewer of answers "
            "without a name.",
            callback=not_empty,
        ),
    ] = None
    store: Annotated[
        str | None,
        CONSOLE,
        typer.Option(
            help="Store: sqlite:///FILE, or postgresql://... for several consoles; a file in state_folder unless given.",
            callback=not_empty,
        ),
    ] = None
    host: Annotated[
        str | None, CONSOLE, typer.Option(help=f"Address to listen on, {HOST} unless given.", callback=not_empty)
    ] = None
    port: Annotated[
        int | None,
        CONSOLE,
        typer.Option(help=f"Port to listen on, {PORT} unless given; 0 takes a free one.", min=0, max=MOST_PORT),
    ] = None
    proxy_header: Annotated[
        str | None,
        CONSOLE,
        typer.Option(help="Header in which a proxy gives the name of the signed-in person.", callback=not_empty),
    ] = None
    trusted_proxy: Annotated[
        list[str] | None, CONSOLE, typer.Option(help="Address or network of that proxy. May be repeated.", metavar="ADDRESS")
    ] = None
    host_name: Annotated[
        list[str] | None,
        CONSOLE,
        typer.Option("--host-name", help="Host name that browsers use; addresses and localhost need none. May be repeated."),
    ] = None
    report_origin: Annotated[
        list[str] | None,
        CONSOLE,
        typer.Option(help="Site whose pages may send reports, such as https://news.example. May be repeated."),
    ] = None
    guidelines: Annotated[
        Path | None,
        CONSOLE,
        typer.Option(
            help="Markdown file that explains each label, shown beside the answers; unless given, the guidelines of the settings' "
            "bundle or of the shipped labels.",
            metavar="FILE",
            parser=path,
        ),
    ] = None
    without_login: Annotated[
        bool,
        CONSOLE,
        typer.Option(
            "--without-login", help="Listen beyond this machine without a login: everyone who reaches the console may answer."
        ),
    ] = False
    export: Annotated[
        Path | None,
        typer.Option(help="Write the answers on the topic `reviewed` into this file instead.", metavar="FILE", parser=path),
    ] = None
    bring: Annotated[
        Path | None,
        typer.Option(
            "--import",
            help="Send the answers in this file to the topic `reviewed` instead. It can be repeated: answers that the topic has "
            "already are passed over.",
            metavar="FILE",
            parser=path,
        ),
    ] = None
    form: Annotated[
        Literal["lines", "rows", "label-studio"] | None,
        FILE,
        typer.Option(
            help="Format of the file. lines, unless given: all answers, for calibrate and --import; rows: the newest answers, to "
            "train on; or Label Studio's JSON."
        ),
    ] = None
    open: Annotated[
        bool,
        FILE,
        typer.Option("--open", help="With --export --form label-studio: also write events that wait for an answer."),
    ] = False


@verb(ReviewOptions)
def review(options: ReviewOptions) -> None:
    """
    Serve a page on which people answer the events that wait for them; or write answers to a file, or send answers from a file.

    The page is served until the command is stopped. It reads review, audit, reviewed and reports, and writes answers to reviewed. It
    listens on this machine alone, unless a proxy signs people in.
    """
    if options.export is None and options.bring is None:
        if wrong := given_of(options, FILE):
            fail(
                f"{', '.join(wrong)}: only for answers in a file. Next: give --export FILE or --import FILE, or leave it out.",
                EXIT_USAGE,
            )
        _serve(options)
        return
    if wrong := given_of(options, CONSOLE):
        fail(f"{', '.join(wrong)}: only for the console. Next: leave it out, or --export and --import.", EXIT_USAGE)
    if options.export is not None and options.bring is not None:
        fail("--export writes a file and --import reads one. Next: give one of the two.", EXIT_USAGE)
    if options.export is not None:
        _export(options, options.export)
    elif options.bring is not None:
        _bring(options, options.bring)


def _export(options: ReviewOptions, out: Path) -> None:
    form = options.form or "lines"
    if options.open and form != "label-studio":
        fail(f"--form {form} has no place for an event without an answer. Next: leave --open out.", EXIT_USAGE)
    if options.reviewer is not None:
        fail("--export writes the names that the answers have. Next: leave --reviewer out.", EXIT_USAGE)
    from tagstream.stream.cli.people import exchange
    from tagstream.stream.review.exchange.files import Form

    exchange.export(settings(brokers=options.brokers), form=Form(form), out=out, with_open=options.open)


def _bring(options: ReviewOptions, file: Path) -> None:
    form = options.form or "lines"
    if options.open or form == "rows":
        fail("--import takes lines and Label Studio's JSON. Next: leave out --open and --form rows.", EXIT_USAGE)
    from tagstream.stream.cli.people import exchange
    from tagstream.stream.review.exchange.files import Form

    exchange.bring(settings(brokers=options.brokers), form=Form(form), file=file, reviewer=options.reviewer or "import")


def _serve(options: ReviewOptions) -> None:
    """Serve the console until it is stopped."""
    host = HOST if options.host is None else options.host
    port = PORT if options.port is None else options.port
    proxy_header, trusted_proxy = options.proxy_header, options.trusted_proxy
    if (proxy_header is None) != (not trusted_proxy):
        fail("--proxy-header and --trusted-proxy belong together. Next: give both, or neither.", EXIT_USAGE)
    chosen = settings(brokers=options.brokers)
    with needing("the console", "review"):
        from tagstream.stream.review.console import run
    from tagstream.monitoring.quality.costs import read as read_costs
    from tagstream.stream import logs
    from tagstream.stream.deliver.state_folder import stem_of
    from tagstream.stream.review.console.access import Remembered, proxy
    from tagstream.stream.review.console.guidelines import Guidelines, of_bundle, shipped
    from tagstream.stream.review.console.guidelines import read as read_guidelines
    from tagstream.stream.review.store.store import file_of
    from tagstream.stream.terminal import console as terminal
    from tagstream.stream.web.origins import checked_origin
    from tagstream.stream.web.serving import is_loopback

    if not (is_loopback(host) or proxy_header or options.without_login):
        fail(
            f"on {host} whoever reaches the console could answer. Next: let a proxy sign people in (--proxy-header with --trusted-proxy), "
            f"keep --host 127.0.0.1, or say --without-login.",
            EXIT_USAGE,
        )
    access = (
        proxy(proxy_header, trusted_proxy or ()) if proxy_header else Remembered(name=options.reviewer or getpass.getuser())
    )
    plan = run.ConsolePlan(
        store=options.store or f"sqlite:///{file_of(_made(chosen.state_folder.expanduser()), stem_of(chosen))}",
        host=host,
        port=port,
        access=access,
        names=options.host_name or (),
        origins=[checked_origin(origin, "--report-origin") for origin in options.report_origin or ()],
        guidelines=of_bundle(chosen.bundle) or shipped()
        if options.guidelines is None
        else Guidelines(text=read_guidelines(options.guidelines)),
        costs=read_costs(Path.cwd()),
    )
    logs.configure(level=chosen.log_level, form=chosen.log_format)
    run.run(chosen, plan, say=terminal.talk)


def _made(folder: Path) -> Path:
    """Return the folder, and create it if it does not exist."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"{folder} cannot be made ({error.strerror}). Next: give --store, or set TAGSTREAM_STATE_FOLDER.", EXIT_USAGE)
    return folder
