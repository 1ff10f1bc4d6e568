"""The colours of a report's pages and pictures. This module does not need a library."""

# By the name of the CSS variable, the values in light and in dark mode. The light values must all differ: in the SVG each is replaced by
# its variable.
COLOURS = {
    "ink": ("#1b1e22", "#e9ebee"),
    "quiet": ("#58606a", "#a5adb8"),
    "line": ("#dfe1e4", "#2b313a"),
    "card": ("#fffffe", "#181c22"),
    "ours": ("#0f766e", "#3cc9b8"),
    "other-1": ("#a84b06", "#f3b548"),
    "other-2": ("#1d4fd0", "#82abff"),
    "other-3": ("#7530d6", "#c6a5ff"),
    "other-4": ("#b3201f", "#ff8585"),
    "other-5": ("#4d6b1c", "#a8cc6a"),
    "other-6": ("#8a3668", "#f09ccb"),
}


def colour_rules(selector: str) -> str:
    """Return the colours as CSS, for light and dark mode."""
    light, dark = (";".join(f"--{name}:{pair[place]}" for name, pair in COLOURS.items()) for place in (0, 1))
    return f"{selector}{{{light}}}@media (prefers-color-scheme:dark){{{selector}{{{dark}}}}}"
