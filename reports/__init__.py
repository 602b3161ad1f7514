"""Comparison reports: reads a store, knows nothing of training."""
