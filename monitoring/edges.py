"""Bucket edges of the distributions. The bundle's reference and the live histograms need the same edges to be compared."""

# Calibrated probability of the decision.
CONFIDENCE = (0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 1.0)
# -logsumexp(logits): -12 to 0 in steps of a half.
ENERGY = tuple(half / 2 for half in range(-24, 1))
# Tokens that the network read.
TOKENS = (4.0, 8.0, 16.0, 32.0, 64.0, 96.0, 128.0)
# Tokens a word: about 1.3 for English, more for unfamiliar words, which are split into pieces.
TOKENS_PER_WORD = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0)
