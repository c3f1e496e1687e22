"""Corpora: readers, the one table they make, and the protocols that split it."""
