"""Corpora by name: load one, detect the corpus in a folder, check it against the published numbers."""

from __future__ import annotations

import difflib
import inspect
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from emovox.errors import CorpusError, did_you_mean
from emovox.lab.corpora import ased, crema_d, emodb, emospeech, librispeech, readers
from emovox.lab.corpora.files import audio_files
from emovox.lab.corpora.manifest import SUFFIXES, manifest
from emovox.lab.corpora.table import Corpus, Provenance


@dataclass(frozen=True)
class Entry:
    """Metadata of a corpus: title, reader, licence and published numbers.

    Attributes
    ----------
    title : str
        One line, for lists.
    read : callable
        The reader: takes a path and options, returns a `Corpus`.
    provenance : Provenance
        Licence, citation and address.
    clips, speakers : int
        Published numbers, without clips that the reader skips as damaged; 0 for the user's own recordings.
    labels : mapping of str to int
        Published number of clips of each label.
    per_speaker : int
        Published number of clips of each speaker; 0 if it differs between speakers.
    """

    title: str
    read: Callable[..., Corpus]
    provenance: Provenance = field(default_factory=Provenance)
    clips: int = 0
    speakers: int = 0
    labels: Mapping[str, int] = field(default_factory=dict)
    per_speaker: int = 0


def _song(root: Path) -> Corpus:
    """Read the song part of RAVDESS."""
    return readers.ravdess(root, "song")


#: All corpora with a reader.
CORPORA: dict[str, Entry] = {
    "ravdess": Entry(
        title="RAVDESS speech: 24 North American actors, 8 emotions, 2 sentences",
        read=readers.ravdess,
        provenance=readers.RAVDESS,
        clips=1440,
        speakers=24,
        labels={"neutral": 96}
        | dict.fromkeys(("calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"), 192),
        per_speaker=60,
    ),
    "ravdess-song": Entry(
        title="RAVDESS song: 23 North American actors, 6 emotions, 2 sentences",
        read=_song,
        provenance=readers.RAVDESS,
        clips=1012,
        speakers=23,
        labels={"neutral": 92} | dict.fromkeys(("calm", "happy", "sad", "angry", "fearful"), 184),
        per_speaker=44,
    ),
    "tess": Entry(
        title="TESS: 2 Canadian women, 7 emotions, 200 words",
        read=readers.tess,
        provenance=readers.TESS,
        clips=2800,
        speakers=2,
        labels=dict.fromkeys(("neutral", "happy", "sad", "angry", "fearful", "disgust", "surprised"), 400),
        per_speaker=1400,
    ),
    "nemo": Entry(
        title="nEMO: 9 Polish actors, 6 emotions, 90 sentences",
        read=readers.nemo,
        provenance=readers.NEMO,
        clips=4481,
        speakers=9,
        labels={"neutral": 809, "happy": 749, "sad": 769, "angry": 749, "fearful": 736, "surprised": 669},
    ),
    "crema-d": Entry(
        title="CREMA-D: 91 North American actors, 6 emotions, 12 sentences; commercial use allowed",
        read=crema_d.crema_d,
        provenance=crema_d.PROVENANCE,
        clips=7441,  # and a silent one
        speakers=91,
        labels={"neutral": 1087, "sad": 1270} | dict.fromkeys(("happy", "angry", "fearful", "disgust"), 1271),
    ),
    "emodb": Entry(
        title="EmoDB: 10 German actors, 7 emotions with boredom, 10 sentences; commercial use allowed",
        read=emodb.emodb,
        provenance=emodb.PROVENANCE,
        clips=535,
        speakers=10,
        labels={"neutral": 79, "happy": 71, "sad": 62, "angry": 127, "fearful": 69, "disgust": 46, "boredom": 81},
    ),
    "ased": Entry(
        title="ASED: 65 speakers of Amharic, 5 emotions, ordinary rooms; no licence is stated",
        read=ased.ased,
        provenance=ased.PROVENANCE,
        clips=2474,
        speakers=65,
        labels={"neutral": 522, "fearful": 510, "happy": 486, "sad": 470, "angry": 486},
    ),
    "emospeech": Entry(
        title="EmoSpeech: 6 command words in India by phone and browser, 4 emotions as the speakers say",
        read=emospeech.emospeech,
        provenance=emospeech.PROVENANCE,
    ),
    "librispeech": Entry(
        title="LibriSpeech: read English without emotion labels",
        read=librispeech.librispeech,
        provenance=librispeech.PROVENANCE,
    ),
    "folder": Entry(title="your own recordings: a folder for each label", read=readers.folder),
    "manifest": Entry(title="your own recordings: a CSV, TSV or Parquet table", read=manifest),
}


def load(name_or_path: str | Path, root: Path | None = None, **options: Any) -> Corpus:
    """Load a corpus.

    Parameters
    ----------
    name_or_path : str or Path
        A name of :data:`CORPORA` with the folder in `root`; a folder or manifest, whose corpus is detected by
        :func:`detect`; or any other name, with a folder of labels or a manifest in `root`.
    root : Path, optional
        Folder or manifest of the corpus.
    **options
        Passed to the reader: ``kind`` of RAVDESS; ``name`` and ``licence`` of a folder or manifest.

    Returns
    -------
    Corpus
        The corpus, its table validated.

    Raises
    ------
    CorpusError
        Unknown name or option, or the reader cannot read `root`.
    """
    name = str(name_or_path)
    if root is None:
        if name in CORPORA:
            raise CorpusError(f"corpus {name!r} needs its folder: give it as {name}=DIR")
        root = Path(name_or_path)
        name = detect(root)
    elif name not in CORPORA:
        if difflib.get_close_matches(name, CORPORA, n=1, cutoff=0.8):
            raise CorpusError(f"unknown corpus {name!r}: {did_you_mean(name, CORPORA)}")
        options = {"name": name, **options}
        name = "manifest" if root.is_file() else "folder"
    reader = CORPORA[name].read
    known = list(inspect.signature(reader).parameters)[1:]
    for option in options:
        if option not in known:
            remedy = did_you_mean(option, known) if known else "it has none"
            raise CorpusError(f"corpus {name!r} has no option {option!r}: {remedy}")
    return reader(Path(root), **options)


def detect(root: Path) -> str:
    """Detect which corpus is at a path.

    Parameters
    ----------
    root : Path
        A folder or a manifest.

    Returns
    -------
    str
        A name of :data:`CORPORA`: the corpus that most recordings are named after.

    Raises
    ------
    CorpusError
        No reader can read `root`.
    """
    if root.is_file():
        if root.suffix.lower() not in SUFFIXES:
            raise CorpusError(f"{str(root)!r} is not a corpus: give a folder or a {', '.join(SUFFIXES)} manifest")
        return "manifest"
    if readers.is_nemo_index(root / "data.tsv"):
        return "nemo"
    files = audio_files(root, defaultdict(list))  # raises if it is not a folder
    kinds = Counter(kind for kind in map(_kind_of, files) if kind)
    if kinds:
        return kinds.most_common(1)[0][0]
    raise CorpusError(
        f"nothing in {str(root)!r} is a corpus: give a folder with a folder for each label, or a manifest"
    )


def find(root: Path) -> list[tuple[str, Path]]:
    """Find the corpora at a path and below it.

    Parameters
    ----------
    root : Path
        A folder or a manifest.

    Returns
    -------
    list of (str, Path)
        Names of :data:`CORPORA` and where each lies: `root` itself, as :func:`detect` says, unless recordings of
        several corpora lie below it; then the folder nearest to the recordings of each.  Recordings in such a folder
        that are named after none are of none.

    Raises
    ------
    CorpusError
        No reader can read `root`.
    """
    if root.is_file() or readers.is_nemo_index(root / "data.tsv"):
        return [(detect(root), root)]
    found: dict[str, list[PurePosixPath]] = {}
    indexed = [PurePosixPath(index.parent.relative_to(root)) for index in sorted(root.rglob("data.tsv"))]
    indexed = [folder for folder in indexed if readers.is_nemo_index(root / folder / "data.tsv")]
    for file in audio_files(root, defaultdict(list)):
        if any(file.is_relative_to(folder) for folder in indexed):
            continue
        kind = _kind_of(file)
        if kind and kind != "folder":
            found.setdefault(kind, []).append(file)
    places = [(kind, _common_folder(files)) for kind, files in found.items()]
    places += [("nemo", folder) for folder in indexed]
    if not indexed and len({folder for _, folder in places}) <= 1:
        return [(detect(root), root)]
    return [(kind, root / folder) for kind, folder in sorted(places, key=lambda one: (str(one[1]), one[0]))]


def strangers(root: Path, places: Sequence[Path]) -> list[tuple[str, int]]:
    """Count the recordings below a folder that lie in none of the corpora found there, by folder or file in it."""
    inside = [PurePosixPath(place.relative_to(root)) for place in places]
    others = (file for file in audio_files(root, defaultdict(list)) if not any(map(file.is_relative_to, inside)))
    return Counter(file.parts[0] for file in others).most_common()


def _common_folder(files: list[PurePosixPath]) -> PurePosixPath:
    """Return the deepest folder that holds all files."""
    folders = [file.parent.parts for file in files]
    shared = (
        level[0] for level in itertools.takewhile(lambda level: len(set(level)) == 1, zip(*folders, strict=False))
    )
    return PurePosixPath(*shared)


def _kind_of(file: PurePosixPath) -> str | None:
    """Return the name of the corpus that a recording is named after, or None."""
    if crema_d.matches(file):
        return "crema-d"
    for name, module in (("emodb", emodb), ("ased", ased), ("emospeech", emospeech), ("librispeech", librispeech)):
        if module.matches(file):
            return name
    return readers.kind_of(file) or ("folder" if len(file.parts) > 1 else None)


def check(corpus: Corpus) -> list[str]:
    """Check a corpus against its published numbers of clips, speakers and labels.

    Parameters
    ----------
    corpus : Corpus
        As loaded.

    Returns
    -------
    list of str
        One sentence per deviation: missing or surplus clips, speakers and labels; empty if there is none.  For skipped
        files see `Corpus.skipped`.
    """
    table = corpus.table
    counts, speakers = table["label"].value_counts(), table["speaker"].value_counts()
    entry = CORPORA.get(corpus.name)
    findings = []
    if entry is None or not entry.clips:
        unknown = int((table["speaker"] == "").sum())
        if unknown:
            findings.append(f"{unknown} of {len(table)} clips have no speaker: protocols that hold out speakers fail")
        findings += [f"label {label!r} has only 1 clip" for label in sorted(counts.index[counts == 1])]
        return findings
    if len(table) != entry.clips:
        findings.append(f"{len(table)} clips, {entry.clips} were published")
    if len(speakers) != entry.speakers:
        findings.append(f"{len(speakers)} speakers, {entry.speakers} were published")
    for label in sorted({*counts.index, *entry.labels}):
        found, published = int(counts.get(label, 0)), entry.labels.get(label, 0)
        if found != published:
            findings.append(f"label {label!r}: {found} clips, {published} were published")
    if entry.per_speaker:
        findings += [
            f"speaker {speaker!r}: {count} clips, {entry.per_speaker} were published"
            for speaker, count in sorted(speakers.items())
            if count != entry.per_speaker
        ]
    return findings
