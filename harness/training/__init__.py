"""Stacked training: the runs of a cohort as one computation."""
