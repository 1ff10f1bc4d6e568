"""`tagstream drift`: what the group has learned of its stream."""

import typer

from tagstream.stream.cli.options import Brokers, BundleFolder, settings

app = typer.Typer(help="Say what is ordinary on the stream.", no_args_is_help=True, rich_markup_mode=None)


@app.command("confirm")
def confirm(brokers: Brokers = None, bundle: BundleFolder = None) -> None:
    """
    Compare from now on with what the group has learned of its stream so far.

    Without it the group learns until its time is over (drift_learning_seconds).
    """
    from tagstream.stream.cli.show import learned

    learned.confirm(settings(brokers=brokers, bundle=bundle))


@app.command("learn")
def learn(brokers: Brokers = None, bundle: BundleFolder = None) -> None:
    """Let the group learn anew what is ordinary, after a lasting change that is wanted."""
    from tagstream.stream.cli.show import learned

    learned.learn(settings(brokers=brokers, bundle=bundle))
