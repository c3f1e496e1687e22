"""Features of many recordings at once, on all cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from joblib import Parallel, delayed

from emovox.errors import EmovoxError
from emovox.features.cache import FeatureCache
from emovox.features.sets import weights_digest
from emovox.types import FeatureSpec, Float

#: Clips a process takes at a time: some tenths of a second of work.
BATCH = 32

Stretch = tuple[Path, float, float]


def extract_many(
    stretches: Sequence[Stretch],
    spec: FeatureSpec,
    cache: FeatureCache,
    jobs: int = -1,
    tell: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> list[Float | str]:
    """Compute the features of many stretches of recordings.

    Parameters
    ----------
    stretches : sequence of (Path, float, float)
        File, start and end in seconds; an infinite end is the recording's own.
    spec : FeatureSpec
        What to compute.
    cache : FeatureCache
        Where features are kept.
    jobs : int, default -1
        Processes; -1 is one a core.
    tell : callable, optional
        Called with ("features", done, total).

    Returns
    -------
    list of ndarray or str
        One entry a stretch: its features, or one line that says why it has none.

    Raises
    ------
    ModelError
        The pretrained weights that the features need cannot be found.
    """
    # Weights that cannot be had are one error, not one a clip; and those of the hub are fetched once, here.
    weights_digest(spec)
    batches = [stretches[begin : begin + BATCH] for begin in range(0, len(stretches), BATCH)]
    results: list[Float | str] = []
    for batch in Parallel(n_jobs=jobs, return_as="generator")(delayed(_extract)(one, spec, cache) for one in batches):
        results += batch
        tell("features", len(results), len(stretches))
    return results


def _extract(batch: Sequence[Stretch], spec: FeatureSpec, cache: FeatureCache) -> list[Float | str]:
    """Compute the features of some stretches, in a worker process; a failure is a result too."""
    results: list[Float | str] = []
    for path, start, end in batch:
        try:
            results.append(cache.features(path, spec, start, end))
        except EmovoxError as error:
            results.append(str(error))
    return results
