"""What is said: transcripts, linguistic features, and the fusion of words and voice."""
