"""Pretrained speech encoders, and the feature sets that they make."""
