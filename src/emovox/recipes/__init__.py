"""The recipes inside the package: data, no code."""
