"""Reader of CREMA-D: 91 North American actors, licensed for commercial use."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from emovox.errors import CorpusError
from emovox.lab.corpora.files import Notes, audio_files, distinct, no_recordings
from emovox.lab.corpora.table import Clip, Corpus, Provenance, from_clips, skipped
from emovox.labels import canonical

PROVENANCE = Provenance(
    licence="ODbL 1.0 + DbCL 1.0",
    citation=(
        "Cao H, Cooper DG, Keutmann MK, Gur RC, Nenkova A, Verma R (2014). CREMA-D: Crowd-sourced Emotional "
        "Multimodal Actors Dataset. IEEE Transactions on Affective Computing 5(4): 377-390"
    ),
    url="https://github.com/CheyneyComputerScience/CREMA-D",
)

#: Sentences by their code in the file names.
SENTENCES = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}

#: The women among the actors 1001 to 1091, from the authors' VideoDemographics.csv, which audio-only copies lack.
WOMEN = frozenset(
    (
        *(1002, 1003, 1004, 1006, 1007, 1008, 1009, 1010, 1012, 1013, 1018, 1020, 1021, 1024, 1025, 1028, 1029, 1030),
        *(1037, 1043, 1046, 1047, 1049, 1052, 1053, 1054, 1055, 1056, 1058, 1060, 1061, 1063, 1072, 1073, 1074, 1075),
        *(1076, 1078, 1079, 1082, 1084, 1089, 1091),
    )
)

# The early releases call one file 1040_ITH_SAD_X.
_NAME = re.compile(
    rf"(?P<actor>10(?:0[1-9]|[1-8]\d|9[01]))_(?P<sentence>{'|'.join(SENTENCES)})"
    r"_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_(?P<level>LO|MD|HI|XX?)",
    re.IGNORECASE,
)
_LEVELS = {"LO": "low", "MD": "medium", "HI": "high"}
_SILENT = ("1076", "MTI", "SAD", "X")
_DEMOGRAPHICS = "VideoDemographics.csv"


def crema_d(root: Path) -> Corpus:
    """Read CREMA-D from its file names, ``ACTOR_SENTENCE_EMOTION_LEVEL``.

    Parameters
    ----------
    root : Path
        Folder with the recordings (``AudioWAV``), or any folder above it.  The sex of the actors is read from the
        authors' ``VideoDemographics.csv`` if it is in one of these folders or beside them.

    Returns
    -------
    Corpus
        Speakers ``"crema-d/1001"`` to ``"crema-d/1091"``; the text is the sentence; the intensity is ``"low"``,
        ``"medium"``, ``"high"``, or ``""`` if unspecified.  ``1076_MTI_SAD_XX``, which is silent, is skipped.  Of a
        clip in two formats the MP3 is skipped, because some of these are damaged.

    Raises
    ------
    CorpusError
        No recording of CREMA-D in the folder, or the table of the actors cannot be read.
    """
    notes: Notes = defaultdict(list)
    files = audio_files(root, notes)
    named: list[PurePosixPath] = []
    for file in files:
        if not matches(file):
            notes["not named like CREMA-D"].append(str(file))
        elif _key(file) == _SILENT:
            notes["known to be silent"].append(str(file))
        else:
            named.append(file)
    if not named:
        raise no_recordings(root, files, "CREMA-D (named like 1001_DFA_ANG_XX.wav)")
    named.sort(key=lambda file: file.suffix.lower() == ".mp3")
    sexes = _sexes(root, named)
    clips = [_clip(file, sexes) for file in distinct(named, _key, notes)]
    return Corpus("crema-d", root, PROVENANCE, from_clips(clips, "crema-d", PROVENANCE), skipped(notes))


def matches(file: PurePosixPath) -> bool:
    """Return whether a recording is named like those of CREMA-D."""
    return _NAME.fullmatch(file.stem) is not None


def _key(file: PurePosixPath) -> tuple[str, ...]:
    """Return actor, sentence, emotion and level, normalised: the key by which duplicates are found."""
    actor, sentence, emotion, level = file.stem.upper().split("_")
    return actor, sentence, emotion, level.replace("XX", "X")


def _clip(file: PurePosixPath, sexes: Mapping[int, str]) -> Clip:
    """Parse one file name."""
    actor, sentence, emotion, level = _key(file)
    return Clip(
        file=str(file),
        label=canonical(emotion),
        speaker=f"crema-d/{actor}",
        sex=sexes.get(int(actor), ""),
        text=SENTENCES[sentence],
        intensity=_LEVELS.get(level, ""),
    )


def _sexes(root: Path, files: Iterable[PurePosixPath]) -> dict[int, str]:
    """Return the sex of each actor, from the authors' table if it is there."""
    folders = {root / parent for file in files for parent in file.parents} | {root.resolve().parent}
    tables = sorted(folder / _DEMOGRAPHICS for folder in folders if (folder / _DEMOGRAPHICS).is_file())
    if not tables:
        return {actor: "female" if actor in WOMEN else "male" for actor in range(1001, 1092)}
    try:
        with tables[0].open(encoding="utf-8-sig", newline="") as stream:
            given = {int(row["ActorID"]): row["Sex"].strip().lower() for row in csv.DictReader(stream)}
    except (OSError, UnicodeDecodeError, KeyError, ValueError, TypeError, AttributeError, csv.Error):
        raise CorpusError(
            f"cannot read {str(tables[0])!r} as CREMA-D's table of actors: it must have the columns ActorID and Sex; "
            "take it from the corpus again, or remove it"
        ) from None
    return {actor: sex for actor, sex in given.items() if sex in ("female", "male")}
