"""Where a setting's value comes from, and the errors on unknown names and unusable values."""

import os
from pathlib import Path
from typing import Any

import pytest

from tagstream.model_export.bundle.bundle import DEFAULT_BUNDLE
from tagstream.monitoring.drift.thresholds import setting_of
from tagstream.monitoring.vocabulary import DriftScore
from tagstream.stream.settings.loading import SettingsError, known_keys, load
from tagstream.stream.settings.security import Security
from tagstream.stream.settings.settings import Settings
from tagstream.stream.settings.tracing import Tracing

# The documented variables, each with a text, its setting, and the value that the text becomes.
DOCUMENTED: dict[str, tuple[str, str, object]] = {
    "TAGSTREAM_BROKERS": ("a:1, b:2", "brokers", "a:1,b:2"),
    "TAGSTREAM_BUNDLE": ("/models/x", "bundle", Path("/models/x")),
    "TAGSTREAM_METRICS_PORT": ("0", "metrics_port", 0),
    "TAGSTREAM_CONFIDENCE_THRESHOLD": ("0.5", "confidence_threshold", 0.5),
    "TAGSTREAM_GROUP": ("night", "group", "night"),
    "TAGSTREAM_TOPICS__CONTENT": ("c", "topics.content", "c"),
    "TAGSTREAM_TOPICS__TAGGED": ("t", "topics.tagged", "t"),
    "TAGSTREAM_TOPICS__REVIEW": ("r", "topics.review", "r"),
    "TAGSTREAM_TOPICS__DLQ": ("d", "topics.dlq", "d"),
    "TAGSTREAM_TOPICS__CONTENT_DLQ": ("d", "topics.dlq", "d"),
    "TAGSTREAM_TOPICS__AUDIT": ("au", "topics.audit", "au"),
    "TAGSTREAM_TOPICS__REVIEWED": ("rd", "topics.reviewed", "rd"),
    "TAGSTREAM_TOPICS__REPORTS": ("rp", "topics.reports", "rp"),
    "TAGSTREAM_TOPICS__SHADOW": ("s", "topics.shadow", "s"),
    "TAGSTREAM_TOPICS__DRIFT": ("dr", "topics.drift", "dr"),
    "TAGSTREAM_DATA": ("/data", "data", Path("/data")),
    "TAGSTREAM_REAL": ("/real", "real", Path("/real")),
}
# Texts for settings that are unset and do not take every text.
UNSET = {"tracing.endpoint": "http://127.0.0.1:4318", "fields.text": "/text"}


def at(settings: Settings, key: str) -> Any:
    """The value under a dotted key."""
    value: Any = settings
    for name in key.split("."):
        value = getattr(value, name)
    return value


def loaded(
    folder: Path, environ: dict[str, str] | None = None, flags: dict[str, Any] | None = None, toml: str | None = None
) -> Settings:
    """Settings from these sources alone."""
    if toml is not None:
        (folder / "tagstream.toml").write_text(toml, encoding="utf-8")
    return load(environ or {}, flags, folder).settings


def refused(
    folder: Path, environ: dict[str, str] | None = None, toml: str | None = None, flags: dict[str, Any] | None = None
) -> str:
    """The message with which these sources are refused."""
    with pytest.raises(SettingsError) as caught:
        loaded(folder, environ, flags, toml)
    message = str(caught.value)
    assert "Next: " in message
    return message


# --- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_documented_variable_works(tmp_path: Path, name: str) -> None:
    """Each documented variable changes its own setting, and those that are derived from it."""
    text, key, expected = DOCUMENTED[name]
    settings = loaded(tmp_path, {name: text})
    assert at(settings, key) == expected
    derived = {
        "topics.content": {"topics.dlq", "topics.replays"},
        "topics.dlq": {"topics.replays"},
        "group": {"rollout.topic", "rollout.workers_topic"},
    }
    followers = derived.get(key, set())
    default = loaded(tmp_path)
    assert all(at(settings, other) == at(default, other) for other in known_keys() if other not in {key, *followers})


def test_every_setting_has_a_variable_and_a_description(tmp_path: Path) -> None:
    """Every setting can be set by its variable, and `config show` has a description of each."""
    default = loaded(tmp_path)
    # Those of these tables depend on each other: tests/unit/stream/settings/test_security.py and test_schema_registry.py beside it.
    for key in (key for key in known_keys() if not key.startswith(("security.", "schema_registry."))):
        name, value = "TAGSTREAM_" + key.upper().replace(".", "__"), at(default, key)
        found = load({name: UNSET.get(key, "1") if value is None else str(value)}, folder=tmp_path)
        assert found.origins == {key: f"environment {name}"}
        assert value is None or at(found.settings, key) == value
    assert all(field.description for model in (Settings, Security, Tracing) for field in model.model_fields.values())


def test_the_defaults_are_the_contracts(tmp_path: Path) -> None:
    """Without any setting a worker uses the documented defaults."""
    settings = loaded(tmp_path)
    assert (settings.brokers, settings.metrics_port, settings.bundle) == ("127.0.0.1:9092", 9108, DEFAULT_BUNDLE)
    assert settings.confidence_threshold is None
    assert settings.topics.model_dump() == {
        "content": "content",
        "tagged": "tagged",
        "review": "review",
        "dlq": "content.dlq",
        "audit": "audit",
        "reviewed": "reviewed",
        "reports": "reports",
        "outcomes": "outcomes",
        "shadow": "shadow",
        "drift": "drift",
        "references": "references",
        "replays": "content.dlq.replays",
    }


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("TAGSTREAM_BROKER", "TAGSTREAM_BROKERS"),
        ("TAGSTREAM_CONFIDENCE_TRESHOLD", "TAGSTREAM_CONFIDENCE_THRESHOLD"),
        ("TAGSTREAM_TOPICS__TAGED", "TAGSTREAM_TOPICS__TAGGED"),
        ("TAGSTREAM_TOPICS_TAGGED", "TAGSTREAM_TOPICS__TAGGED"),
        ("TAGSTREAM_CONFIGURATION", "TAGSTREAM_CONFIG"),
        ("TAGSTREAM_group", "TAGSTREAM_GROUP"),
        # A table is no setting, its keys are.
        ("TAGSTREAM_TOPICS", "TAGSTREAM_"),
    ],
)
def test_an_unknown_variable_names_the_nearest_known_one(tmp_path: Path, name: str, nearest: str) -> None:
    """A misspelt variable is an error, and not silently the default."""
    message = refused(tmp_path, {name: "x"})
    assert message.startswith(f"{name} is not a setting")
    assert f"The nearest one is {nearest}" in message


@pytest.mark.parametrize(
    ("toml", "key", "nearest"),
    [
        ('broker = "a:1"', "broker", "brokers"),
        ('[topics]\ntaged = "t"', "topics.taged", "topics.tagged"),
        ("batch_max_event = 3", "batch_max_event", "batch_max_events"),
        ('[topic]\ncontent = "t"', "topic.content", "topics.content"),
        ('GROUP = "night"', "GROUP", "group"),
        ('[TOPICS]\ncontent = "t"', "TOPICS.content", "topics.content"),
        ('[topics]\nContent = "t"', "topics.Content", "topics.content"),
        ('"topics.content" = "t"', '"topics.content"', "topics.content"),
        ('[tagstream]\ngroup = "night"', "tagstream.group", "group. Next: write it above every table, without [tagstream]."),
    ],
)
def test_an_unknown_key_of_the_file_names_the_nearest_known_one(tmp_path: Path, toml: str, key: str, nearest: str) -> None:
    """The message also names the file."""
    message = refused(tmp_path, toml=toml)
    assert message.startswith(f"{key} (")
    assert f"The nearest one is {nearest}" in message
    assert str(tmp_path / "tagstream.toml") in message


@pytest.mark.parametrize(
    ("toml", "key"), [("[foo]\nx = 1", "foo.x"), ("[foo]", "foo"), ("xyzzy = 1", "xyzzy"), ("[zzz.qqq]\nx = 1", "zzz.qqq.x")]
)
def test_a_key_of_the_file_that_resembles_no_setting_gets_the_sections(tmp_path: Path, toml: str, key: str) -> None:
    """A far-fetched suggestion would send the reader to a setting that has nothing to do with it."""
    message = refused(tmp_path, toml=toml)
    assert message.startswith(f"{key} (tagstream.toml (")
    sections = sorted({f"[{known.partition('.')[0]}]" for known in known_keys() if "." in known} | {"[contents.TOPIC]"})
    assert f"is not a setting of tagstream. The sections are {', '.join(sections)}. Next: correct or remove it" in message


def test_a_variable_that_resembles_no_setting_gets_no_suggestion(tmp_path: Path) -> None:
    """The prefix, which all variables share, makes no two of them alike."""
    message = refused(tmp_path, {"TAGSTREAM_FOO": "x"})
    assert message == (
        "TAGSTREAM_FOO is not a setting of tagstream. Next: correct or unset it; `tagstream config show` lists all."
    )


def test_a_key_of_another_case_does_not_win_over_what_wins_over_the_file(tmp_path: Path) -> None:
    """It is refused even if flag and environment set the same key: pydantic-settings would let it win over both."""
    message = refused(tmp_path, {"TAGSTREAM_GROUP": "environment"}, 'GROUP = "file"', {"group": "flag"})
    assert message.startswith("GROUP (tagstream.toml (")


def test_variables_of_other_programs_are_ignored(tmp_path: Path) -> None:
    """Only variables that begin with TAGSTREAM_ are settings."""
    assert loaded(tmp_path, {"PATH": "/bin", "tagstream_group": "x", "TAGSTREAMER": "y"}).group == "tagstream"


@pytest.mark.parametrize("score", DriftScore)
def test_each_comparison_of_a_window_has_a_setting_that_reaches_it(score: DriftScore) -> None:
    """The watch for drift has the threshold that a person set, or a window would be judged by the shipped one."""
    settings = Settings.model_validate({setting_of(score): 0.53})
    assert settings.drift_plan.thresholds.of(score) == 0.53


# --- precedence --------------------------------------------------------------------------------------------------------


def test_flags_win_over_environment_over_file_over_default(tmp_path: Path) -> None:
    """Each of four settings comes from another source, and its origin says which."""
    found = load(
        {"TAGSTREAM_METRICS_PORT": "2", "TAGSTREAM_GROUP": "environment"},
        {"metrics_port": 3, "log_level": None},
        written(tmp_path, 'metrics_port = 1\ngroup = "file"\nmetrics_host = "10.0.0.1"'),
    )
    settings = found.settings
    assert (settings.metrics_port, settings.group, settings.metrics_host, settings.log_level) == (
        3,
        "environment",
        "10.0.0.1",
        "info",
    )
    assert found.origins["metrics_port"] == "flag"
    assert found.origins["group"] == "environment TAGSTREAM_GROUP"
    assert str(tmp_path / "tagstream.toml") in found.origins["metrics_host"]
    assert "log_level" not in found.origins


def written(folder: Path, toml: str) -> Path:
    """Write this configuration into the folder, and return the folder."""
    (folder / "tagstream.toml").write_text(toml, encoding="utf-8")
    return folder


def test_nested_tables_are_merged_key_by_key(tmp_path: Path) -> None:
    """A variable for one topic leaves the other topics of the file."""
    topics = loaded(
        tmp_path,
        {"TAGSTREAM_TOPICS__TAGGED": "environment"},
        {"topics": {"review": "flag"}},
        '[topics]\ncontent = "file"\ntagged = "file-2"\nreview = "file-3"',
    ).topics
    assert (topics.content, topics.tagged, topics.review, topics.shadow) == ("file", "environment", "flag", "shadow")


@pytest.mark.parametrize("below", ["dlq", "content_dlq"])
@pytest.mark.parametrize("above", ["TAGSTREAM_TOPICS__DLQ", "TAGSTREAM_TOPICS__CONTENT_DLQ"])
def test_the_dead_letter_topic_has_two_names_and_one_precedence(tmp_path: Path, below: str, above: str) -> None:
    """Under either name the environment wins over the file."""
    assert loaded(tmp_path, {above: "environment"}, toml=f'[topics]\n{below} = "file"').topics.dlq == "environment"


def test_dead_letters_follow_the_content_topic_unless_they_are_named(tmp_path: Path) -> None:
    """Two streams on one cluster have two dead-letter topics unless one is named."""
    assert loaded(tmp_path, {"TAGSTREAM_TOPICS__CONTENT": "news"}).topics.dlq == "news.dlq"
    both = {"TAGSTREAM_TOPICS__CONTENT": "news", "TAGSTREAM_TOPICS__DLQ": "bad"}
    assert loaded(tmp_path, both).topics.dlq == "bad"


def test_a_derived_name_must_be_valid_too(tmp_path: Path) -> None:
    """The longest name leaves no room for `.dlq`, so the dead-letter topic must be named."""
    longest = "c" * 249
    assert refused(tmp_path, {"TAGSTREAM_TOPICS__CONTENT": longest}).startswith("setting topics.dlq = ")
    named = {"TAGSTREAM_TOPICS__CONTENT": longest, "TAGSTREAM_TOPICS__DLQ": "d"}
    assert loaded(tmp_path, named).topics.content == longest


def test_a_named_file_is_read_instead(tmp_path: Path) -> None:
    """`TAGSTREAM_CONFIG` names another file; a missing or broken file is an error."""
    written(tmp_path, 'group = "not this"')
    other = tmp_path / "other.toml"
    other.write_text('group = "other"', encoding="utf-8")
    assert loaded(tmp_path, {"TAGSTREAM_CONFIG": str(other)}).group == "other"
    assert "cannot be read" in refused(tmp_path, {"TAGSTREAM_CONFIG": str(tmp_path / "none.toml")})
    assert "is not TOML" in refused(tmp_path, toml="group = ")


def test_the_process_environment_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`load` and `Settings` take only the values that they are given."""
    monkeypatch.setenv("TAGSTREAM_GROUP", "process")
    assert os.environ["TAGSTREAM_GROUP"] == "process"
    assert loaded(tmp_path).group == Settings().group == "tagstream"


# --- values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TAGSTREAM_METRICS_PORT", "many"),
        ("TAGSTREAM_METRICS_PORT", "65536"),
        ("TAGSTREAM_METRICS_PORT", "-1"),
        ("TAGSTREAM_METRICS_PORT", ""),
        ("TAGSTREAM_CONFIDENCE_THRESHOLD", "1.01"),
        ("TAGSTREAM_CONFIDENCE_THRESHOLD", "-0.1"),
        ("TAGSTREAM_CONFIDENCE_THRESHOLD", "nan"),
        ("TAGSTREAM_BATCH_MAX_EVENTS", "0"),
        ("TAGSTREAM_BATCH_MAX_EVENTS", "2.5"),
        ("TAGSTREAM_STARTUP_TIMEOUT_SECONDS", "inf"),
        ("TAGSTREAM_PRODUCE_TIMEOUT_SECONDS", "Infinity"),
        ("TAGSTREAM_PRODUCE_TIMEOUT_SECONDS", "0"),
        ("TAGSTREAM_SESSION_TIMEOUT_SECONDS", "5"),
        ("TAGSTREAM_GROUP", ""),
        ("TAGSTREAM_BUNDLE", ""),
        ("TAGSTREAM_DATA", ""),
        ("TAGSTREAM_REAL", ""),
        ("TAGSTREAM_STATE_FOLDER", ""),
        ("TAGSTREAM_DRIFT_REFERENCE", ""),
        ("TAGSTREAM_LOG_LEVEL", "loud"),
        ("TAGSTREAM_IDEMPOTENT_PRODUCER", "maybe"),
        ("TAGSTREAM_BROKERS", ""),
        ("TAGSTREAM_BROKERS", "localhost"),
        ("TAGSTREAM_BROKERS", ":9092"),
        ("TAGSTREAM_BROKERS", "a:b"),
        ("TAGSTREAM_BROKERS", "a:1,"),
        ("TAGSTREAM_BROKERS", "a:1,,b:2"),
        ("TAGSTREAM_BROKERS", "a:0"),
        ("TAGSTREAM_BROKERS", "a:65536"),
        ("TAGSTREAM_BROKERS", "a:\u00b2"),
        ("TAGSTREAM_BROKERS", "kafka://a:9092"),
        ("TAGSTREAM_TOPICS__CONTENT", ""),
        ("TAGSTREAM_TOPICS__CONTENT", "bad name/!"),
        ("TAGSTREAM_TOPICS__TAGGED", ".."),
        ("TAGSTREAM_TOPICS__REVIEW", "r" * 250),
        ("TAGSTREAM_TOPICS__REVIEW", "r\n"),
        ("TAGSTREAM_TOPICS__DLQ", ""),
        ("TAGSTREAM_TOPICS__DRIFT", "\u00fcber"),
        ("TAGSTREAM_TOPICS__TAGGED", "content"),
        ("TAGSTREAM_TOPICS__DLQ", "tagged"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_its_name_and_origin(tmp_path: Path, name: str, value: str) -> None:
    """Numbers out of bounds, unknown words, infinite timeouts, brokers without a port, two topics with one name."""
    message = refused(tmp_path, {name: value})
    key = name.removeprefix("TAGSTREAM_").lower().replace("__", ".")
    assert message.startswith((f"setting {key} = {value!r} (environment {name}) cannot be used: ", "topics."))
    assert f"(environment {name})" in message


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("CONFIDENCE_THRESHOLD", "", "it is empty; unset it, or give a number"),
        ("BATCH_MAX_EVENTS", "", "it is empty; unset it, or give a whole number"),
        ("BATCH_MAX_EVENTS", "many", "it is not a whole number"),
        ("CONFIDENCE_THRESHOLD", "1.5", "it must be at least 0 and at most 1"),
    ],
)
def test_a_number_that_cannot_be_used_is_refused_in_plain_words(tmp_path: Path, name: str, value: str, why: str) -> None:
    """An empty text, a text that is no number and a number out of range are said in words, with the whole range."""
    assert f"cannot be used: {why}. Next: " in refused(tmp_path, {f"TAGSTREAM_{name}": value})


def test_two_topics_with_one_name_are_both_named_with_their_origin(tmp_path: Path) -> None:
    """The error is one sentence with both settings, where each was set, and no table of Python."""
    message = refused(tmp_path, {"TAGSTREAM_TOPICS__CONTENT": "tagged"})
    assert message == (
        "topics.content (environment TAGSTREAM_TOPICS__CONTENT) and topics.tagged (default) name the same topic, 'tagged'. "
        "Next: give each a name of its own; `tagstream config show` lists all."
    )


@pytest.mark.parametrize("brokers", ["a:1", "a:1,b:2", " a:1 , b:2 ", "10.0.0.1:65535", "[::1]:9092"])
def test_brokers_are_host_and_port(tmp_path: Path, brokers: str) -> None:
    """One or several, with or without blanks around them."""
    settings = loaded(tmp_path, {"TAGSTREAM_BROKERS": brokers})
    assert settings.broker_list == [part.strip() for part in brokers.split(",")]


@pytest.mark.parametrize(("toml", "shown"), [("group = 5", "group = 5"), ("metrics_port = true", "metrics_port = True")])
def test_a_wrong_type_in_the_file_names_the_file(tmp_path: Path, toml: str, shown: str) -> None:
    """A TOML value of another type is refused, and not converted."""
    message = refused(tmp_path, toml=toml)
    assert message.startswith(f"setting {shown} (tagstream.toml ({tmp_path / 'tagstream.toml'})) cannot be used")


def test_settings_do_not_change(tmp_path: Path) -> None:
    """Settings are frozen: what was logged at the start holds to the end."""
    settings = loaded(tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        settings.group = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("known", "names"),
    [
        ("", set()),
        (" , ", set()),
        ("posts", {"posts"}),
        (" posts,https://a/b ", {"posts", "https://a/b"}),
        ("x" * 101, {"x" * 100}),
    ],
)
def test_known_sources_are_a_list_of_names(tmp_path: Path, known: str, names: set[str]) -> None:
    """Blanks are removed, an empty text is an empty set, and a name is cut like the source of an event."""
    assert loaded(tmp_path, {"TAGSTREAM_KNOWN_SOURCES": known}).known_source_names == names


def test_further_topics_of_events_have_fields_of_their_own(tmp_path: Path) -> None:
    """In the file a table each, in the environment one JSON object in place of them; `of_content` gives each as if it were the only one."""
    (tmp_path / "tagstream.toml").write_text(
        '[contents.posts]\ntitle = "/payload/subject"\n[contents."my.topic"]\n', encoding="utf-8"
    )
    environ = {"TAGSTREAM_CONTENTS": '{"posts": {"title": "/s"}, "news": {"text": ["/a", "/b"]}}'}
    loaded = load(environ, folder=tmp_path)
    settings = loaded.settings
    assert settings.content_topics == ("content", "posts", "news")
    assert load({}, folder=tmp_path).settings.content_topics == ("content", "posts", "my.topic")
    assert loaded.origins["contents"] == "environment TAGSTREAM_CONTENTS"
    assert (
        settings.of_content("posts").limits
        == settings.model_copy(update={"contents": {}, "fields": settings.contents["posts"]}).limits
    )
    assert [one.topics.content for one in settings.each_content] == list(settings.content_topics)
    assert all(one.content_topics == (one.topics.content,) and not one.shapes for one in settings.each_content)
    assert Settings().each_content == (Settings(),)
    assert Settings().shapes == {}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("{", "it must be topics with their fields"),
        ("[1]", "it must be topics with their fields"),
        ('{"posts": {"titel": "/x"}}', "The nearest one is contents.posts.title."),
        ('{"posts": {"title": "x"}}', "'x' is no JSON pointer"),
        ('{"tagged": {}}', "name the same topic, 'tagged'"),
        ('{"posts": {}, "posts": {"title": "/x"}}', "'posts' is there twice"),
        ('{"posts": "/payload/subject"}', "the fields of 'posts' are no table"),
        ('{"content": {}}', "say in [fields] where events of topics.content have their fields"),
        ('{"cms": {"posts": {}}}', 'Quote a name with a dot: [contents."cms.posts"].'),
        ('{"posts": {"title": []}}', "contents.posts.title names no pointer"),
        ('{"a b": {}}', "a topic's name in Kafka"),
    ],
)
def test_topics_of_events_that_cannot_be_used_are_refused_with_their_origin(tmp_path: Path, value: str, says: str) -> None:
    """The message has the variable, the reason and the next step."""
    with pytest.raises(SettingsError) as caught:
        load({"TAGSTREAM_CONTENTS": value}, folder=tmp_path)
    assert says in str(caught.value)
    assert "environment TAGSTREAM_CONTENTS" in str(caught.value)
    assert "Next: " in str(caught.value)


def test_a_variable_for_one_topic_is_refused_with_the_one_that_has_all() -> None:
    """Names of topics may have dots, names of variables may not."""
    with pytest.raises(SettingsError, match="Topics and their fields are one JSON object, in TAGSTREAM_CONTENTS"):
        load({"TAGSTREAM_CONTENTS__POSTS__TITLE": "/x"}, folder=Path("/nonexistent"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TAGSTREAM_SERVICE_HOST", "10.0.0.1"),
        ("TAGSTREAM_SERVICE_PORT", "9108"),
        ("TAGSTREAM_SERVICE_PORT_HTTP", "9108"),
        ("TAGSTREAM_PORT", "tcp://10.0.0.1:9108"),
        ("TAGSTREAM_PORT_9108_TCP", "tcp://10.0.0.1:9108"),
        ("TAGSTREAM_PORT_9108_TCP_ADDR", "10.0.0.1"),
        ("TAGSTREAM_REVIEW_SERVICE_HOST", "10.0.0.2"),
        ("TAGSTREAM_METRICS_PORT", "tcp://10.0.0.3:9108"),
    ],
)
def test_variables_of_a_service_in_kubernetes_are_no_settings(name: str, value: str, tmp_path: Path) -> None:
    """They are in every pod of its namespace; another name with our prefix stays an error."""
    assert load({name: value}, folder=tmp_path).settings == load({}, folder=tmp_path).settings
    with pytest.raises(SettingsError):
        load({"TAGSTREAM_METRIC_PORT": "9108"}, folder=tmp_path)
