"""Figures: each function takes numbers and returns a finished SVG document or PNG bytes."""
