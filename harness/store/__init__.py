"""The run records on disk: the only truth about what was done."""
