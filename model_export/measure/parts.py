"""The names of the labelled parts that a bundle's manifest has figures of. They need no library, so that all readers can name them."""

CALIBRATION = "calibration"
PARTS = ("holdout", "corpus_test", CALIBRATION)
# The calibration rows that are real titles, and the others: authored rows and Made With ML's.
CALIBRATION_REAL, CALIBRATION_OTHERS = "calibration_real", "calibration_others"
