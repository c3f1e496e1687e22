"""Feature extraction for many recordings, in parallel and with a cache on disk."""
