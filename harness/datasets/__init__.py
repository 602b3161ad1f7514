"""The data sets: one file each, found by being here."""
