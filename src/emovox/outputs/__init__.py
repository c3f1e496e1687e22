"""What is found, written: tables, JSON, CSV, subtitles and tracks, pictures, model cards."""
