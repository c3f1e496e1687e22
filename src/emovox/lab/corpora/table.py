"""The corpus table: one row per clip, indexed by (file, start, end), the same for every corpus.

Index
    ``file`` : str, relative to the folder of the corpus, with forward slashes, so that results do not depend on where
    the corpus is stored (`Corpus.path` returns the full path); ``start``, ``end`` : float, seconds.  A whole file has
    ``start = 0`` and ``end = inf``: unlike NaN, infinity equals itself, so joins on the index work.
Columns, all str, empty where unknown
    ``speaker`` (prefixed with the corpus, ``"ravdess/01"``), ``sex`` (``"female"``, ``"male"`` or ``""``),
    ``text`` (transcript), ``intensity``, ``label``, ``licence``, ``corpus``, and ``split`` (``"train"``,
    ``"valid"``, ``"test"`` or ``""``) where a manifest gives one, followed by the further columns of a manifest.
Texts are compared as a reader sees them (:func:`emovox.types.as_seen`); speakers that differ in upper and lower case
only are one speaker, under the spelling that comes first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emovox.errors import CorpusError
from emovox.types import as_seen

#: Row numbers of a table.
Positions = NDArray[np.intp]
#: A column of the table, or a selection of it.
StringArray = NDArray[np.str_]

#: Names of the index levels.
INDEX = ("file", "start", "end")
#: Columns that every table has.
COLUMNS = ("speaker", "sex", "text", "intensity", "label", "licence", "corpus")
#: Allowed values of the columns that are categorical.
CATEGORIES: dict[str, tuple[str, ...]] = {
    "sex": ("female", "male", ""),
    "split": ("train", "valid", "test", ""),
}
#: Names that a further column of a manifest cannot have.
RESERVED = (*INDEX, *COLUMNS, "split", "content", "sound")


@dataclass(frozen=True)
class Provenance:
    """Licence, citation and address of a corpus."""

    licence: str = ""
    citation: str = ""
    url: str = ""


@dataclass(frozen=True)
class Clip:
    """One row of the table, as returned by a reader; the module describes the fields.

    `more` holds further columns, the same in every clip of a corpus.
    """

    file: str
    label: str
    speaker: str = ""
    sex: str = ""
    text: str = ""
    intensity: str = ""
    start: float = 0.0
    end: float = math.inf
    split: str | None = None
    more: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Skipped:
    """Files that a reader skipped, and the reason.

    Examples
    --------
    >>> str(Skipped("empty (0 bytes)", ("a.wav", "b.wav", "c.wav", "d.wav")))
    'skipped 4 files, empty (0 bytes): a.wav, b.wav, c.wav, ...'
    """

    reason: str
    files: tuple[str, ...]

    def __str__(self) -> str:
        examples = ", ".join(self.files[:3]) + (", ..." if len(self.files) > 3 else "")
        return f"skipped {len(self.files)} file{'s' * (len(self.files) != 1)}, {self.reason}: {examples}"


@dataclass(frozen=True, eq=False)
class Corpus:
    """A corpus on this machine: table, folder, licence and citation.

    Attributes
    ----------
    name : str
        Short name, unique among the corpora that are used together.
    root : Path
        Folder to which the files of the table are relative.
    provenance : Provenance
        Licence, citation and address.
    table : DataFrame
        One row per clip, see `emovox.lab.corpora.table`.
    skipped : tuple of Skipped
        Files that the reader skipped, by reason.
    notes : tuple of str
        What else the reader has to say, a sentence each: columns that it took for others, for one.

    Raises
    ------
    CorpusError
        The table is not a corpus table.
    """

    name: str
    root: Path
    provenance: Provenance
    table: pd.DataFrame
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        validate(self.table, self.name)

    @property
    def licence(self) -> str:
        """Licence of the recordings, ``""`` if unknown."""
        return self.provenance.licence

    @property
    def citation(self) -> str:
        """The publication to cite."""
        return self.provenance.citation

    @property
    def url(self) -> str:
        """Address of the corpus."""
        return self.provenance.url

    def path(self, file: str) -> Path:
        """Return the full path of a file of the table."""
        return self.root / file

    def paths(self) -> list[Path]:
        """Return the full path of every row, in the order of the table."""
        return [self.path(file) for file in self.table.index.get_level_values("file")]


def from_clips(clips: Sequence[Clip], corpus: str, provenance: Provenance) -> pd.DataFrame:
    """Build the table of one corpus.

    Parameters
    ----------
    clips : sequence of Clip
        In any order; the table is sorted by file, start and end.
    corpus : str
        Name of the corpus.
    provenance : Provenance
        Its licence is written into every row.

    Returns
    -------
    DataFrame
        One row per clip.

    Examples
    --------
    >>> table = from_clips([Clip("a.wav", "happy", speaker="demo/1")], "demo", Provenance("CC0"))
    >>> table.index.tolist(), table["label"].tolist()
    ([('a.wav', 0.0, inf)], ['happy'])
    """
    clips = sorted(clips, key=lambda clip: (clip.file, clip.start, clip.end))
    index = pd.MultiIndex.from_arrays(
        [
            pd.Index([clip.file for clip in clips], dtype="str"),
            pd.Index([clip.start for clip in clips], dtype="float64"),
            pd.Index([clip.end for clip in clips], dtype="float64"),
        ],
        names=list(INDEX),
    )
    columns = {
        "speaker": _one_spelling([as_seen(clip.speaker) for clip in clips]),
        "sex": [clip.sex for clip in clips],
        "text": [as_seen(clip.text) for clip in clips],
        "intensity": [clip.intensity for clip in clips],
        "label": [clip.label for clip in clips],
        "licence": [provenance.licence] * len(clips),
        "corpus": [corpus] * len(clips),
    }
    if any(clip.split is not None for clip in clips):
        columns["split"] = [clip.split or "" for clip in clips]
    for name in clips[0].more if clips else ():
        columns[name] = [clip.more.get(name, "") for clip in clips]
    return pd.DataFrame(columns, index=index, dtype="str")


def _one_spelling(names: Sequence[str]) -> list[str]:
    """Give names that differ in upper and lower case only the spelling that comes first in the alphabet."""
    spelling: dict[str, str] = {}
    for name in sorted(set(names)):
        spelling.setdefault(name.casefold(), name)
    return [spelling[name.casefold()] for name in names]


def spelt_alike(speakers: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the speakers that are one speaker in the table because they differ in upper and lower case only.

    Examples
    --------
    >>> spelt_alike(["Ann", "bob", "ann"])
    [('Ann', 'ann')]
    """
    spellings: dict[str, set[str]] = {}
    for name in map(as_seen, speakers):
        spellings.setdefault(name.casefold(), set()).add(name)
    return [tuple(sorted(one)) for one in spellings.values() if len(one) > 1]


def validate(table: pd.DataFrame, name: str) -> None:
    """Check that a table is a corpus table.

    Parameters
    ----------
    table : DataFrame
        Table to check.
    name : str
        Name of the corpus, for messages.

    Raises
    ------
    CorpusError
        The table is empty, or has another index or a missing column; a clip is duplicated, has no label, or ends before
        it starts; or a column holds other values than str, or a value outside its categories.
    """
    if len(table) == 0:
        raise CorpusError(f"corpus {name!r} has no clips: give the folder or manifest that has the recordings")
    _validate_index(table, name)
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise CorpusError(f"the table of corpus {name!r} lacks {', '.join(missing)}: make it with from_clips")
    for column in table.columns:
        if table[column].isna().any() or not pd.api.types.is_string_dtype(table[column]):
            raise CorpusError(f"column {column!r} of corpus {name!r} must hold text, empty where unknown")
    for column, allowed in CATEGORIES.items():
        wrong = sorted(set(table.get(column, default=())) - set(allowed))
        if wrong:
            choice = ", ".join(value for value in allowed if value)
            raise CorpusError(f"{column} {wrong[0]!r} in corpus {name!r}: expected {choice} or nothing")
    unlabelled = table.index[table["label"].str.strip() == ""]
    if len(unlabelled):
        raise CorpusError(
            f"{len(unlabelled)} clips of corpus {name!r} have no label, the first is {unlabelled[0][0]!r}: "
            "label them or leave them out"
        )


def _validate_index(table: pd.DataFrame, name: str) -> None:
    """Check the index of a table."""
    if tuple(table.index.names) != INDEX:
        raise CorpusError(f"the table of corpus {name!r} must be keyed by ({', '.join(INDEX)})")
    start = table.index.get_level_values("start").to_numpy(dtype=float)
    end = table.index.get_level_values("end").to_numpy(dtype=float)
    wrong = ~((start >= 0) & (start < end))  # NaN compares false, so it is wrong too
    if wrong.any():
        file, first, last = table.index[int(wrong.argmax())]
        raise CorpusError(
            f"{file!r} in corpus {name!r} goes from {first} s to {last} s: start must be 0 or later and before end"
        )
    twice = table.index.duplicated()
    if twice.any():
        file, first, last = table.index[int(twice.argmax())]
        raise CorpusError(
            f"{file!r} from {first} s to {last} s is in corpus {name!r} twice: every clip must be there once"
        )


def combine(corpora: Sequence[Corpus]) -> pd.DataFrame:
    """Concatenate the tables of several corpora.

    Parameters
    ----------
    corpora : sequence of Corpus
        At least one, with different names.

    Returns
    -------
    DataFrame
        The rows of all tables, in the order given, so that ``[path for c in corpora for path in c.paths()]``
        is the file of each row.  Files are prefixed with the name of the corpus (``"tess/OAF_angry/..."``).

    Raises
    ------
    CorpusError
        No corpus is given, or two have the same name.
    """
    names = [corpus.name for corpus in corpora]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise CorpusError(f"two corpora are named {twice[0]!r}: load one of them under another name")
    if not corpora:
        raise CorpusError("no corpus given: name at least one")
    frames = []
    for corpus in corpora:
        table = corpus.table.reset_index()
        table["file"] = corpus.name + "/" + table["file"]
        frames.append(table.set_index(list(INDEX)))
    result = pd.concat(frames)
    for column in result.columns.difference(list(COLUMNS)):  # those that only some of the corpora have
        result[column] = result[column].fillna("")
    validate(result, "+".join(names))
    return result


def strings(table: pd.DataFrame, column: str) -> StringArray:
    """Return a column of the table as an array of str, shape (n_clips,)."""
    return table[column].to_numpy(dtype=str)


def sentences(table: pd.DataFrame) -> StringArray:
    """Return the text of each clip, in one case and form so that equal sentences compare equal."""
    return np.array([as_seen(text).casefold() for text in table["text"]], dtype=str)


def skipped(reasons: Mapping[str, Sequence[str]]) -> tuple[Skipped, ...]:
    """Convert the files that a reader skipped, by reason; reasons without files are dropped."""
    return tuple(Skipped(reason, tuple(files)) for reason, files in reasons.items() if files)
