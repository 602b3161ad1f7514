"""Mirrors of the store: what tells a person, or W&B, how runs are doing."""
