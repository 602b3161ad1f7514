"""Image files: listed, decoded, and kept as arrays."""
