"""Scores: numbers, their intervals, and comparisons."""
