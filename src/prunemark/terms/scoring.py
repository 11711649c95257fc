"""Number of examples that are scored at a time."""

SCORING_BATCH = 250
"""Examples in a scoring batch drawn from a data set: its sample is one batch up to 10 examples of 25 classes."""
