"""Speech emotion recognition: from a recording to a label, honestly scored and portable.

>>> from emovox import EmotionRecognizer
>>> recognizer = EmotionRecognizer()
"""

from __future__ import annotations

import os
import sys

__version__ = "0.1.0"

#: Speech is nobody else's business.  These libraries report to their makers unless they are told not to before they
#: are imported; a value that is set already stays.
_SILENT = {"onnxruntime": "ORT_DISABLE_TELEMETRY", "huggingface_hub": "HF_HUB_DISABLE_TELEMETRY"}
#: Those that somebody else imported first: the model file's reader says so once.
IMPORTED_BEFORE = tuple(
    name for name, variable in _SILENT.items() if name in sys.modules and variable not in os.environ
)
for _variable in _SILENT.values():
    os.environ.setdefault(_variable, "1")

TYPE_CHECKING = False  # type checkers take it for true; `typing` is half of what a command loads until it hears Ctrl-C
if TYPE_CHECKING:
    from typing import Any

    from emovox.audio import Converter
    from emovox.errors import (
        AudioError,
        EmovoxError,
        InputError,
        MissingExtraError,
        ModelError,
        NoSpeechError,
        ProfileError,
        TranscriptError,
    )
    from emovox.model.file import CorpusSummary, Model, ModelCard, ModelOutput
    from emovox.model.profiles import Profile, Statistics
    from emovox.outputs.plots import Explanation, Faithfulness, Reason, Trait
    from emovox.recognition.analysis import Results
    from emovox.recognition.explaining import ExplainOptions, explain
    from emovox.recognition.recognizer import AxesExtractor, EmotionRecognizer, FeatureExtractor
    from emovox.recognition.streaming import Stream, StreamEvent, StreamingRecognizer
    from emovox.recognition.timeline import (
        Reply,
        SegmentFile,
        Speaking,
        Summary,
        Timeline,
        TimelineOptions,
        WindowOptions,
        read_segments,
    )
    from emovox.recognition.vectors import SpeechFeatures
    from emovox.recognition.voice import Judge
    from emovox.speech.vad import GateOptions, VadOptions
    from emovox.text.fusion import Rule
    from emovox.text.transcribe import Transcriber
    from emovox.text.words import TextClassifier
    from emovox.types import (
        Failure,
        FeatureSpec,
        Prediction,
        Segment,
        Setting,
        Transcript,
        Unread,
        Waveform,
        Word,
        to_frame,
    )

# Importing the package costs nothing: each name is imported when it is first asked for.
_HOMES = {
    "AudioError": "emovox.errors",
    "AxesExtractor": "emovox.recognition.recognizer",
    "Converter": "emovox.audio",
    "CorpusSummary": "emovox.model.file",
    "EmotionRecognizer": "emovox.recognition.recognizer",
    "EmovoxError": "emovox.errors",
    "ExplainOptions": "emovox.recognition.explaining",
    "Explanation": "emovox.outputs.plots",
    "Failure": "emovox.types",
    "Faithfulness": "emovox.outputs.plots",
    "FeatureExtractor": "emovox.recognition.recognizer",
    "FeatureSpec": "emovox.types",
    "GateOptions": "emovox.speech.vad",
    "InputError": "emovox.errors",
    "Judge": "emovox.recognition.voice",
    "MissingExtraError": "emovox.errors",
    "Model": "emovox.model.file",
    "ModelCard": "emovox.model.file",
    "ModelError": "emovox.errors",
    "ModelOutput": "emovox.model.file",
    "NoSpeechError": "emovox.errors",
    "Prediction": "emovox.types",
    "Profile": "emovox.model.profiles",
    "ProfileError": "emovox.errors",
    "Reason": "emovox.outputs.plots",
    "Reply": "emovox.recognition.timeline",
    "Results": "emovox.recognition.analysis",
    "Rule": "emovox.text.fusion",
    "Segment": "emovox.types",
    "SegmentFile": "emovox.recognition.timeline",
    "Setting": "emovox.types",
    "Speaking": "emovox.recognition.timeline",
    "SpeechFeatures": "emovox.recognition.vectors",
    "Statistics": "emovox.model.profiles",
    "Stream": "emovox.recognition.streaming",
    "StreamEvent": "emovox.recognition.streaming",
    "StreamingRecognizer": "emovox.recognition.streaming",
    "Summary": "emovox.recognition.timeline",
    "TextClassifier": "emovox.text.words",
    "Timeline": "emovox.recognition.timeline",
    "TimelineOptions": "emovox.recognition.timeline",
    "Trait": "emovox.outputs.plots",
    "Transcriber": "emovox.text.transcribe",
    "Transcript": "emovox.types",
    "TranscriptError": "emovox.errors",
    "Unread": "emovox.types",
    "VadOptions": "emovox.speech.vad",
    "Waveform": "emovox.types",
    "WindowOptions": "emovox.recognition.timeline",
    "Word": "emovox.types",
    "explain": "emovox.recognition.explaining",
    "read_segments": "emovox.recognition.timeline",
    "to_frame": "emovox.types",
}

__all__ = [
    "AudioError",
    "AxesExtractor",
    "Converter",
    "CorpusSummary",
    "EmotionRecognizer",
    "EmovoxError",
    "ExplainOptions",
    "Explanation",
    "Failure",
    "Faithfulness",
    "FeatureExtractor",
    "FeatureSpec",
    "GateOptions",
    "InputError",
    "Judge",
    "MissingExtraError",
    "Model",
    "ModelCard",
    "ModelError",
    "ModelOutput",
    "NoSpeechError",
    "Prediction",
    "Profile",
    "ProfileError",
    "Reason",
    "Reply",
    "Results",
    "Rule",
    "Segment",
    "SegmentFile",
    "Setting",
    "Speaking",
    "SpeechFeatures",
    "Statistics",
    "Stream",
    "StreamEvent",
    "StreamingRecognizer",
    "Summary",
    "TextClassifier",
    "Timeline",
    "TimelineOptions",
    "Trait",
    "Transcriber",
    "Transcript",
    "TranscriptError",
    "Unread",
    "VadOptions",
    "Waveform",
    "WindowOptions",
    "Word",
    "__version__",
    "explain",
    "read_segments",
    "to_frame",
]


#: Modules that had another name in the first versions of 0.1.  They are found under it, with a DeprecationWarning.
_MOVED = {
    "emovox.decision": "emovox.model.file",
    "emovox.experiment": "emovox.lab.experiments.experiment",
    "emovox.features.analysis": "emovox.features.spectral",
    "emovox.features.cache": "emovox.lab.extraction.cache",
    "emovox.features.embeddings": "emovox.lab.encoders.embeddings",
    "emovox.features.extraction": "emovox.lab.extraction.extraction",
    "emovox.features.formants": "emovox.features.voicing",
    "emovox.features.pitch": "emovox.features.voicing",
    "emovox.features.voice_quality": "emovox.features.voicing",
    "emovox.gate": "emovox.speech.vad",
    "emovox.labels": "emovox.types",
    "emovox.live.check": "emovox.live.state",
    "emovox.live.devices": "emovox.live.sources",
    "emovox.live.keeping": "emovox.live.session",
    "emovox.plots": "emovox.outputs.plots",
    "emovox.preprocess": "emovox.audio.preprocess",
    "emovox.profiles": "emovox.model.profiles",
    "emovox.recipe": "emovox.lab.experiments.recipe",
    "emovox.recognizer": "emovox.recognition.recognizer",
    "emovox.streaming": "emovox.recognition.streaming",
    "emovox.text.classifier": "emovox.text.words",
    "emovox.text.evidence": "emovox.text.words",
    "emovox.text.rules": "emovox.text.fusion",
    "emovox.text.sentiment": "emovox.text.words",
    "emovox.text.whisper": "emovox.text.transcribe",
    "emovox.timeline": "emovox.recognition.timeline",
    "emovox.tracks": "emovox.outputs.formats",
    "emovox.vad": "emovox.speech.vad",
    "emovox.writing": "emovox.storage",
}


class _Moved:
    """Finds moved modules: the last that Python asks, for names that nobody else knows."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> Any:
        """Return how to import a name, or None where it is none of :data:`_MOVED`."""
        if name not in _MOVED:
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, _Moved)  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: Any) -> None:
        """Leave it to Python: the module that it makes is only a place."""

    @staticmethod
    def exec_module(module: Any) -> None:
        """Put the module of the new name there."""
        from importlib import import_module
        from warnings import warn

        name = module.__name__
        warn(f"{name} is called {_MOVED[name]}", DeprecationWarning, stacklevel=2)
        sys.modules[name] = import_module(_MOVED[name])


sys.meta_path.append(_Moved)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'emovox' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
