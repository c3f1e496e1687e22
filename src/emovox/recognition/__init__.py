"""From sound to emotions: one recording, a timeline, a stream."""
