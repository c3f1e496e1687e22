"""Experiments: recipes, training, evaluation and hyper-parameter search."""
