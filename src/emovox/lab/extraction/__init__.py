"""Features of many recordings: on all cores, cached on disk."""
