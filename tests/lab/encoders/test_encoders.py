"""Pretrained encoders: against transformers and librosa, at any length, in any batch; bad checkpoints are refused."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from emovox import storage
from emovox.errors import MissingExtraError, ModelError
from emovox.lab.encoders.embedders import Embedder
from emovox.lab.encoders.encoders import (
    HuggingFaceEncoder,
    LogMel,
    WhisperEncoder,
    statistics,
)
from emovox.storage import HUB_FILES, find
from tests.conftest import sine

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    librosa = pytest.importorskip("librosa")
    transformers = pytest.importorskip("transformers")


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look nothing up beyond this test's own folders."""
    monkeypatch.delenv(storage.VARIABLE, raising=False)
    storage._from_hub.cache_clear()


@pytest.fixture
def speech(ravdess_clips: list[Path]) -> Tensor:
    samples = soundfile.read(ravdess_clips[4], dtype="float32")[0]
    return torch.from_numpy(samples).unsqueeze(0)


def sound(count: int, seconds: float) -> Tensor:
    """Return noise and a tone."""
    time = round(seconds * 16000)
    torch.manual_seed(time)
    return 0.1 * torch.randn(count, time) + torch.from_numpy(sine(150, seconds))[:time]


@pytest.fixture
def change(small_whisper: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return what copies the checkpoint with other configuration values (None removes one) or tensors."""

    def copy(config: dict[str, Any] | None = None, tensors: dict[str, Tensor | None] | None = None) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(small_whisper, folder)
        values = {**json.loads((folder / "config.json").read_text()), **(config or {})}
        values = {key: value for key, value in values.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(values))
        if tensors:
            stored: dict[str, Tensor | None] = {**load_file(folder / "model.safetensors"), **tensors}
            save_file({k: v for k, v in stored.items() if v is not None}, folder / "model.safetensors")
        return folder

    return copy


# --- log-mel -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_mels", [80, 128])
def test_log_mel_is_that_of_transformers(n_mels: int, speech: Tensor) -> None:
    extractor = transformers.WhisperFeatureExtractor(feature_size=n_mels)
    for samples in (speech, sound(1, 0.3), 1e-4 * sound(1, 1.0)):
        theirs = extractor(samples[0].numpy(), sampling_rate=16000, padding=False, return_tensors="np").input_features
        ours = LogMel(n_mels, normalise=False)(samples).numpy()
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_log_mel_is_that_of_librosa(speech: Tensor) -> None:
    power = np.abs(librosa.stft(speech[0].numpy(), n_fft=400, hop_length=160, pad_mode="reflect"))[:, :-1] ** 2
    levels = np.log10(np.maximum(librosa.filters.mel(sr=16000, n_fft=400, n_mels=80) @ power, 1e-10))
    theirs = (np.maximum(levels, levels.max() - 8) + 4) / 4
    np.testing.assert_allclose(LogMel(normalise=False)(speech)[0].numpy(), theirs, atol=1e-4)


def test_the_recording_level_does_not_matter(speech: Tensor) -> None:
    expected = LogMel(normalise=False)(speech / speech.abs().max() * 10 ** (-1 / 20))
    for gain in (1e-20, 1e-4, 1.0, 300.0):
        torch.testing.assert_close(LogMel()(gain * speech), expected, atol=2e-5, rtol=0)


def test_each_clip_of_a_batch_has_its_own_level() -> None:
    quiet, loud = 1e-3 * sound(1, 0.5), sound(1, 0.5).flip(1)
    for normalise in (True, False):
        front = LogMel(normalise=normalise)
        together = front(torch.cat([quiet, loud]))
        torch.testing.assert_close(together, torch.cat([front(quiet), front(loud)]), atol=1e-5, rtol=0)


def test_silence_is_finite() -> None:
    assert LogMel()(torch.zeros(1, 4800)).isfinite().all()


# --- the encoder -------------------------------------------------------------------------------------------


def theirs_of(folder: Path, mel: Tensor) -> list[Tensor]:
    """Return the block outputs of transformers' encoder, before its final normalisation."""
    encoder = transformers.WhisperModel.from_pretrained(folder).get_encoder().eval()
    found: list[Tensor] = []

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        found.append(output[0] if isinstance(output, tuple) else output)

    for layer in encoder.layers:
        layer.register_forward_hook(keep)
    with torch.inference_mode():
        encoder(mel)
    return found


def test_blocks_are_those_of_transformers(small_whisper: Path) -> None:
    mel = LogMel()(sound(1, 30.0))
    theirs = theirs_of(small_whisper, mel)
    with torch.inference_mode():
        ours = WhisperEncoder.load(small_whisper)(mel)
    assert len(ours) == 3
    for one, other in zip(ours, theirs, strict=True):
        assert other.std() > 0.1
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["whisper-tiny.en-encoder", "whisper-base-encoder-first4"])
def test_positions_are_those_of_the_release(name: str, weights: Path) -> None:
    stored = load_file(weights / name / "model.safetensors")["model.encoder.embed_positions.weight"]
    encoder = WhisperEncoder.load(weights / name, blocks=1)
    computed = encoder.positions(torch.zeros(1, 1500, encoder.width))
    assert stored.dtype == torch.float16
    # Half precision has 11 bits; the release's own float32 angles are off by as much at the far end.
    torch.testing.assert_close(computed, stored.float(), atol=2**-11 + 1e-4, rtol=0)


def test_clips_may_be_longer_than_30_seconds(small_whisper: Path) -> None:
    with torch.inference_mode():
        states = WhisperEncoder.load(small_whisper, 1)(LogMel()(sound(1, 31.0)))
    assert states[0].shape == (1, 1550, 32)
    assert states[0].isfinite().all()


@pytest.mark.parametrize("frames", [61, 80])
def test_padding_in_a_batch_is_as_if_it_were_not_there(frames: int, small_whisper: Path) -> None:
    encoder = WhisperEncoder.load(small_whisper)
    mel = LogMel()(sound(2, 1.0))
    mask = torch.arange(100) < torch.tensor([[100], [frames]])
    with torch.inference_mode():
        together = encoder(mel, mask)
        alone = encoder(mel[1:, :, :frames])
        unmasked = encoder(mel)
    assert mask[:, ::2].sum(dim=1).tolist() == [50, (frames + 1) // 2]
    for one, other, wrong in zip(together, alone, unmasked, strict=True):
        torch.testing.assert_close(one[1:, : other.shape[1]], other, atol=1e-5, rtol=1e-5)
        assert (wrong[1:, : other.shape[1]] - other).abs().max() > 0.01


def test_only_the_first_blocks_are_kept_and_change_nothing(small_whisper: Path) -> None:
    mel = LogMel()(sound(1, 1.0))
    whole, two = WhisperEncoder.load(small_whisper), WhisperEncoder.load(small_whisper, blocks=2)
    assert [len(encoder.layers) for encoder in (whole, two)] == [3, 2]
    torch.testing.assert_close(two(mel)[1], whole(mel)[1])
    assert all(value.requires_grad and value.dtype == torch.float32 for value in two.parameters())
    assert not two.training


@pytest.mark.parametrize("prefix", ["encoder.", "model.encoder."])
def test_half_precision_and_both_prefixes_are_read(prefix: str, small_whisper: Path, tmp_path: Path) -> None:
    shutil.copy(small_whisper / "config.json", tmp_path)
    stored = load_file(small_whisper / "model.safetensors")
    renamed = {
        prefix + key.split("encoder.")[-1]: value.half() for key, value in stored.items() if "decoder" not in key
    }
    # The shards of a large model.
    names = sorted(renamed)
    for number, part in enumerate((names[:9], names[9:]), 1):
        save_file({name: renamed[name] for name in part}, tmp_path / f"model-{number:05d}-of-00002.safetensors")
    mel = LogMel()(sound(1, 0.5))
    expected = WhisperEncoder.load(small_whisper)(mel)[-1]
    torch.testing.assert_close(WhisperEncoder.load(tmp_path)(mel)[-1], expected, atol=0.02, rtol=0.02)


# --- bad checkpoints ---------------------------------------------------------------------------------------

FIRST = "encoder.layers.0.fc1.weight"


@pytest.mark.parametrize(
    ("config", "tensors", "message"),
    [
        ({"model_type": "bert"}, {}, "model_type is 'bert', expected 'whisper': give a Whisper checkpoint"),
        ({"model_type": None}, {}, "model_type is ''"),
        ({"d_model": None}, {}, "config.json: d_model is None, expected a positive whole number"),
        ({"encoder_layers": "3"}, {}, "encoder_layers is '3', expected a positive whole number"),
        ({"encoder_attention_heads": 0}, {}, "encoder_attention_heads is 0, expected"),
        ({"num_mel_bins": True}, {}, "num_mel_bins is True, expected"),
        ({"encoder_attention_heads": 5}, {}, "d_model 32 cannot be shared by 5 heads"),
        ({"activation_function": "relu"}, {}, "activation_function is 'relu', expected 'gelu'"),
        ({"encoder_layers": 4}, {}, "lacks 15 tensors, the first is model.encoder.layers.3"),
        ({"encoder_ffn_dim": 65}, {}, r"layers.0.fc1.weight has shape \(64, 32\), expected \(65, 32\)"),
        ({}, {FIRST: None}, r"lacks 1 tensors, the first is model.encoder.layers.0.fc1.weight"),
        ({}, {FIRST: torch.zeros(3)}, r"layers.0.fc1.weight has shape \(3,\), expected \(64, 32\)"),
        ({}, {FIRST: torch.full((64, 32), torch.nan)}, "fc1.weight is not finite: get the checkpoint again"),
    ],
)
def test_bad_checkpoints_are_refused(
    config: dict[str, Any], tensors: dict[str, Tensor | None], message: str, change: Callable[..., Path]
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        WhisperEncoder.load(change(config, tensors))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("blocks", [0, 4])
def test_blocks_that_are_not_there_are_refused(blocks: int, small_whisper: Path) -> None:
    with pytest.raises(ModelError, match=f"has 3 blocks, not {blocks}: ask for one of those"):
        WhisperEncoder.load(small_whisper, blocks)


def test_other_files_are_refused(small_whisper: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    with pytest.raises(ModelError, match=r"no folder '.*checkpoint' with encoder weights: give a folder that holds"):
        find(folder)
    folder.mkdir()
    with pytest.raises(ModelError, match=r"checkpoint has no config.json: give the folder of a Hugging Face"):
        find(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"cannot read .*config.json .*: get the checkpoint again"):
        find(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(ModelError, match="is not a JSON object"):
        find(folder)
    shutil.copy(small_whisper / "config.json", folder)
    with pytest.raises(ModelError, match=r"has no model.safetensors: emovox reads safetensors only"):
        find(folder)
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelError, match=r"has only pytorch_model.bin, which may run code when it is read"):
        find(folder)
    (folder / "model.safetensors").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelError, match="is not a safetensors file that can be read"):
        WhisperEncoder.load(folder)


# --- names -------------------------------------------------------------------------------------------------


def test_names_are_looked_up_in_the_folder_of_weights(
    small_whisper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("whisper-tiny.en-encoder", "whisper-base-encoder-first4", "hubert"):
        shutil.copytree(small_whisper, tmp_path / name)
    monkeypatch.setenv(storage.VARIABLE, str(tmp_path))
    for name, folder in (
        ("whisper-tiny.en", "whisper-tiny.en-encoder"),
        ("openai/whisper-tiny.en", "whisper-tiny.en-encoder"),
        ("whisper-base", "whisper-base-encoder-first4"),
        ("whisper-base-encoder-first4", "whisper-base-encoder-first4"),
        ("facebook/hubert", "hubert"),
    ):
        assert find(name).folder == tmp_path / folder
    monkeypatch.setenv(storage.VARIABLE, str(tmp_path / "elsewhere"))
    with pytest.raises(ModelError, match=r"EMOVOX_WEIGHTS=.*elsewhere is not a folder: set it to the folder"):
        find("whisper-tiny.en")


def test_the_hub_is_asked_for_safetensors_only(small_whisper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[str]]] = []

    def fetch(repository: str, allow_patterns: list[str]) -> str:
        asked.append((repository, allow_patterns))
        return str(small_whisper)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert find("whisper-tiny.en").kind == "whisper"
    assert find("facebook/hubert-base-ls960").folder == small_whisper
    assert asked == [("openai/whisper-tiny.en", list(HUB_FILES)), ("facebook/hubert-base-ls960", list(HUB_FILES))]
    assert all(name.endswith((".json", ".safetensors")) for name in HUB_FILES)


def test_without_a_network_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    message = r"from the Hugging Face hub \(.+\): connect once, or give a local folder, or set EMOVOX_WEIGHTS"
    with pytest.raises(ModelError, match=message) as caught:
        find("whisper-tiny.en")
    assert "\n" not in str(caught.value)


def test_without_the_hub_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"hub needs the \[hub\] extra"):
        find("whisper-tiny.en")


def test_the_digest_follows_tensors_and_configuration(small_whisper: Path, change: Callable[..., Path]) -> None:
    before = find(small_whisper).digest
    folder = change({}, {FIRST: torch.ones(64, 32)})
    changed = find(folder).digest
    (folder / "config.json").write_text((folder / "config.json").read_text().replace("32", "64"))
    assert len({before, changed, find(folder).digest}) == 3
    assert find(small_whisper).digest == before


# --- pooling -----------------------------------------------------------------------------------------------


def test_statistics_are_those_of_numpy() -> None:
    states = torch.randn(3, 20, 5)
    expected = np.concatenate([states.numpy().mean(axis=1), states.numpy().std(axis=1)], axis=1)
    np.testing.assert_allclose(statistics(states).numpy(), expected, atol=1e-5)


def test_weights_are_how_often_a_frame_counts() -> None:
    states, counts = torch.randn(1, 6, 4), torch.tensor([[1, 0, 3, 2, 0, 1]])
    repeated = states.repeat_interleave(counts[0], dim=1)
    torch.testing.assert_close(statistics(states, counts.float()), statistics(repeated))


def test_a_constant_channel_does_not_spoil_the_gradient() -> None:
    states = torch.ones(1, 5, 2, requires_grad=True)
    statistics(states).sum().backward()  # type: ignore[no-untyped-call]
    assert states.grad is not None
    assert states.grad.isfinite().all()


# --- other encoders ----------------------------------------------------------------------------------------

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8, 8),
    "conv_kernel": (10, 8),
    "conv_stride": (20, 16),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}


def save_random(name: str, folder: Path, normalise: bool) -> Any:
    """Write a small checkpoint of random weights as transformers does, and return its model."""
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**SIZES)).eval()
    model.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=normalise).save_pretrained(folder)
    return model


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("name", ["Wav2Vec2", "Hubert", "WavLM", "Data2VecAudio"])
def test_other_encoders_are_those_of_transformers(name: str, normalise: bool, tmp_path: Path) -> None:
    model = save_random(name, tmp_path, normalise)
    samples = 3 * sound(1, 0.5) + 0.2
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(tmp_path)
    values = extractor(samples[0].numpy(), sampling_rate=16000, return_tensors="pt").input_values
    with torch.inference_mode():
        expected = model(values, output_hidden_states=True).hidden_states
        found = HuggingFaceEncoder.load(tmp_path)(samples)
        vector = Embedder.load(tmp_path, (2,))(samples)
    assert len(found) == 2
    for one, other in zip(found, expected[1:], strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(vector, statistics(expected[2]), atol=1e-4, rtol=1e-4)


def test_whisper_through_transformers_pads_to_30_seconds(small_whisper: Path) -> None:
    samples = sound(1, 1.0)
    padded = torch.nn.functional.pad(samples, (0, 29 * 16000))
    with torch.inference_mode():
        found = HuggingFaceEncoder.load(small_whisper)(samples)
        expected = WhisperEncoder.load(small_whisper)(LogMel(normalise=False)(padded))
    assert found[0].shape == (1, 50, 32)
    for one, other in zip(found[:2], expected[:2], strict=True):  # theirs normalises the last block's output
        torch.testing.assert_close(one, other[:, :50], atol=2e-4, rtol=1e-4)


def test_other_bad_checkpoints_are_refused(tmp_path: Path) -> None:
    save_random("Hubert", tmp_path, True)
    with pytest.raises(ModelError, match="has 2 blocks, not 3: ask for one of those"):
        Embedder.load(tmp_path, (1, 3))
    settings = tmp_path / "preprocessor_config.json"
    settings.write_text(settings.read_text().replace("16000", "8000"))
    with pytest.raises(ModelError, match="sampling_rate is 8000, expected 16000: use a 16 kHz encoder"):
        Embedder.load(tmp_path, (1,))
    settings.unlink()
    stored = load_file(tmp_path / "model.safetensors")
    del stored["encoder.layers.1.attention.k_proj.weight"]
    save_file(stored, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 tensors, the first is encoder.layers.1.attention.k_proj.weight"):
        HuggingFaceEncoder.load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "parrot"}')
    with pytest.raises(ModelError, match="is not a speech encoder that transformers can read") as caught:
        HuggingFaceEncoder.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_encoder_of_something_else_is_refused(tmp_path: Path) -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    transformers.BertModel(transformers.BertConfig(**sizes, vocab_size=10)).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"of type 'bert' does not start from samples: use a wav2vec 2.0"):
        HuggingFaceEncoder.load(tmp_path)


def test_without_transformers_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_random("Hubert", tmp_path, True)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"needs the \[hub\] extra"):
        HuggingFaceEncoder.load(tmp_path)
