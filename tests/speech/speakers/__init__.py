"""Tests of who speaks when."""
