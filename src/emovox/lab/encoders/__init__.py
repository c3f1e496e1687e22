"""Pretrained speech encoders, and the feature sets computed by them."""
