"""Published splits, for comparison with published scores."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from emovox.errors import ProtocolError
from emovox.lab.corpora.groups import known_speakers
from emovox.lab.corpora.protocol import Fold, Protocol, verify
from emovox.lab.corpora.table import strings

#: Test actors of the six EmoBox folds on RAVDESS speech.  Provenance: Ma et al. (2024), EmoBox, arXiv 2406.07162,
#: counted from the benchmark's published fold files.
EMOBOX_RAVDESS: tuple[tuple[int, ...], ...] = (
    (1, 11, 20, 21),
    (4, 10, 12, 14),
    (8, 9, 19, 23),
    (3, 5, 7, 24),
    (2, 15, 16, 18),
    (6, 13, 17, 22),
)

#: Test actors of CREMA-D in TensorFlow Datasets; of the others 63 are for training and 9 for validation.  Provenance:
#: its builder ``crema_d``, which shuffles the 91 actors with seed 0 and cuts them at 70 and 80 percent.
TFDS_TEST = (
    *(1010, 1013, 1022, 1026, 1037, 1038, 1040, 1045, 1047, 1048),
    *(1059, 1065, 1066, 1068, 1071, 1073, 1084, 1086, 1088),
)
#: Clips that TensorFlow Datasets excludes; early releases name the first ...SAD_X.
_TFDS_WITHOUT = ("1040_ITH_SAD_XX", "1040_ITH_SAD_X", "1006_TIE_NEU_XX", "1013_WSI_DIS_XX", "1017_IWW_FEA_XX")


def emobox(table: pd.DataFrame) -> Protocol:
    """Build the six folds of the EmoBox benchmark on RAVDESS speech, each testing four actors.

    Parameters
    ----------
    table : DataFrame
        RAVDESS speech, all 24 actors.  Other corpora are added to the training part of every fold, except clips of the
        actors that the fold tests (RAVDESS song), and never tested.

    Returns
    -------
    Protocol
        ``"emobox"``: six folds, each clip of RAVDESS speech tested once.

    Raises
    ------
    ProtocolError
        The table has no RAVDESS speech or not all of its actors, or a clip has no speaker.
    """
    fold_of = {f"ravdess/{actor:02d}": fold for fold, actors in enumerate(EMOBOX_RAVDESS) for actor in actors}
    corpora = strings(table, "corpus")
    tested = corpora == "ravdess"
    if not tested.any():
        raise ProtocolError(
            f"protocol 'emobox' is defined on RAVDESS speech, and the clips are from "
            f"{', '.join(np.unique(corpora).tolist())}: add the corpus ravdess, or use 'speaker' or 'cross-corpus'"
        )
    known_speakers(table)
    speakers = strings(table, "speaker")
    _require_all("emobox", "actors of RAVDESS", set(fold_of), set(speakers[tested].tolist()))
    voice = np.array([fold_of.get(speaker, -1) for speaker in speakers.tolist()])
    note = (
        "Speaker-independent: the six EmoBox folds of RAVDESS speech (arXiv 2406.07162), "
        "each testing four actors that its model never heard."
    )
    if not tested.all():
        note += f" Only trained on, never tested: {', '.join(np.unique(corpora[~tested]).tolist())}."
    protocol = Protocol(
        name="emobox",
        folds=tuple(
            Fold(f"fold {number + 1}", np.flatnonzero(voice != number), np.flatnonzero(tested & (voice == number)))
            for number in range(len(EMOBOX_RAVDESS))
        ),
        speaker_independent=True,
        text_independent=False,
        note=note,
        clips=np.arange(len(table)),
        tests_each_once=True,
        trained_only=np.flatnonzero(~tested),
    )
    return verify(protocol, table)


def tfds(table: pd.DataFrame) -> Protocol:
    """Split CREMA-D by speaker as TensorFlow Datasets does.

    Parameters
    ----------
    table : DataFrame
        CREMA-D, all 91 actors, and nothing else.

    Returns
    -------
    Protocol
        ``"tfds"``: one fold that trains on 72 actors and tests 19.  The nine validation actors of TensorFlow Datasets
        are used for training, because early stopping holds out speakers of its own.  Four clips that TensorFlow
        Datasets excludes are not used.

    Raises
    ------
    ProtocolError
        The table has other clips, or lacks an actor.
    """
    corpora = np.unique(strings(table, "corpus")).tolist()
    if corpora != ["crema-d"]:
        raise ProtocolError(
            f"protocol 'tfds' is defined on CREMA-D alone, and the clips are from {', '.join(corpora)}: use 'speaker'"
        )
    speakers = strings(table, "speaker")
    everyone = {f"crema-d/{actor}" for actor in range(1001, 1092)}
    _require_all("tfds", "actors of CREMA-D", everyone, set(speakers.tolist()))
    stems = [PurePosixPath(file).stem.upper() for file in table.index.get_level_values("file")]
    used = ~np.isin(stems, _TFDS_WITHOUT)
    tested = np.isin(speakers, [f"crema-d/{actor}" for actor in TFDS_TEST])
    protocol = Protocol(
        name="tfds",
        folds=(Fold("split", np.flatnonzero(used & ~tested), np.flatnonzero(used & tested)),),
        speaker_independent=True,
        text_independent=False,
        note="Speaker-independent: CREMA-D as TensorFlow Datasets divides it, 19 actors tested by a model that "
        "never heard them; its validation actors are trained on.",
        clips=np.flatnonzero(used),
        tests_each_once=False,
    )
    return verify(protocol, table)


def _require_all(protocol: str, what: str, wanted: set[str], found: set[str]) -> None:
    """Raise if a speaker is missing or unexpected."""
    strange, missing = sorted(found - wanted), sorted(wanted - found)
    if strange:
        raise ProtocolError(
            f"protocol {protocol!r}: {strange[0]!r} is not one of the {len(wanted)} {what}: use 'speaker'"
        )
    if missing:
        raise ProtocolError(
            f"protocol {protocol!r} needs all {len(wanted)} {what}, and {len(missing)} are missing, the first is "
            f"{missing[0]!r}: complete the corpus, or use 'speaker'"
        )
