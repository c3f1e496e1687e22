"""Speech emotion recognition: from a recording to a label, honestly scored and portable.

>>> from emovox import EmotionRecognizer
>>> recognizer = EmotionRecognizer()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
    from emovox.gate import GateOptions
    from emovox.profiles import Profile
    from emovox.recognizer import EmotionRecognizer, WindowOptions
    from emovox.streaming import Stream, StreamEvent, StreamingRecognizer
    from emovox.timeline import Timeline, TimelineOptions
    from emovox.types import Failure, ModelCard, Prediction
    from emovox.vad import VadOptions

__version__ = "0.1.0"

# Importing the package costs nothing: each name is imported when it is first asked for.
_HOMES = {
    "AudioError": "emovox.errors",
    "EmotionRecognizer": "emovox.recognizer",
    "EmovoxError": "emovox.errors",
    "Failure": "emovox.types",
    "GateOptions": "emovox.gate",
    "InputError": "emovox.errors",
    "MissingExtraError": "emovox.errors",
    "ModelCard": "emovox.types",
    "ModelError": "emovox.errors",
    "NoSpeechError": "emovox.errors",
    "Prediction": "emovox.types",
    "Profile": "emovox.profiles",
    "ProfileError": "emovox.errors",
    "Stream": "emovox.streaming",
    "StreamEvent": "emovox.streaming",
    "StreamingRecognizer": "emovox.streaming",
    "Timeline": "emovox.timeline",
    "TimelineOptions": "emovox.timeline",
    "VadOptions": "emovox.vad",
    "WindowOptions": "emovox.recognizer",
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
