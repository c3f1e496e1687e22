"""Altered copies of recordings: rooms, microphones, noise, speed and pitch."""
