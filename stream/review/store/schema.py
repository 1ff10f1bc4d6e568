"""The tables of the store, for SQLite and PostgreSQL. `items` also has the state that follows from answers and reports, and the lease."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

from tagstream.stream.database.database import only_where

# Increased with each change of a table, or of the data that is read from the topics. A store with another version is refused unchanged. A new
# table changes nothing of the others: it is added to an older store, and filled from then on.
SCHEMA_VERSION = 4
# The most characters of a title in a list.
LISTED_CHARACTERS = 300

METADATA = MetaData()

about = Table(
    "review_about",
    METADATA,
    Column("name", String, primary_key=True),
    Column("value", String, nullable=False),
)

# The next offset of each partition, written in the same transaction as the facts that were read.
positions = Table(
    "review_positions",
    METADATA,
    Column("topic", String, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
)

items = Table(
    "review_items",
    METADATA,
    Column("event_id", String, primary_key=True),
    # The newest decision. `prediction_id` is the second part of the order, so that two decisions of one moment have a fixed order.
    Column("prediction_id", String, nullable=False),
    Column("model_tag", String, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("probabilities", String, nullable=False),
    Column("reasons", String, nullable=False),
    Column("model", String, nullable=False),
    Column("tagged_ms", BigInteger, nullable=False),
    Column("inclusion_probability", Float),
    Column("in_review", Boolean, nullable=False),
    Column("in_audit", Boolean, nullable=False),
    # True if the decision was read from its own topic, false if an answer carried it.
    Column("seen", Boolean, nullable=False),
    # The state that follows from the decision, the answers and the reports (`standing`). `place` is NULL if the item is not open.
    Column("door", String),
    Column("place", Integer),
    Column("urgency", Float, nullable=False),
    Column("version", Integer, nullable=False),
    Column("answer_id", String),
    Column("tag", String),
    # The lease.
    Column("holder", String),
    Column("token", String),
    Column("held_for", String),
    Column("held_version", Integer),
    Column("claimed_ms", BigInteger),
    Column("until_ms", BigInteger),
    Column("saving_until_ms", BigInteger),
    # The decision's columns that may be large. They come last, because SQLite reads a row up to the last column of a query.
    Column("words", LargeBinary, nullable=False),
    Column("language", String),
    Column("source", String),
    Column("key", LargeBinary),
    Column("headers", LargeBinary, nullable=False),
    Column("before", LargeBinary, nullable=False),
    Column("title", String, nullable=False),
    Column("description", String),
    Column("fields", LargeBinary, nullable=False),
    Index("review_items_queue", "place", "urgency", "event_id"),
    # Few items are held. With these indexes a database looks only at held items, whatever its statistics are.
    Index("review_items_holder", "holder", **only_where("holder IS NOT NULL")),
    Index("review_items_until", "until_ms", **only_where("until_ms IS NOT NULL")),
    Index("review_items_doors", "door", "tagged_ms"),
    Index("review_items_tagged", "tagged_ms"),
)

# The part of an item that estimates need, without its text. All rows are summed each minute.
samples = Table(
    "review_samples",
    METADATA,
    Column("event_id", String, primary_key=True),
    Column("tagged_ms", BigInteger, nullable=False),
    Column("in_audit", Boolean, nullable=False),
    Column("in_review", Boolean, nullable=False),
    Column("seen", Boolean, nullable=False),
    Column("by_model", Boolean, nullable=False),
    # True if a worker can have made the decision: its tag is one of its labels, and a draw can give its probability.
    Column("sound", Boolean, nullable=False),
    # A digest of the bundle's labels.
    Column("labels", BigInteger, nullable=False),
    # A digest of the bundle's own digest.
    Column("bundle", BigInteger, nullable=False),
    # Before the first change of the stream's model, `epoch` is 0 and `arm` is empty.
    Column("epoch", BigInteger, nullable=False),
    Column("arm", String, nullable=False),
    Column("model", String, nullable=False),
    Column("model_tag", String, nullable=False),
    # The confidence in steps of `CONFIDENCE_STEPS`.
    Column("step", Integer, nullable=False),
    Column("inclusion", Float, nullable=False),
    # True if low confidence alone sent the decision to people.
    Column("movable", Boolean, nullable=False),
    Column("source", String, nullable=False),
    Column("language", String, nullable=False),
    Column("short", Boolean, nullable=False),
    # The first person's answer, the settled answer, and the number of answers to decisions that were not read.
    Column("first", String),
    Column("truth", String),
    Column("strays", Integer, nullable=False),
    Index("review_samples_tagged", "tagged_ms"),
)

# The digests of the bundles that decided. The key is a digest of the bundle's digest.
bundles = Table(
    "review_bundles",
    METADATA,
    Column("bundle", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", String, nullable=False),
)

# The decisions that were read from their own topics, by a digest of the decision's id. Only answers to these decisions count.
decisions = Table(
    "review_decisions",
    METADATA,
    Column("prediction", BigInteger, primary_key=True, autoincrement=False),
    Column("tagged_ms", BigInteger, nullable=False, index=True),
)

answers = Table(
    "review_answers",
    METADATA,
    Column("answer_id", String, primary_key=True),
    Column("event_id", String, nullable=False, index=True),
    Column("prediction_id", String, nullable=False),
    Column("model_tag", String, nullable=False),
    Column("tag", String, nullable=False),
    Column("reviewer", String, nullable=False),
    Column("decided_at", String, nullable=False),
    Column("decided_ms", BigInteger, nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("note", String),
    Column("supersedes", String),
    Column("asked_by", String, nullable=False),
    Column("blind", Boolean, nullable=False),
    Column("title", String, nullable=False),
    Index("review_answers_reviewer", "reviewer", "decided_ms"),
)

reports = Table(
    "review_reports",
    METADATA,
    Column("report_id", String, primary_key=True),
    Column("event_id", String, nullable=False, index=True),
    # The digest of the event's id, as in `places`.
    Column("event", BigInteger, nullable=False),
    Column("reporter", String),
    Column("suggested_tag", String),
    Column("note", String),
    Column("reported_at", String, nullable=False),
    Column("reported_ms", BigInteger, nullable=False),
)

# The votes of viewers, one of each viewer on a decision. `prediction` and `event` are digests as in `places`.
votes = Table(
    "review_votes",
    METADATA,
    Column("prediction_id", String, primary_key=True),
    Column("viewer", String, primary_key=True),
    Column("prediction", BigInteger, nullable=False, index=True),
    Column("event_id", String, nullable=False, index=True),
    Column("event", BigInteger, nullable=False),
    Column("agrees", Boolean, nullable=False),
    Column("suggested_tag", String),
    Column("reported_at", String, nullable=False),
    Column("reported_ms", BigInteger, nullable=False, index=True),
    # Each second the denied decisions are counted from this index alone, in its order.
    Index("review_votes_denied", "agrees", "event", "prediction"),
)

# The decisions on `tagged` that viewers are asked about, by a digest of the decision's id.
asked = Table(
    "review_asked_decisions",
    METADATA,
    Column("prediction", BigInteger, primary_key=True, autoincrement=False),
    Column("model", String, nullable=False),
    # As in `samples`.
    Column("bundle", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("arm", String, nullable=False),
    Column("tagged_ms", BigInteger, nullable=False, index=True),
)

skips = Table(
    "review_skips",
    METADATA,
    Column("event_id", String, primary_key=True),
    Column("reviewer", String, primary_key=True),
    Column("until_ms", BigInteger, nullable=False),
)

# The partition and offset of each event's published decision that was read last, by a digest of the event's id, with a digest of the
# decision's id. A reported event's decision is found by them, and a redelivered decision is recognised.
places = Table(
    "review_places",
    METADATA,
    Column("event", BigInteger, primary_key=True, autoincrement=False),
    Column("prediction", BigInteger, nullable=False),
    Column("destination", String, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("tagged_ms", BigInteger, nullable=False, index=True),
)

totals = Table(
    "review_totals",
    METADATA,
    Column("hour_ms", BigInteger, primary_key=True),
    Column("destination", String, primary_key=True),
    Column("model", String, primary_key=True),
    # As in `samples`.
    Column("bundle", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("arm", String, primary_key=True),
    Column("tag", String, primary_key=True),
    Column("source", String, primary_key=True),
    Column("language", String, primary_key=True),
    Column("short", Boolean, primary_key=True),
    Column("decisions", BigInteger, nullable=False),
    Column("confidence_sum", Float, nullable=False),
    Column("probability_sums", String, nullable=False),
)

# The first sources and languages that were seen. All others count as one, so that a producer cannot make totals without end.
slices = Table(
    "review_slices",
    METADATA,
    Column("kind", String, primary_key=True),
    Column("name", String, primary_key=True),
)

# Digests by which similar texts are found: `prints` has the smallest hashes of the words of items, `terms` the words of answered events.
prints = Table(
    "review_prints",
    METADATA,
    Column("print", BigInteger, primary_key=True),
    Column("event_id", String, primary_key=True),
    Index("review_prints_event", "event_id"),
)

terms = Table(
    "review_terms",
    METADATA,
    Column("term", BigInteger, primary_key=True),
    Column("event_id", String, primary_key=True),
    Index("review_terms_event", "event_id"),
)

allowances = Table(
    "review_allowances",
    METADATA,
    Column("whose", String, primary_key=True),
    Column("hour", BigInteger, primary_key=True),
    Column("taken", Integer, nullable=False),
)
