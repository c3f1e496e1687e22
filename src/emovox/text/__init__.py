"""What is said: transcripts, and what their words tell about the speaker."""
