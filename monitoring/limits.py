"""Limits that the figures of page and terminal have in common with the alarms; those of distributions are in `monitoring/signals.py`."""

# With fewer decisions a distance between distributions is mostly chance.
LEAST_DECISIONS = 500
# A single dead letter or late outcome does not justify waking a person.
LEAST_BAD_EVENTS = 10

LABEL_PSI = 0.2

# Dead letters as a share of all outcomes.
DEAD_LETTER_RATIO = 0.01
# An outcome is stale if its event was older than this at the acknowledgement. It is an edge of the histogram of ages.
STALE_SECONDS = 60.0
STALE_RATIO = 0.144

# The last stable offset of a partition stands still before the end of the log for so long: a transaction is open.
OPEN_TRANSACTION_SECONDS = 20.0

# A change of the model holds events for tens of milliseconds, and a worker ends after `rollout.hold_seconds`, by default 30.
HELD_SECONDS = 10.0
# Workers take over an epoch's model, which they have loaded before, within a second.
SETTLING_SECONDS = 60.0

# Share of decisions that go to a person: the budget in recording.yml.
REVIEW_RATIO = 0.8
# ... and above the share in the reference.
REVIEW_MORE = 0.15
# A multiple of the reference's share, which is only roughly known from a thousand rows.
OUT_OF_DISTRIBUTION_TIMES = 5.0
OUT_OF_DISTRIBUTION_LEAST = 0.005
# Decisions on a title alone: this much above the reference's share.
WITHOUT_DESCRIPTION_MORE = 0.2
# Share of events from producers that are not in `known_sources`.
UNSEEN_SOURCE_RATIO = 0.1
