"""Pretrained speech encoders as PyTorch modules: from 16 kHz samples to the outputs of their blocks.

`WhisperEncoder` implements the encoder of Whisper for clips of any length without padding to 30 s, and exports to ONNX
with dynamic dimensions.  `HuggingFaceEncoder` wraps encoders of transformers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from emovox.audio.preprocess import PreprocessOptions, window
from emovox.errors import MissingExtraError, ModelError
from emovox.features.spectral import mel_bank
from emovox.storage import Weights, find, read_tensors
from emovox.types import RATE

#: Whisper's short-time transform: 25 ms Hann windows every 10 ms.
N_FFT, HOP = 400, 160
#: Length in samples (30 s) to which Whisper pads every clip; `WhisperEncoder` does not.
WHISPER_SAMPLES = 30 * RATE


class LogMel(nn.Module):
    """Log-mel spectrogram of Whisper, with the Fourier transform as a convolution for export to ONNX.

    Exclude it from half-precision autocast: it needs the range of float32.

    Parameters
    ----------
    n_mels : int, default 80
        Mel bands on Slaney's scale from 0 to 8 kHz; the large-v3 models have 128.
    normalise : bool, default True
        Scale each clip to a peak of -1 dBFS first, so that the result is independent of the recording level.

    Notes
    -----
    Source: ``log_mel_spectrogram`` of https://github.com/openai/whisper (MIT).

    Examples
    --------
    >>> LogMel()(torch.zeros(2, 16000)).shape
    torch.Size([2, 80, 100])
    """

    kernel: Tensor
    bank: Tensor

    def __init__(self, n_mels: int = 80, normalise: bool = True) -> None:
        super().__init__()
        self.normalise = normalise
        phase = 2 * np.pi / N_FFT * np.outer(np.arange(N_FFT // 2 + 1), np.arange(N_FFT))
        waves = np.concatenate([np.cos(phase), -np.sin(phase)]) * window("hann", N_FFT)
        self.register_buffer("kernel", torch.tensor(waves[:, np.newaxis], dtype=torch.float32), persistent=False)
        self.register_buffer("bank", torch.tensor(mel_bank(RATE, N_FFT, n_mels)), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """Map samples, shape (batch, n_samples), to levels, shape (batch, n_mels, n_samples // 160).

        At least 201 samples are required; levels are within a range of 2, with a maximum of about 1.5.
        """
        if self.normalise:
            peak = samples.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
            samples = samples / peak * 10 ** (PreprocessOptions.peak / 20)
        padded = functional.pad(samples.unsqueeze(1), (N_FFT // 2, N_FFT // 2), mode="reflect")
        # The last frame, centred on the end, is dropped as Whisper drops it.
        spectrum = functional.conv1d(padded, self.kernel, stride=HOP)[..., :-1]
        cosine, sine = spectrum.chunk(2, dim=1)
        levels = torch.log10((self.bank @ (cosine * cosine + sine * sine)).clamp(min=1e-10))
        levels = torch.maximum(levels, levels.amax(dim=(1, 2), keepdim=True) - 8)
        return (levels + 4) / 4


class Attention(nn.Module):
    """Multi-head self-attention, with the parameter names of Hugging Face's Whisper."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """Apply attention to states, shape (batch, time, width); `mask`, shape (batch, 1, 1, time), marks keys."""
        width = states.shape[-1] // self.heads
        query, key, value = (
            project(states).unflatten(-1, (self.heads, width)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        if torch.onnx.is_in_onnx_export():
            # Written out, because the exporter expands the fused operator to a longer graph that is no faster.
            scores = query @ key.transpose(2, 3) * width**-0.5
            if mask is not None:
                scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
            mixed = torch.softmax(scores, dim=-1) @ value
        else:
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        result: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return result


class Block(nn.Module):
    """A pre-norm transformer block, with the parameter names of Hugging Face's Whisper."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn = Attention(width, heads)
        self.final_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """Transform states, shape (batch, time, width)."""
        states = states + self.self_attn(self.self_attn_layer_norm(states), mask)
        result: Tensor = states + self.fc2(functional.gelu(self.fc1(self.final_layer_norm(states))))
        return result


class WhisperEncoder(nn.Module):
    """Whisper's convolutional stem and its first blocks, for clips of any length.

    Parameters
    ----------
    width, heads, blocks : int
        Width of the states, attention heads, number of blocks.
    n_mels : int, default 80
        Mel bands of the input.
    inner : int, optional
        Width inside a block; the default is four times `width`.

    Attributes
    ----------
    conv1, conv2, layers
        Stem and blocks; ``state_dict()`` has the names of a Hugging Face checkpoint without their prefix.

    Notes
    -----
    Source: A. Radford et al., *Robust Speech Recognition via Large-Scale Weak Supervision*, 2022.  The position
    embedding is computed, not stored: it is that of the release at any length.

    Examples
    --------
    >>> encoder = WhisperEncoder(width=32, heads=2, blocks=3)
    >>> [tuple(states.shape) for states in encoder(LogMel()(torch.zeros(1, 16000)))]
    [(1, 50, 32), (1, 50, 32), (1, 50, 32)]
    """

    rates: Tensor

    def __init__(self, width: int, heads: int, blocks: int, n_mels: int = 80, inner: int | None = None) -> None:
        super().__init__()
        self.width, self.n_mels = width, n_mels
        self.conv1 = nn.Conv1d(n_mels, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(Block(width, heads, inner or 4 * width) for _ in range(blocks))
        self.register_buffer("rates", _rates(width), persistent=False)

    @classmethod
    def load(cls, source: str | Path | Weights, blocks: int | None = None) -> WhisperEncoder:
        """Load the stem and the first blocks of a checkpoint.

        Parameters
        ----------
        source : str, Path or Weights
            Folder or name, see `emovox.storage.find`.  Keys may begin with ``model.encoder.`` or ``encoder.``.
        blocks : int, optional
            Number of blocks to keep; all by default.

        Returns
        -------
        WhisperEncoder
            In float32, on the CPU, in evaluation mode.

        Raises
        ------
        ModelError
            Not a Whisper checkpoint, too few blocks, or a tensor that is missing or of another shape.
        """
        weights = source if isinstance(source, Weights) else find(source)
        sizes = _sizes(weights)
        if blocks is not None and not 1 <= blocks <= sizes["blocks"]:
            raise ModelError(f"{weights.folder} has {sizes['blocks']} blocks, not {blocks}: ask for one of those")
        # Built without storage and filled from the file, to avoid random initialisation.
        with torch.device("meta"):
            encoder = cls(**{**sizes, "blocks": blocks or sizes["blocks"]})
        wanted = {name: tuple(value.shape) for name, value in encoder.state_dict().items()}
        encoder.load_state_dict(read_tensors(weights, wanted, ("model.encoder.", "encoder.")), assign=True)
        encoder.rates = _rates(encoder.width)
        return encoder.eval()

    def stem(self, mel: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map log-mel, shape (batch, n_mels, frames), to states, shape (batch, (frames + 1) // 2, width).

        `mask`, shape (batch, frames), is true for real frames; padding does not affect the result.
        """
        inside = None if mask is None else mask.unsqueeze(1)
        mel = mel if inside is None else mel.masked_fill(~inside, 0)
        states = functional.gelu(self.conv1(mel))
        states = states if inside is None else states.masked_fill(~inside, 0)
        states = functional.gelu(self.conv2(states)).transpose(1, 2)
        return states + self.positions(states)

    def positions(self, states: Tensor) -> Tensor:
        """Compute sines and cosines of the position, shape (time, width), for states of shape (batch, time, width)."""
        time = torch.arange(states.shape[1], device=states.device, dtype=torch.float32)
        angles = time.unsqueeze(1) * self.rates
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    def forward(self, mel: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        """Return the output of every block, each of shape (batch, (frames + 1) // 2, width).

        Parameters
        ----------
        mel : Tensor, shape (batch, n_mels, frames)
            Output of :class:`LogMel`.
        mask : Tensor of bool, shape (batch, frames), optional
            True for real frames, false for padding, which then does not affect the states of a clip; ``mask[:, ::2]``
            is the mask of the states.
        """
        states = self.stem(mel, mask)
        look = None if mask is None else mask[:, None, None, ::2]
        outputs = []
        for block in self.layers:
            states = block(states, look)
            outputs.append(states)
        return outputs


def _rates(width: int) -> Tensor:
    """Return the angular rates of the position embedding in radians per frame, from 1 to 1/10000."""
    half = width // 2
    return torch.tensor(np.exp(-np.log(10000) / max(half - 1, 1) * np.arange(half)), dtype=torch.float32)


def _sizes(weights: Weights) -> dict[str, int]:
    """Read the sizes of a Whisper encoder from its configuration."""
    place = weights.folder / "config.json"
    if weights.kind != "whisper":
        raise ModelError(f"{place}: model_type is {weights.kind!r}, expected 'whisper': give a Whisper checkpoint")
    activation = weights.config.get("activation_function", "gelu")
    if activation != "gelu":
        raise ModelError(f"{place}: activation_function is {activation!r}, expected 'gelu': give a Whisper checkpoint")
    width, heads = weights.number("d_model"), weights.number("encoder_attention_heads")
    if width % heads or width % 2:
        raise ModelError(f"{place}: d_model {width} cannot be shared by {heads} heads: get the checkpoint again")
    return {
        "width": width,
        "heads": heads,
        "blocks": weights.number("encoder_layers"),
        "n_mels": weights.number("num_mel_bins"),
        "inner": weights.number("encoder_ffn_dim"),
    }


class HuggingFaceEncoder(nn.Module):
    """A speech encoder of transformers with samples as input: wav2vec 2.0, HuBERT, WavLM, data2vec, Whisper.

    Parameters
    ----------
    model : torch module
        Model of transformers; of Whisper, the whole model.
    normalise : bool
        Normalise each clip to mean 0 and variance 1 first, as ``preprocessor_config.json`` specifies.

    Notes
    -----
    Whisper is padded to 30 s here, as its authors do; `WhisperEncoder` is far cheaper.
    """

    def __init__(self, model: Any, normalise: bool = False) -> None:
        super().__init__()
        self.normalise = normalise
        self.front: LogMel | None = None
        if model.config.model_type == "whisper":
            self.front = LogMel(model.config.num_mel_bins, normalise=False)
            model = model.get_encoder()
        elif not hasattr(model, "feature_extractor"):
            raise ModelError(
                f"an encoder of type {model.config.model_type!r} does not start from samples: "
                "use a wav2vec 2.0, HuBERT, WavLM, data2vec or Whisper checkpoint"
            )
        self.model = model

    @classmethod
    def load(cls, source: str | Path | Weights) -> HuggingFaceEncoder:
        """Load a checkpoint with transformers, from safetensors only and without running its code.

        Parameters
        ----------
        source : str, Path or Weights
            Folder or name, see `emovox.storage.find`.

        Returns
        -------
        HuggingFaceEncoder
            In float32, on the CPU, in evaluation mode.

        Raises
        ------
        ModelError
            A checkpoint that transformers cannot read, that lacks tensors, or whose encoder does not take samples.
        MissingExtraError
            transformers is not installed.
        """
        weights = source if isinstance(source, Weights) else find(source)
        try:
            from transformers import AutoModel
        except ImportError as error:
            raise MissingExtraError(f"the encoder in {weights.folder}", "hub") from error
        settings = weights.preprocessor()
        try:
            model, report = AutoModel.from_pretrained(
                weights.folder,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                dtype=torch.float32,
            )
        except Exception as error:  # transformers raises many kinds of exceptions
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
            raise ModelError(
                f"{weights.folder} is not a speech encoder that transformers can read: {reason}"
            ) from error
        # transformers initialises missing tensors at random; these two are not used here.
        lacking = sorted(
            name
            for name in report["missing_keys"]
            if not name.endswith("masked_spec_embed") and not name.startswith("decoder.")
        )
        if lacking:
            raise ModelError(
                f"{weights.folder} lacks {len(lacking)} tensors, the first is {lacking[0]}: get the checkpoint again"
            )
        return cls(model, bool(settings.get("do_normalize", False))).eval()

    def forward(self, samples: Tensor) -> list[Tensor]:
        """Map samples, shape (batch, n_samples), to the output of every block, shape (batch, time, width)."""
        if self.normalise:
            centred = samples - samples.mean(dim=1, keepdim=True)
            samples = centred / (centred.square().mean(dim=1, keepdim=True) + 1e-7).sqrt()
        if self.front is None:
            return list(self.model(samples, output_hidden_states=True).hidden_states[1:])
        padded = functional.pad(samples, (0, WHISPER_SAMPLES - samples.shape[1]))
        states = self.model(self.front(padded), output_hidden_states=True).hidden_states[1:]
        return [one[:, : (samples.shape[1] // HOP + 1) // 2] for one in states]


def statistics(states: Tensor, weights: Tensor | None = None) -> Tensor:
    """Compute mean and population standard deviation over time.

    Parameters
    ----------
    states : Tensor, shape (batch, time, width)
        Frames.
    weights : Tensor, shape (batch, time), optional
        Non-negative weights of the frames, for example a mask; equal by default.

    Returns
    -------
    Tensor, shape (batch, 2 * width)
        Means, then standard deviations.

    Examples
    --------
    >>> statistics(torch.tensor([[[1.0], [3.0]]])).tolist()
    [[2.0, 1.0]]
    """
    if weights is None:
        mean = states.mean(dim=1, keepdim=True)
        variance = (states - mean).square().mean(dim=1)
    else:
        share = (weights / weights.sum(dim=1, keepdim=True)).unsqueeze(-1).to(states.dtype)
        mean = (share * states).sum(dim=1, keepdim=True)
        variance = (share * (states - mean).square()).sum(dim=1)
    # The derivative of the square root at 0 is infinite; constant channels must have a finite gradient.
    return torch.cat([mean.squeeze(1), variance.clamp(min=1e-12).sqrt()], dim=1)
