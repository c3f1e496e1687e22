"""Listening as it happens: where sound comes from, what it is worth, what is shown and what is kept."""
