"""The version of ganbench and of the numbers it produces."""

VERSION = "0.1.0"

RESULTS_VERSION = 5
"""Raised by every change that alters a run's numbers; part of each run's identity."""
