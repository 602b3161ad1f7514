"""The statistics behind every claim: pure functions on numbers, nothing read or drawn."""
