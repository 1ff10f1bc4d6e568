"""Limits that are not in a figure's record (`monitoring/figures/limited.py`) or in a distribution's (`monitoring/signals.py`)."""

# With fewer decisions, a distance between distributions is mostly chance.
LEAST_DECISIONS = 500
# A single dead letter or late outcome does not justify waking a person.
LEAST_BAD_EVENTS = 10

# An outcome is stale if its event was older than this at the acknowledgement. The value is an edge of the histogram of ages.
STALE_SECONDS = 60.0

# If the last stable offset of a partition stands still before the end of the log for this long, a transaction is open.
OPEN_TRANSACTION_SECONDS = 20.0

# Far more than the second in which workers take over an epoch's model: they have loaded it before.
SETTLING_SECONDS = 60.0

# The smallest probability with which a decision is drawn for people, so that one answer stands for at most a million decisions.
LEAST_INCLUSION = 1e-6
