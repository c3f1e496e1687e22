"""Speech emotion recognition: from a recording to a label, honestly scored and portable.

>>> from emovox import EmotionRecognizer
>>> recognizer = EmotionRecognizer()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from emovox.version import __version__

if TYPE_CHECKING:
    from emovox.errors import (
        AudioError,
        EmovoxError,
        InputError,
        MissingExtraError,
        ModelError,
        NoSpeechError,
        ProfileError,
    )
    from emovox.model.card import ModelCard
    from emovox.model.profiles import Profile
    from emovox.recognition.recognizer import EmotionRecognizer
    from emovox.recognition.streaming import Stream, StreamEvent, StreamingRecognizer
    from emovox.recognition.timeline import Timeline, TimelineOptions
    from emovox.recognition.windows import WindowOptions
    from emovox.speech.gate import GateOptions
    from emovox.speech.vad import VadOptions
    from emovox.types import Failure, Prediction

# Importing the package costs nothing: each name is imported when it is first asked for.
_HOMES = {
    "AudioError": "emovox.errors",
    "EmotionRecognizer": "emovox.recognition.recognizer",
    "EmovoxError": "emovox.errors",
    "Failure": "emovox.types",
    "GateOptions": "emovox.speech.gate",
    "InputError": "emovox.errors",
    "MissingExtraError": "emovox.errors",
    "ModelCard": "emovox.model.card",
    "ModelError": "emovox.errors",
    "NoSpeechError": "emovox.errors",
    "Prediction": "emovox.types",
    "Profile": "emovox.model.profiles",
    "ProfileError": "emovox.errors",
    "Stream": "emovox.recognition.streaming",
    "StreamEvent": "emovox.recognition.streaming",
    "StreamingRecognizer": "emovox.recognition.streaming",
    "Timeline": "emovox.recognition.timeline",
    "TimelineOptions": "emovox.recognition.timeline",
    "VadOptions": "emovox.speech.vad",
    "WindowOptions": "emovox.recognition.windows",
}

__all__ = [
    "AudioError",
    "EmotionRecognizer",
    "EmovoxError",
    "Failure",
    "GateOptions",
    "InputError",
    "MissingExtraError",
    "ModelCard",
    "ModelError",
    "NoSpeechError",
    "Prediction",
    "Profile",
    "ProfileError",
    "Stream",
    "StreamEvent",
    "StreamingRecognizer",
    "Timeline",
    "TimelineOptions",
    "VadOptions",
    "WindowOptions",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'emovox' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
