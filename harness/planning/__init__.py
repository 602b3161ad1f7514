"""Who trains together, what it costs, and what is left to train."""
