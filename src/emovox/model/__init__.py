"""Trained models: the one file that carries a model with its card, and profiles of voices."""
