"""`tagstream model`: make, measure and inspect bundles."""

import typer

from tagstream.stream.cli.help import verbs_at

_MODELS = "tagstream.stream.cli.models."
VERBS = {
    "train": f"{_MODELS}train:train",
    "import": f"{_MODELS}importing:import_model",
    "start": f"{_MODELS}start:start",
    "grow": f"{_MODELS}start:grow",
    "export": f"{_MODELS}remake:export",
    "calibrate": f"{_MODELS}remake:calibrate",
    "adapt": f"{_MODELS}remake:adapt",
    "evaluate": f"{_MODELS}evaluate:evaluate",
    "verify": f"{_MODELS}bundle_verbs:verify",
    "inspect": f"{_MODELS}bundle_verbs:inspect",
    "list": f"{_MODELS}listing:list_bundles",
}
app = typer.Typer(
    cls=verbs_at({"Commands": VERBS}), help="Make and inspect model bundles.", no_args_is_help=True, rich_markup_mode=None
)


@app.callback()
def _of_all_verbs() -> None:
    """Let typer treat the application as a group of verbs, although no verb is declared on it."""
