"""The command line: one small module a command; each parses, calls the library and prints."""
