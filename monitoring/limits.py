"""From where on a figure is an alarm without Prometheus: the thresholds of its alerts, without their waiting times, in one place."""

# Under so many decisions a distance between distributions is mostly chance.
LEAST_DECISIONS = 500
# One dead letter or one late outcome is not worth a night.
LEAST_BAD_EVENTS = 10

LABEL_PSI = 0.2
CONFIDENCE_KS = 0.1
ENERGY_KS = 0.1
TOKENS_PER_WORD_KS = 0.15

# Dead letters of all outcomes.
DEAD_LETTER_RATIO = 0.01
# Outcomes whose event was older than this when they were acknowledged; it is an edge of the histogram of ages.
STALE_SECONDS = 60.0
STALE_RATIO = 0.144
# So long nothing comes out while something waits. The alert waits five minutes; whoever is looking already need not.
STALLED_SECONDS = 60.0

# Decisions that a person is asked about: the budget in recording.yml.
REVIEW_RATIO = 0.8
# Times the reference's own share, which a thousand rows know only roughly.
OUT_OF_DISTRIBUTION_TIMES = 5.0
OUT_OF_DISTRIBUTION_LEAST = 0.005
# More decisions on a title alone than the reference has.
WITHOUT_DESCRIPTION_MORE = 0.2
# The windows of words, tags and sources: compared with the reference at least so often, while so many windows of decisions come
# in that time; a window counts as so many decisions at least.
COMPARED_SECONDS = 6 * 3600.0
COMPARED_WINDOWS, COMPARED_LEAST = 3, 1000
# Events of producers that `known_sources` does not name.
UNSEEN_SOURCE_RATIO = 0.1
