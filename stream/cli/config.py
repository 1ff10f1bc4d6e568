"""`tagstream config`: shows the settings."""

from typing import Annotated

import typer

from tagstream.stream.cli.options import Json, loaded

app = typer.Typer(help="Look at the settings.", no_args_is_help=True, rich_markup_mode=None)


@app.command("show")
def show(
    sources: Annotated[bool, typer.Option("--sources", help="Say where each value comes from.")] = False,
    json: Json = False,
) -> None:
    """Print every setting, its value and its meaning."""
    from tagstream.stream.cli.show.settings import print_settings

    print_settings(loaded(), sources=sources, as_json=json)
