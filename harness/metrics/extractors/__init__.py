"""Feature extractors that image metrics look through."""
