"""From a suite file to its runs: strict YAML, every problem at once, a frozen spec per run."""
