"""Compose 2 as a program, compiled from its Go modules where none can be fetched ready-made. Needs nothing but Python and a Go.

python -m tests.images.compose      compiles it into the cache beforehand, as CI does while packages are fetched
"""

from pathlib import Path

from tests.go.programs import GoProgram, built, cache_folder

COMPOSE = GoProgram(
    name="docker-compose",
    module="github.com/docker/compose/v2",
    version="v2.40.3",
    package="github.com/docker/compose/v2/cmd",
    imported="github.com/docker/compose/v2/cmd/compose",
)


def images_cache() -> Path:
    """The folder of what the tests of images keep between runs; it exists when this returns."""
    return cache_folder("images")


def compose_program(cache: Path) -> Path:
    """Compose's program from the cache, or compiled into it."""
    return built(COMPOSE, cache)


if __name__ == "__main__":
    compose_program(images_cache())
