"""The chapters of a report: each module turns a suite's cells into one section."""
