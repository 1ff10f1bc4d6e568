"""The colours of a report, as its pages and its pictures have them; no library is needed for them."""

# The value in light and in dark mode, by the name of the CSS variable. No two light values are the same: they are
# replaced in the SVG.
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
    """The colours as CSS, light and dark."""
    light, dark = (";".join(f"--{name}:{pair[place]}" for name, pair in COLOURS.items()) for place in (0, 1))
    return f"{selector}{{{light}}}@media (prefers-color-scheme:dark){{{selector}{{{dark}}}}}"
