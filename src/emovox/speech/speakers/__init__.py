"""Who speaks when: voices as vectors, turns, and the same voice found again."""
