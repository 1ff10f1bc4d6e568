"""`tagstream second`: asks a second model about what waits for people, and says what it may settle."""

import typer

from tagstream.stream.cli.exits import EXIT_USAGE, fail, needing, stopping
from tagstream.stream.cli.options import Brokers, BundleFolder, settings

app = typer.Typer(help="Ask a second model about what waits for people.", rich_markup_mode=None)

OFF = (
    "no second model is set, so nobody is asked. Next: set TAGSTREAM_SECOND__BUNDLE to the folder of a larger bundle, or "
    "TAGSTREAM_SECOND__ENDPOINT to the address of an endpoint (docs/second.md)."
)


@app.callback(invoke_without_command=True)
def second(context: typer.Context, brokers: Brokers = None, bundle: BundleFolder = None) -> None:
    """
    Ask a second model about the items of review until stopped; publish what it may settle on tagged.

    It settles what people's answers have proved, and nothing before. Run one process for each group of workers.
    """
    if context.invoked_subcommand is not None:
        return
    chosen = settings(brokers=brokers, bundle=bundle)
    with needing("a second model", "worker"):
        from tagstream.stream.second.from_settings import adviser_of, budget_of, ledger_of
        from tagstream.stream.second.process import SecondProcess
    import time

    from tagstream.stream import logs
    from tagstream.stream.terminal import console
    from tagstream.stream.terminal.text import counted

    budget = budget_of(chosen)
    adviser = adviser_of(chosen, budget)
    if adviser is None:
        fail(OFF, EXIT_USAGE)
    logs.configure(level=chosen.log_level, form=chosen.log_format)
    ledger = ledger_of(chosen, now_ms=round(time.time() * 1000))
    process = SecondProcess(chosen, adviser.ask, ledger, budget, limits=chosen.limits)
    with stopping() as stop:
        process.run(stop)
    console.talk(f"{counted(process.opinions, 'opinion')} written, {counted(process.settled, 'item')} settled")
