"""The probes: one file each, found by being here."""
