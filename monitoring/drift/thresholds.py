"""Default thresholds of drift findings. The settings import them from here, without loading the detectors.

docs/error-rates.md has their origin and the measured false alarms and delays (`make drift-bench`).
"""

from dataclasses import dataclass, field
from typing import assert_never

from tagstream.monitoring.vocabulary import DriftScore

# ADWIN's delta, for every signal.
CHANGE_DELTA = 0.002
WORDS_Z = 6.0
LABELS_PSI = 0.1
SOURCES_RATIO = 0.02
LEARNING_SECONDS = 3600.0


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """
    Scores from which a window is a finding.

    Attributes:
        words: Threshold of the largest z of a word.
        labels: Threshold of the population stability index of the labels.
        sources: Threshold of the share of events from new producers, above the share that chance explains.
    """

    words: float = WORDS_Z
    labels: float = LABELS_PSI
    sources: float = SOURCES_RATIO

    def of(self, score: DriftScore) -> float:
        """The threshold of one score."""
        match score:
            case DriftScore.WORDS:
                return self.words
            case DriftScore.LABELS:
                return self.labels
            case DriftScore.SOURCES:
                return self.sources
            case _:
                assert_never(score)


def setting_of(score: DriftScore) -> str:
    """The setting that gives the threshold of a score."""
    match score:
        case DriftScore.WORDS:
            return "drift_words_z"
        case DriftScore.LABELS:
            return "drift_labels_psi"
        case DriftScore.SOURCES:
            return "drift_sources_ratio"
        case _:
            assert_never(score)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftPlan:
    """
    Settings of drift detection in a worker.

    Attributes:
        window_events: Decisions in a window.
        reference_windows: The number of healthy windows that become the group's baseline if there is no baseline file.
        learning_seconds: The least time over which the windows of the baseline are spread.
        change_delta: ADWIN's delta.
        thresholds: Thresholds of the windows' scores.
    """

    window_events: int = 1_000
    reference_windows: int = 5
    learning_seconds: float = LEARNING_SECONDS
    change_delta: float = CHANGE_DELTA
    thresholds: Thresholds = field(default_factory=Thresholds)
