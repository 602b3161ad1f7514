"""Learning rates by Optuna, trained as cohorts, reported on fresh seeds."""
