"""Feature cache on disk.

The key of an entry is a digest of the content of the audio file, start and end, the feature specification, the
pretrained weights and the source code that computes features: a change of any of them gives a new key, so entries are
never stale.  Entries are written under a temporary name and renamed, so several processes can share a folder.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from emovox import audio
from emovox.errors import EmovoxError
from emovox.features.sets import extract, weights_digest
from emovox.storage import cache_folder, file_digest, replacing
from emovox.types import FeatureSpec, Float32Array, Waveform

#: Packages whose source code may affect features.
SOURCES = (
    "audio",
    "features",
    "lab/augmentation",
    "lab/encoders",
)


@lru_cache(maxsize=1)
def code_version() -> str:
    """Return a digest of the source code that computes features.

    Examples
    --------
    >>> len(code_version())
    16
    """
    package = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for entry in SOURCES:
        path = package / entry
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            # The syntax tree instead of the text: comments and line breaks do not affect features.
            digest.update(f"{file.name}\0{ast.dump(ast.parse(file.read_bytes()))}".encode())
    return digest.hexdigest()[:16]


class FeatureCache:
    """A folder of feature arrays.

    Parameters
    ----------
    folder : Path, optional
        Cache folder; the default is :func:`emovox.storage.cache_folder`.

    Examples
    --------
    >>> import tempfile
    >>> cache = FeatureCache(Path(tempfile.mkdtemp()))
    >>> cache.load("0" * 64) is None
    True
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder()

    def features(self, path: Path, spec: FeatureSpec, start: float = 0.0, end: float = np.inf) -> Float32Array:
        """Return the features of a recording or a part of it, from the cache or computed and stored.

        Parameters
        ----------
        path : Path
            Audio file.
        spec : FeatureSpec
            Features to compute.
        start, end : float
            Start and end in seconds; infinity is the end of the recording.

        Returns
        -------
        ndarray of float32
            Result of `emovox.features.sets.extract`.

        Raises
        ------
        AudioError
            The recording cannot be read, is too short or silent.
        """
        (found,) = self.features_of(path, spec, [(start, end)])
        if isinstance(found, EmovoxError):
            raise found
        return found

    def features_of(
        self, path: Path, spec: FeatureSpec, spans: Sequence[tuple[float, float]]
    ) -> list[Float32Array | EmovoxError]:
        """Return the features of many stretches of a recording, which is decoded once and not as a whole.

        Parameters
        ----------
        path : Path
            Audio file.
        spec : FeatureSpec
            What to compute.
        spans : sequence of (float, float)
            Start and end of each stretch, in seconds.

        Returns
        -------
        list of ndarray or EmovoxError
            For each stretch what :meth:`features` returns or raises.
        """
        try:
            keys = [self.key(path, spec, start, end) for start, end in spans]
        except EmovoxError as error:
            return [error] * len(spans)
        results: list[Float32Array | EmovoxError | None] = [self.load(key) for key in keys]
        missing = [number for number, found in enumerate(results) if found is None]
        for number, sound in audio.stretches(path, [spans[one] for one in missing]) if missing else ():
            results[missing[number]] = found = self._computed(sound, path, spec)
            if not isinstance(found, EmovoxError):
                self.store(keys[missing[number]], found)
        return [found for found in results if found is not None]

    def _computed(self, sound: Waveform | EmovoxError, path: Path, spec: FeatureSpec) -> Float32Array | EmovoxError:
        """Compute the features of one stretch."""
        if isinstance(sound, EmovoxError):
            return sound
        try:
            return extract(audio.require_signal(sound, str(path)), spec)
        except EmovoxError as error:
            return error

    def key(self, path: Path, spec: FeatureSpec, start: float, end: float, *more: object) -> str:
        """Return a digest of everything that the features depend on, and of additional values."""
        parts = [dataclasses.asdict(spec), float(start), float(end), code_version(), weights_digest(spec), *more]
        what = json.dumps(parts, sort_keys=True, default=str)
        digest = hashlib.sha256(what.encode())
        try:
            digest.update(file_digest(path).encode())
        except OSError:
            # Opening it through emovox.audio gives the appropriate error.
            audio.duration(path)
            raise
        return digest.hexdigest()

    def load(self, key: str) -> Float32Array | None:
        """Return an entry, or None if it does not exist or is damaged."""
        try:
            with self._path(key).open("rb") as file:
                return np.asarray(np.load(file, allow_pickle=False), dtype=np.float32)
        except (OSError, ValueError, EOFError):
            return None

    def store(self, key: str, features: Float32Array) -> None:
        """Write an entry atomically."""
        advice = "it is an entry of the feature cache, set EMOVOX_CACHE to a folder that can be written"
        with replacing(self._path(key), unique=True, advice=advice) as part, part.open("wb") as file:
            np.save(file, features, allow_pickle=False)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npy"
