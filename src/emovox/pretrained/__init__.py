"""The models inside the package: data, no code."""
