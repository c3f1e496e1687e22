"""The voice activity detector inside the package: Silero VAD 6.2.3 (MIT, see LICENSE-SILERO), data, no code."""
