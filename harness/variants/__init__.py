"""The variants: one file each, found by being here."""
