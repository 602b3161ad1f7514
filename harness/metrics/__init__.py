"""The metrics: one file each, found by being here."""
