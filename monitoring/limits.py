"""Thresholds of the alarms on the page and in the terminal: those of the Prometheus alerts, without their waiting times."""

# With fewer decisions a distance between distributions is mostly chance.
LEAST_DECISIONS = 500
# A single dead letter or late outcome does not justify waking a person.
LEAST_BAD_EVENTS = 10

LABEL_PSI = 0.2
CONFIDENCE_KS = 0.1
ENERGY_KS = 0.1
TOKENS_PER_WORD_KS = 0.15

# Dead letters as a share of all outcomes.
DEAD_LETTER_RATIO = 0.01
# An outcome is stale if its event was older than this at the acknowledgement. It is an edge of the histogram of ages.
STALE_SECONDS = 60.0
STALE_RATIO = 0.144

# The last stable offset of a partition stands still before the end of the log for so long: a transaction is open.
OPEN_TRANSACTION_SECONDS = 20.0

# Share of decisions that go to a person: the budget in recording.yml.
REVIEW_RATIO = 0.8
# ... and above the share in the reference.
REVIEW_MORE = 0.15
# The reference in force against the bundle's: the larger distance of confidence and energy.
UNLIKE_BUNDLE_KS = 0.1
# A multiple of the reference's share, which is only roughly known from a thousand rows.
OUT_OF_DISTRIBUTION_TIMES = 5.0
OUT_OF_DISTRIBUTION_LEAST = 0.005
# Decisions on a title alone: this much above the reference's share.
WITHOUT_DESCRIPTION_MORE = 0.2
# A comparison with the reference is overdue after this time, if COMPARED_WINDOWS windows of decisions came in meanwhile.
# A window counts as at least COMPARED_LEAST decisions.
COMPARED_SECONDS = 6 * 3600.0
COMPARED_WINDOWS, COMPARED_LEAST = 3, 1000
# A jump of a worker's figure this long ago at most has the same cause as what is judged now.
ONE_CAUSE_SECONDS = 3600.0
# Share of events from producers that are not in `known_sources`.
UNSEEN_SOURCE_RATIO = 0.1
