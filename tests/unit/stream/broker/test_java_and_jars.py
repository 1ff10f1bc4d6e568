"""Finding a Java, and Kafka's jars by Maven."""

import threading
from pathlib import Path

import pytest

from tagstream.stream.broker.jars import Jars, cache_folder, get_jars, kafka_version
from tagstream.stream.broker.kafka import find_java
from tagstream.stream.broker.provider import ProviderUnavailable

SYSTEM_PATH = "/usr/bin:/bin"


def nothing(_: str) -> None:
    """A log that drops its lines."""


def program(folder: Path, name: str, script: str) -> Path:
    """A shell script that stands in for `name`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    path.chmod(0o755)
    return path


class TestJava:
    """Finding a Java, and reading its version."""

    @pytest.mark.parametrize(
        ("banner", "version"),
        [
            ('openjdk version "17.0.15" 2025-04-15', 17),
            ('openjdk version "21" 2023-09-19', 21),
            ('openjdk version "25-ea" 2025-09-16', 25),
            ('Picked up JAVA_TOOL_OPTIONS: -Dx=1\nopenjdk version "17.0.1"', 17),
        ],
    )
    def test_version_is_the_feature_release(self, banner: str, version: int, tmp_path: Path) -> None:
        """Early access builds and a chatty JVM are understood."""
        program(tmp_path, "java", f"echo '{banner}' >&2")
        assert find_java({"PATH": str(tmp_path)}).version == version

    @pytest.mark.parametrize(
        ("banner", "said"),
        [
            ('java version "1.8.0_402"', "is Java 8"),
            ("Unable to locate a Java Runtime.", r"of a version it does not say \('Unable to locate"),
        ],
    )
    def test_a_java_that_is_too_old_or_none_is_named(self, banner: str, said: str, tmp_path: Path) -> None:
        """The old 1.x form is understood too, and an answer without a version is quoted."""
        program(tmp_path, "java", f"echo '{banner}' >&2")
        with pytest.raises(ProviderUnavailable, match=said):
            find_java({"PATH": str(tmp_path)})

    def test_java_home_comes_before_path(self, tmp_path: Path) -> None:
        """JAVA_HOME is the user's explicit word."""
        home = program(tmp_path / "home" / "bin", "java", "echo 'openjdk version \"21.0.1\"' >&2")
        program(tmp_path / "bin", "java", "echo 'openjdk version \"17.0.1\"' >&2")
        found = find_java({"JAVA_HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "bin")})
        assert (found.path, found.version) == (home, 21)

    def test_old_java_home_does_not_hide_a_good_java(self, tmp_path: Path) -> None:
        """A JAVA_HOME that Kafka cannot use is passed over for a `java` on PATH that it can."""
        program(tmp_path / "home" / "bin", "java", "echo 'java version \"1.8.0_402\"' >&2")
        good = program(tmp_path / "bin", "java", "echo 'openjdk version \"17.0.1\"' >&2")
        assert find_java({"JAVA_HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "bin")}).path == good

    def test_no_java_says_what_was_found_and_what_to_do(self, tmp_path: Path) -> None:
        """The reason names each place that was looked at."""
        program(tmp_path / "bin", "java", "echo 'openjdk version \"11.0.2\"' >&2")
        environ = {"JAVA_HOME": str(tmp_path / "nowhere"), "PATH": str(tmp_path / "bin")}
        with pytest.raises(ProviderUnavailable) as error:
            find_java(environ)
        assert "does not run" in str(error.value)
        assert "is Java 11" in str(error.value)
        assert "install a JRE" in str(error.value)

    def test_nothing_at_all_is_a_reason_too(self) -> None:
        """Without JAVA_HOME and without `java` on PATH the reason names both."""
        with pytest.raises(ProviderUnavailable, match="JAVA_HOME is not set and there is no `java` on PATH"):
            find_java({"PATH": ""})


MAVEN = """
echo called >> "$COUNT"
for word in "$@"; do case "$word" in -DoutputDirectory=*) out="${word#*=}";; esac; done
mkdir -p "$out" && sleep 0.3 && echo jar > "$out/b.jar" && echo jar > "$out/a.jar"
"""


class TestJars:
    """The cache, and Maven in front of it."""

    @pytest.fixture
    def environ(self, tmp_path: Path) -> dict[str, str]:
        """A cache of its own and a Maven that makes two jars and counts its calls."""
        program(tmp_path / "bin", "mvn", MAVEN)
        path = f"{tmp_path / 'bin'}:{SYSTEM_PATH}"
        return {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": path, "COUNT": str(tmp_path / "count")}

    def test_jars_are_fetched_once(self, environ: dict[str, str]) -> None:
        """The second time they come from the cache, in the order that the class archive needs."""
        first, second = get_jars(environ, nothing), get_jars(environ, nothing)
        assert first == second
        assert first.classpath() == f"{first.folder}/a.jar:{first.folder}/b.jar"
        assert Path(environ["COUNT"]).read_text(encoding="ascii") == "called\n"

    def test_full_cache_needs_no_maven(self, environ: dict[str, str]) -> None:
        """A machine that once fetched them can lose Maven."""
        kept = get_jars(environ, nothing)
        assert get_jars({**environ, "PATH": ""}, nothing) == kept

    def test_two_at_once_get_the_same_whole_folder(self, environ: dict[str, str]) -> None:
        """The process that comes second takes the jars of the first, and leaves nothing of its own."""
        found: list[Jars] = []
        threads = [threading.Thread(target=lambda: found.append(get_jars(environ, nothing))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(found) == 2
        assert found[0] == found[1]
        assert [path.name for path in found[0].folder.parent.iterdir()] == [found[0].folder.name]

    def test_nothing_but_the_jars_is_left(self, environ: dict[str, str]) -> None:
        """The folder that Maven worked in is gone."""
        kept = get_jars(environ, nothing)
        assert list(kept.folder.parent.iterdir()) == [kept.folder]

    def test_no_maven_is_a_reason(self, environ: dict[str, str]) -> None:
        """The reason says that `mvn` is missing from PATH."""
        with pytest.raises(ProviderUnavailable, match="no `mvn` on PATH"):
            get_jars({**environ, "PATH": ""}, nothing)

    def test_failure_of_maven_is_told_in_its_words(self, environ: dict[str, str], tmp_path: Path) -> None:
        """Its first error is the reason, without the colours."""
        program(tmp_path / "bin", "mvn", r"printf '\033[1m[INFO] x\n\033[0m[ERROR] no route to the repository\n'; exit 1")
        with pytest.raises(ProviderUnavailable, match=r"\(no route to the repository\)"):
            get_jars(environ, nothing)

    def test_cache_that_cannot_be_written_is_a_reason(self, environ: dict[str, str], tmp_path: Path) -> None:
        """A cache folder that is a file ends in a sentence."""
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(ProviderUnavailable, match="XDG_CACHE_HOME"):
            get_jars({**environ, "XDG_CACHE_HOME": str(tmp_path / "file")}, nothing)

    def test_folder_names_the_version_and_the_pom(self) -> None:
        """Another version, or another pom of the same version, is another folder."""
        folder = cache_folder({"HOME": "/home/someone"})
        assert str(folder).startswith(f"/home/someone/.cache/tagstream/kafka-{kafka_version()}-")
