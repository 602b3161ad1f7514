"""Engines place jobs and wait for them."""
