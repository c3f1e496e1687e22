"""For the tests of software that is built on emovox: a recogniser without a model, and voices that nobody has."""

from emovox.recognition.fakes import FakeRecognizer, synthetic_voice

__all__ = ["FakeRecognizer", "synthetic_voice"]
