"""Feature sets of pretrained speech encoders: pooled outputs of their blocks.  torch is imported lazily."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from emovox.errors import FeatureError, MissingExtraError, ModelError
from emovox.features import sets
from emovox.features.sets import FeatureSet, Parameter, Value, padded
from emovox.storage import find
from emovox.types import Float32Array

if TYPE_CHECKING:
    from emovox.lab.encoders.embedders import Embedder, JoinedEmbedder

#: Statistics over time by name; attentive statistics have trained weights and are part of a model instead.
POOLINGS = ("mean-sd", "mean")
#: Width and number of blocks of encoders with their own set, so that recipes can be checked without weights.
KNOWN = {"whisper-tiny.en": (384, 4), "whisper-base": (512, 6)}
#: Separator of several encoders in the parameters `weights` and `blocks` of recipes and cards.
SEPARATOR = " + "


class Encoder(NamedTuple):
    """One encoder of a feature set.

    Attributes
    ----------
    weights : str
        A folder, or a name on the Hugging Face hub.
    blocks : str
        Block numbers with spaces between.
    """

    weights: str
    blocks: str


class Preset(NamedTuple):
    """A feature set of encoders: ``encoder``, or one with other defaults."""

    description: str
    weights: str
    blocks: str


PRESETS: dict[str, Preset] = {
    "whisper-tiny.en": Preset(
        "statistics over time of what blocks of Whisper's tiny.en encoder put out", "whisper-tiny.en", "1 2 3"
    ),
    "whisper-base": Preset(
        "statistics over time of what blocks of Whisper's base encoder put out", "whisper-base", "2 3 4"
    ),
    "whisper-pair": Preset(
        "statistics over time of what blocks of Whisper's tiny.en and base encoders put out",
        "whisper-tiny.en + whisper-base",
        "1 2 3 + 2 3",
    ),
    "encoder": Preset(
        "statistics over time of what blocks of any pretrained speech encoder put out", "whisper-tiny.en", "1 2 3"
    ),
}


def encoders(parameters: Mapping[str, Any]) -> tuple[Encoder, ...]:
    """Return the encoders of a feature set, which its parameters separate by ``" + "``.

    Parameters
    ----------
    parameters : mapping
        With ``weights`` and ``blocks``.

    Raises
    ------
    FeatureError
        `weights` and `blocks` are of different numbers of encoders, or one is named twice.

    Examples
    --------
    >>> encoders({"weights": "whisper-tiny.en + whisper-base", "blocks": "1 2 3 + 2 3"})[1]
    Encoder(weights='whisper-base', blocks='2 3')
    """
    weights, blocks = str(parameters["weights"]), str(parameters["blocks"])
    sources, chosen = weights.split(SEPARATOR), blocks.split(SEPARATOR)
    if len(sources) != len(chosen):
        raise FeatureError(
            f"encoder.blocks={blocks!r} is not possible: weights={weights!r} names {len(sources)} encoder(s), "
            f'give blocks for each, with "{SEPARATOR}" between'
        )
    if len({Path(source).name for source in sources}) < len(sources):
        raise FeatureError(f"encoder.weights={weights!r} is not possible: name each encoder once")
    return tuple(Encoder(*one) for one in zip(sources, chosen, strict=True))


def names(name: str, *, weights: Value, blocks: Value, pooling: Value) -> tuple[str, ...]:
    """Return the names of the features: for each encoder and block the means, then the standard deviations.

    Parameters
    ----------
    name : str
        Feature set.
    weights, blocks, pooling : str
        Its parameters.

    Raises
    ------
    FeatureError
        The encoder has no such block, or `weights` and `blocks` are of different numbers of encoders.
    ModelError
        The width of the encoder is unknown without its weights, and they are not found.

    Examples
    --------
    >>> names("whisper-tiny.en", weights="whisper-tiny.en", blocks="1 3", pooling="mean")[383:385]
    ('whisper-tiny.en_b1_mean_383', 'whisper-tiny.en_b3_mean_000')
    """
    parts = encoders({"weights": weights, "blocks": blocks})
    stems = [name if len(parts) == 1 else Path(one.weights).name for one in parts]
    return tuple(
        chain.from_iterable(_names(name, stem, one, str(pooling)) for stem, one in zip(stems, parts, strict=True))
    )


def _names(name: str, stem: str, encoder: Encoder, pooling: str) -> tuple[str, ...]:
    """Return the names of the features of one encoder."""
    source, blocks = encoder
    chosen = _numbers(name, blocks)
    width, available = _sizes(name, source)
    if chosen[-1] > available:
        raise FeatureError(f"{name}.blocks={blocks!r} is not possible: {source} has the blocks 1 to {available}")
    return _numbered(stem, chosen, pooling, width)


@lru_cache(maxsize=256)
def _numbered(stem: str, blocks: tuple[int, ...], pooling: str, width: int) -> tuple[str, ...]:
    """Put the names together, once: each clip of a training asks for all of them."""
    digits = len(str(width - 1))
    return tuple(
        f"{stem}_b{block}_{part}_{index:0{digits}d}"
        for block in blocks
        for part in pooling.split("-")
        for index in range(width)
    )


def compute(name: str, samples: Float32Array, *, weights: Value, blocks: Value, pooling: Value) -> Float32Array:
    """Compute the features of a waveform that is already preprocessed, on one thread.

    Parameters
    ----------
    name : str
        Feature set.
    samples : ndarray of float32, shape (n_samples,)
        The waveform at 16 kHz.
    weights, blocks, pooling : str
        Parameters of the set.

    Returns
    -------
    ndarray of float32, shape (n_features,)

    Raises
    ------
    ModelError
        The weights are not found or invalid.
    MissingExtraError
        torch is not installed.
    """
    encoder = embedder(name, str(weights), str(blocks), str(pooling))
    import torch

    from emovox.lab.threads import single_thread

    with single_thread(), torch.inference_mode():
        clip = torch.from_numpy(padded(samples))
        result: Float32Array = encoder(clip.unsqueeze(0)).squeeze(0).numpy()
    return result


def embedder(name: str, weights: str, blocks: str, pooling: str) -> Embedder | JoinedEmbedder:
    """Load the encoders of a set, once per process.

    Raises
    ------
    ModelError
        The weights are not found, invalid, or not those of this set.
    MissingExtraError
        torch is not installed.
    """
    return _load(name, weights, blocks, pooling, digest(weights))


@lru_cache(maxsize=2)
def _load(name: str, weights: str, blocks: str, pooling: str, identity: str) -> Embedder | JoinedEmbedder:
    """Load encoders; `identity` is part of the cache key, because weights may be replaced."""
    parts = [_load_one(name, one, pooling) for one in encoders({"weights": weights, "blocks": blocks})]
    if len(parts) == 1:
        return parts[0]
    from emovox.lab.encoders.embedders import JoinedEmbedder

    return JoinedEmbedder(parts).eval()


def _load_one(name: str, encoder: Encoder, pooling: str) -> Embedder:
    found = find(encoder.weights)
    if name in KNOWN and (width := found.number("d_model")) != KNOWN[name][0]:
        raise ModelError(
            f"{found.folder} holds an encoder of width {width}, feature set {name!r} has {KNOWN[name][0]}: "
            'give other weights, or use set = "encoder"'
        )
    try:
        from emovox.lab.encoders.embedders import Embedder
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"computing {name} features", "train") from error
    return Embedder.load(found, _numbers(name, encoder.blocks), pooling)


def digest(weights: str) -> str:
    """Return a digest of weights.

    Raises
    ------
    ModelError
        The weights are not found.
    """
    return "+".join(find(source).digest for source in weights.split(SEPARATOR))


def _numbers(name: str, blocks: str) -> tuple[int, ...]:
    """Parse the parameter `blocks`."""
    numbers = tuple(int(word) for word in blocks.split())
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise FeatureError(f"{name}.blocks={blocks!r} is not possible: name each block once, in rising order")
    return numbers


def _sizes(name: str, weights: str) -> tuple[int, int]:
    """Return width and number of blocks of an encoder, from its weights only if they are unknown."""
    known = name if name in KNOWN else weights.removeprefix("openai/")
    if known in KNOWN and not (name not in KNOWN and Path(weights).is_dir()):
        return KNOWN[known]
    found = find(weights)
    if found.kind == "whisper":
        return found.number("d_model"), found.number("encoder_layers")
    return found.number("hidden_size"), found.number("num_hidden_layers")


def _feature_set(name: str, preset: Preset) -> FeatureSet:
    """Return the feature set of a preset."""
    return FeatureSet(
        name,
        1,
        "clip",
        preset.description,
        partial(names, name),
        partial(compute, name),
        {
            "weights": Parameter(
                preset.weights,
                pattern=".+",
                form='a folder, or a name on the Hugging Face hub; several with " + " between',
            ),
            "blocks": Parameter(
                preset.blocks,
                pattern=r"[1-9]\d?( (\+ )?[1-9]\d?)*",
                form='block numbers with spaces between; " + " between those of several encoders',
            ),
            "pooling": Parameter("mean-sd", choices=POOLINGS),
        },
        digest=digest,
    )


for _name, _preset in PRESETS.items():
    sets.register(_feature_set(_name, _preset))
