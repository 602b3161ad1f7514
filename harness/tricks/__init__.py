"""The tricks: one file each, found by being here."""
