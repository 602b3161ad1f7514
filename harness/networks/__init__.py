"""The network families: one file each, found by being here."""
