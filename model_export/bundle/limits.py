"""The most that a bundle may have. Readers of decisions and of other programs' answers take no more."""

# The most labels that a bundle or a file of rules has, and the most characters of a label. Readers of foreign decisions and answers accept no
# more, since the memory of the console, its estimates and its pages grow with the labels.
MAX_LABELS, MAX_NAME_CHARACTERS = 1_000, 256
# The most windows in which a bundle reads a text. A text has at most 4,000 characters, which are some eight windows of 128 tokens.
MOST_WINDOWS = 16
