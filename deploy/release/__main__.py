"""Makes a release of this checkout: `python -m deploy.release VERSION`, or `make release VERSION=0.2.0`."""

import argparse
import sys
from pathlib import Path

from deploy.release import image
from deploy.release.failure import ReleaseError
from deploy.release.release import release

ROOT = Path(__file__).parents[2]


def talk(step: str) -> None:
    """Say on standard error what is made now."""
    print(f"release: {step}", file=sys.stderr, flush=True)  # noqa: T201 - a program for people


def main() -> int:
    """Make it, and print its folder."""
    parser = argparse.ArgumentParser(prog="python -m deploy.release", description="Make a release; publish nothing.")
    parser.add_argument("version", help="the version, as pyproject.toml and CHANGELOG.md must say it")
    parser.add_argument("--no-image", action="store_true", help="leave the image out")
    parser.add_argument(
        "--build-option",
        action="append",
        default=[],
        metavar="OPTION",
        help="an option of the engine's build, --build-option=--pull",
    )
    asked = parser.parse_args()
    engine = None if asked.no_image else image.engine()
    try:
        done = release(ROOT, asked.version, engine=engine, build_options=asked.build_option, tell=talk)
    except ReleaseError as error:
        talk(str(error))
        return 1
    if engine is None:
        talk("there is no image in it: " + ("it was left out" if asked.no_image else "neither Docker nor podman answers here"))
    talk("nothing was published; docs/release.md says what is left to do")
    print(done)  # noqa: T201 - the result
    return 0


if __name__ == "__main__":
    sys.exit(main())
