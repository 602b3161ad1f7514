"""ganbench's harness: from a suite file to measured, stored runs."""

from harness.version import VERSION as __version__

__all__ = ["__version__"]
