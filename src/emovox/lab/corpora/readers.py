"""Readers of RAVDESS, TESS, nEMO and of folders named after labels: from file names to the corpus table.

Every reader accepts the folder at any level of the official archives and any audio format, and skips duplicates of a
clip (copies on Kaggle contain everything twice); `Corpus.skipped` reports what it skips.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from pathlib import Path, PurePosixPath

from emovox.errors import CorpusError, did_you_mean
from emovox.lab.corpora.files import Notes, audio_files, distinct, no_recordings
from emovox.lab.corpora.table import Clip, Corpus, Provenance, from_clips, skipped
from emovox.labels import canonical

RAVDESS = Provenance(
    licence="CC BY-NC-SA 4.0",
    citation=(
        "Livingstone SR, Russo FA (2018). The Ryerson Audio-Visual Database of Emotional Speech and Song "
        "(RAVDESS). PLoS ONE 13(5): e0196391"
    ),
    url="https://doi.org/10.5281/zenodo.1188976",
)
TESS = Provenance(
    licence="CC BY-NC-ND 4.0",
    citation="Pichora-Fuller MK, Dupuis K (2020). Toronto emotional speech set (TESS). Borealis, V1",
    url="https://doi.org/10.5683/SP2/E8H2MF",
)
NEMO = Provenance(
    licence="CC BY-NC-SA 4.0",
    citation="Christop I (2024). nEMO: Dataset of Emotional Speech in Polish. LREC-COLING 2024",
    url="https://huggingface.co/datasets/amu-cai/nEMO",
)

_RAVDESS_NAME = re.compile(
    r"(?P<modality>0[1-3])-(?P<channel>0[12])-(?P<emotion>0[1-8])-(?P<intensity>0[12])-(?P<statement>0[12])"
    r"-(?P<repetition>0[12])-(?P<actor>0[1-9]|1\d|2[0-4])"
)
_RAVDESS_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
_RAVDESS_STATEMENTS = ("Kids are talking by the door", "Dogs are sitting by the door")
#: Kind -> channels (the second number of a file name) and name of the corpus.
_RAVDESS_KINDS = {
    "speech": (("01",), "ravdess"),
    "song": (("02",), "ravdess-song"),
    "both": (("01", "02"), "ravdess-both"),
}


def ravdess(root: Path, kind: str = "speech") -> Corpus:
    """Read RAVDESS from its file names, ``MM-CC-EE-II-SS-RR-AA``.

    Parameters
    ----------
    root : Path
        Folder with the ``Actor_NN`` folders, or any folder above it.
    kind : {"speech", "song", "both"}, default "speech"
        Part to read.  Song has six emotions and no actor 18.  The corpus is named ``"ravdess"``, ``"ravdess-song"`` or
        ``"ravdess-both"``; an actor has the same speaker name in all of them.

    Returns
    -------
    Corpus
        Speakers ``"ravdess/01"`` to ``"ravdess/24"``, odd ones male; intensity ``"normal"`` or ``"strong"``.

    Raises
    ------
    CorpusError
        Unknown kind, or no recording of that kind in the folder.
    """
    if kind not in _RAVDESS_KINDS:
        raise CorpusError(f"unknown kind {kind!r} of RAVDESS: {did_you_mean(kind, _RAVDESS_KINDS)}")
    channels, name = _RAVDESS_KINDS[kind]
    notes: Notes = defaultdict(list)
    files = audio_files(root, notes)
    audio: list[PurePosixPath] = []
    for file in files:
        match = _RAVDESS_NAME.fullmatch(file.stem)
        if match is None:
            notes["not named like RAVDESS"].append(str(file))
        elif match["modality"] != "03":
            notes["video (modality 01 or 02)"].append(str(file))
        elif match["channel"] not in channels:
            notes["song, not speech" if kind == "speech" else "speech, not song"].append(str(file))
        else:
            audio.append(file)
    if not audio:
        what = "RAVDESS audio" if kind == "both" else f"RAVDESS {kind} audio"
        raise no_recordings(root, files, f"{what} (named like 03-{min(channels)}-05-02-01-01-12.wav)")
    clips = [_ravdess_clip(file) for file in distinct(audio, lambda file: file.stem, notes)]
    return Corpus(name, root, RAVDESS, from_clips(clips, name, RAVDESS), skipped(notes))


def _ravdess_clip(file: PurePosixPath) -> Clip:
    """Parse one file name."""
    _, _, emotion, intensity, statement, _, actor = file.stem.split("-")
    return Clip(
        file=str(file),
        label=_RAVDESS_EMOTIONS[int(emotion) - 1],
        speaker=f"ravdess/{actor}",
        sex="male" if int(actor) % 2 else "female",
        text=_RAVDESS_STATEMENTS[int(statement) - 1],
        intensity="normal" if intensity == "01" else "strong",
    )


# One file of the official archive is called OA_bite_neutral, hence the loose prefix.
_TESS_NAME = re.compile(r"(?P<speaker>[OY]A)F?_(?P<word>[^_]+)_(?P<emotion>\w+)", re.IGNORECASE)
_TESS_FOLDER = re.compile(r"(?P<speaker>[OY]AF)(_.*)?", re.IGNORECASE)
_TESS_EMOTIONS = frozenset({"angry", "disgust", "fearful", "happy", "neutral", "sad", "surprised"})


def tess(root: Path) -> Corpus:
    """Read TESS from its file names, ``SPEAKER_word_emotion``.

    Parameters
    ----------
    root : Path
        Folder with the ``OAF_angry`` ... ``YAF_sad`` folders (in any spelling), with all files directly in it, or any
        folder above.

    Returns
    -------
    Corpus
        Speakers ``"tess/OAF"`` (the older woman) and ``"tess/YAF"``; the text is the word that follows "Say
        the word".  The speaker is taken from the folder if its name has one, because one file name is misspelt.

    Raises
    ------
    CorpusError
        No recording of TESS in the folder.
    """
    notes: Notes = defaultdict(list)
    files = audio_files(root, notes)
    clips: dict[PurePosixPath, Clip] = {}
    for file in files:
        clip = _tess_clip(file)
        if clip is None:
            notes["not named like TESS"].append(str(file))
        else:
            clips[file] = clip
    if not clips:
        raise no_recordings(root, files, "TESS (named like OAF_back_angry.wav)")
    kept = distinct(clips, lambda file: (clips[file].speaker, clips[file].text, clips[file].label), notes)
    table = from_clips([clips[file] for file in kept], "tess", TESS)
    return Corpus("tess", root, TESS, table, skipped(notes))


def _tess_clip(file: PurePosixPath) -> Clip | None:
    """Parse one path; None if it is not one of TESS."""
    match = _TESS_NAME.fullmatch(file.stem)
    if match is None or canonical(match["emotion"]) not in _TESS_EMOTIONS:
        return None
    folders = (_TESS_FOLDER.fullmatch(part) for part in reversed(file.parent.parts))
    speaker = next((folder["speaker"] for folder in folders if folder), f"{match['speaker']}F").upper()
    return Clip(
        file=str(file),
        label=canonical(match["emotion"]),
        speaker=f"tess/{speaker}",
        sex="female",
        text=match["word"].lower(),
    )


_NEMO_COLUMNS = frozenset({"file_id", "emotion", "raw_text", "speaker_id", "gender"})


def is_nemo_index(path: Path) -> bool:
    """Return whether a file is the ``data.tsv`` of nEMO."""
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            return set(stream.readline().rstrip("\r\n").split("\t")) >= _NEMO_COLUMNS
    except OSError:
        return False


def nemo(root: Path) -> Corpus:
    """Read nEMO from its ``data.tsv``.

    Parameters
    ----------
    root : Path
        Folder with ``data.tsv`` and, anywhere below, the recordings.  They are matched by name without suffix, so other
        formats than the ``.wav`` of ``data.tsv`` are found too.

    Returns
    -------
    Corpus
        Speakers such as ``"nemo/WR0"``; the text is the transcript.

    Raises
    ------
    CorpusError
        ``data.tsv`` is missing or has other columns, or none of its recordings is found.
    """
    notes: Notes = defaultdict(list)
    files = audio_files(root, notes)
    index = root / "data.tsv"
    if not index.is_file():
        raise CorpusError(f"no data.tsv in {str(root)!r}: give nEMO's own folder, the one with data.tsv in it")
    if not is_nemo_index(index):
        raise CorpusError(f"{str(index)!r} is not nEMO's: it must have the columns {', '.join(sorted(_NEMO_COLUMNS))}")
    by_stem = {file.stem: file for file in distinct(files, lambda file: file.stem, notes)}
    clips = []
    try:
        with index.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE, restval=""):
                file = by_stem.pop(PurePosixPath(row["file_id"]).stem, None)
                if file is None:
                    notes["listed in data.tsv but not there"].append(row["file_id"])
                else:
                    clips.append(_nemo_clip(file, row))
    except UnicodeDecodeError:
        raise CorpusError(f"{str(index)!r} is not UTF-8 text: take it from the corpus again") from None
    notes["not listed in data.tsv"].extend(str(file) for file in by_stem.values())
    if not clips:
        raise no_recordings(root, files, "listed in its data.tsv")
    return Corpus("nemo", root, NEMO, from_clips(clips, "nemo", NEMO), skipped(notes))


def _nemo_clip(file: PurePosixPath, row: dict[str, str]) -> Clip:
    """Convert one line of data.tsv; its speaker names are padded with blanks."""
    return Clip(
        file=str(file),
        label=canonical(row["emotion"]),
        speaker=f"nemo/{row['speaker_id'].strip()}",
        sex=row["gender"].strip(),
        text=row["raw_text"].strip(),
    )


def kind_of(file: PurePosixPath) -> str | None:
    """Return the registered name of the corpus that a file is named after, RAVDESS or TESS, or None."""
    match = _RAVDESS_NAME.fullmatch(file.stem)
    if match:
        return "ravdess" if match["channel"] == "01" else "ravdess-song"
    return "tess" if _tess_clip(file) else None


def folder(root: Path, name: str = "", licence: str = "") -> Corpus:
    """Read recordings that are sorted into one folder per label.

    Parameters
    ----------
    root : Path
        Contains ``label/recording`` or ``label/speaker/recording``.  Labels are normalised by
        :func:`emovox.labels.canonical` (``Happiness`` becomes ``happy``).
    name : str, default the folder's name
        Name of the corpus.
    licence : str, optional
        Licence of the recordings.

    Returns
    -------
    Corpus
        A clip directly in the folder of its label has no speaker; speaker-independent protocols refuse it.

    Raises
    ------
    CorpusError
        No recordings, or none inside the folder of a label.
    """
    name = name or root.resolve().name
    notes: Notes = defaultdict(list)
    files = audio_files(root, notes)
    clips = []
    for file in files:
        if len(file.parts) == 1:
            notes["not inside a label's folder"].append(str(file))
            continue
        speaker = f"{name}/{file.parts[1]}" if len(file.parts) > 2 else ""
        clips.append(Clip(str(file), canonical(file.parts[0]), speaker))
    if not clips:
        raise no_recordings(root, files, "in a folder that is named after its label")
    provenance = Provenance(licence=licence)
    return Corpus(name, root, provenance, from_clips(clips, name, provenance), skipped(notes))
