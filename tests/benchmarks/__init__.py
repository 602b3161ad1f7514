"""Speed as ratios, measured side by side in one process tree: ``make perf``."""
