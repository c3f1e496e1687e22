"""The version of emovox; the package's own metadata are made from it."""

__version__ = "0.1.0"
