"""The list of a release has what an installation with one extra brings."""

from pathlib import Path

from deploy.release.inventory import with_extra


def distribution(folder: Path, name: str, *requires: str) -> None:
    """One that is installed in a folder, without a file."""
    (folder / f"{name}-1.dist-info").mkdir(parents=True)
    lines = (f"Name: {name}", "Version: 1", *(f"Requires-Dist: {one}" for one in requires))
    (folder / f"{name}-1.dist-info" / "METADATA").write_text("\n".join(lines) + "\n\n", encoding="utf-8")


def test_what_is_asked_for_at_any_depth_is_needed(tmp_path: Path) -> None:
    """An extra counts where it is asked for, a marker where it holds, and a circle ends."""
    distribution(
        tmp_path,
        "Top",
        'below[fast]>=1; python_version >= "3"',
        'asked; extra == "asked-for"',
        'of-an-extra; extra == "more"',
        'gone; python_version < "3"',
    )
    distribution(tmp_path, "below", "Deep_Down", 'quick; extra == "fast"', 'slow; extra == "slow"')
    for name in ("asked", "of-an-extra", "quick", "slow", "beside"):
        distribution(tmp_path, name)
    distribution(tmp_path, "deep_down", "top")
    assert with_extra("top", "asked-for", [str(tmp_path)]) == {
        "top": {"below", "asked"},
        "asked": set(),
        "below": {"deep-down", "quick"},
        "deep-down": {"top"},
        "quick": set(),
    }


def test_the_first_of_two_of_a_name_counts(tmp_path: Path) -> None:
    """As when Python imports it."""
    distribution(tmp_path / "first", "top", "one")
    distribution(tmp_path / "second", "top", "two")
    distribution(tmp_path / "second", "one")
    assert with_extra("top", "none", [str(tmp_path / "first"), str(tmp_path / "second")]) == {"top": {"one"}, "one": set()}
