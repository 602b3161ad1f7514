"""What a worker process does with a cohort."""
