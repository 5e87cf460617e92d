"""Measures what can run a model here: each candidate in a process of its own, in rounds, compared with a reference."""
