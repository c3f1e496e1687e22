"""Recipes, and what is done with them: training, evaluation, tuning."""
