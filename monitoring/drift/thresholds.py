"""From where on drift is a finding: the defaults, where the settings find them without loading the detectors.

Where they come from, and their measured false alarms and delays, stands in docs/drift.md (`make drift-bench`).
"""

from dataclasses import dataclass, field

from monitoring.vocabulary import DriftScore

# ADWIN's delta, for every signal.
CHANGE_DELTA = 0.002
WORDS_Z = 6.0
LABELS_PSI = 0.1
SOURCES_RATIO = 0.02


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """
    From where on a window is a finding.

    Attributes:
        words: Of the largest z of a word.
        labels: Of the population stability index of the labels.
        sources: Of the share of events from producers that the reference does not explain.
    """

    words: float = WORDS_Z
    labels: float = LABELS_PSI
    sources: float = SOURCES_RATIO

    def of(self, score: DriftScore) -> float:
        """The threshold of one score."""
        return {DriftScore.WORDS: self.words, DriftScore.LABELS: self.labels, DriftScore.SOURCES: self.sources}[score]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftPlan:
    """
    How a worker looks for drift.

    Attributes:
        window_events: Decisions in a window.
        reference_windows: Healthy windows that become the baseline of words and sources where no file gives one.
        change_delta: ADWIN's delta.
        thresholds: Of the windows' scores.
    """

    window_events: int = 1_000
    reference_windows: int = 5
    change_delta: float = CHANGE_DELTA
    thresholds: Thresholds = field(default_factory=Thresholds)
