"""Limits without a figure of their own. Figures with a limit are in `monitoring/figures/limited.py`, and distributions in `monitoring/signals.py`."""

# With fewer decisions a distance between distributions is mostly chance.
LEAST_DECISIONS = 500
# A single dead letter or late outcome does not justify waking a person.
LEAST_BAD_EVENTS = 10

# An outcome is stale if its event was older than this at the acknowledgement. It is an edge of the histogram of ages.
STALE_SECONDS = 60.0

# The last stable offset of a partition stands still before the end of the log for so long: a transaction is open.
OPEN_TRANSACTION_SECONDS = 20.0

# Workers take over an epoch's model, which they have loaded before, within a second.
SETTLING_SECONDS = 60.0

# The smallest probability with which a decision is drawn for people, so that one answer stands for at most a million decisions.
LEAST_INCLUSION = 1e-6
