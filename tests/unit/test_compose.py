"""The variables of docker-compose.yml and of docs/deploy.md: one list, and every setting among them exists; one image for every role."""

import re
from pathlib import Path

import pytest
import yaml

from tagstream.stream.settings.loading import known_keys

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
# Between the headings: the commands for Compose, whose variables a reader sets on the command line.
SECTION = PAGE.split("## Compose, in two commands")[1].split("\n## ")[0]
SETTINGS = {f"TAGSTREAM_{key.upper().replace('.', '__')}" for key in known_keys()}


def taken() -> set[str]:
    """The variables that Compose takes from the environment."""
    return set(re.findall(r"\$\{([A-Z_]+)", COMPOSE))


def set_on_the_page() -> set[str]:
    """The variables that the section sets before a command, or names in its text, and not those of its YAML."""
    without_yaml = re.sub(r"```yaml\n.*?```", "", SECTION, flags=re.DOTALL)
    return set(re.findall(r"\b([A-Z][A-Z_]+)=", without_yaml)) | set(re.findall(r"`([A-Z][A-Z_]+)`", without_yaml))


def test_the_page_and_the_file_have_the_same_variables() -> None:
    """A variable that Compose does not pass on would be set in vain, and one that the page lacks is never found."""
    assert set_on_the_page() == taken()


@pytest.mark.parametrize("text", [COMPOSE, PAGE], ids=["docker-compose.yml", "docs/deploy.md"])
def test_every_setting_that_is_named_exists(text: str) -> None:
    """A container with an unknown setting does not start."""
    assert set(re.findall(r"TAGSTREAM_\w+", text)) - SETTINGS == set()


def test_every_variable_of_the_file_has_a_default_or_may_be_missing() -> None:
    """`docker compose up` needs no variable: an empty value would be refused by the settings."""
    assert re.findall(r"\$\{[A-Z_]+\}", COMPOSE) == []


def test_every_role_runs_from_one_image() -> None:
    """A release has one image: services and manifests of tagstream name no other, and a role is only another command."""
    services = yaml.safe_load(COMPOSE)["services"]
    ours = {name: service["image"] for name, service in services.items() if "build" in service}
    assert ours.keys() == {"topics", "worker", "producer", "serve", "review", "controller", "shadow"}
    assert len(set(ours.values())) == 1
    manifests = (ROOT / "deploy" / "kubernetes").rglob("*.yaml")
    named = [
        name for file in manifests for name in re.findall(r"^\s+image: (\S+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert len(named) >= 6
    assert set(named) == {"tagstream"}
