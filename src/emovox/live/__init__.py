"""Live recognition: sound from a microphone or a pipe, its level, the display on a terminal, and recording."""
