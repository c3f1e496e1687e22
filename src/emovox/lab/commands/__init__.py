"""Commands that need the `[train]` extra: each parses, calls the library and prints."""
