"""Readers: from folders to the corpus table, by what the cards say of names and tables.

One reader serves every public corpus.  It accepts the folder at any level of the official archives, in any case and
any audio format, and leaves out second copies of a clip (copies on Kaggle contain everything twice); `Corpus.skipped`
reports what it leaves out and why.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

from emovox.errors import CorpusError, did_you_mean
from emovox.lab.corpora.cards import FIELDS, Card, Listing, card, cards
from emovox.lab.corpora.files import Notes, audio_files, distinct, no_recordings
from emovox.lab.corpora.table import Clip, Corpus, Provenance, from_clips, skipped
from emovox.types import canonical

#: Formats of which the other copy of a clip is preferred.
_LOSSY = frozenset({".mp3", ".ogg", ".opus", ".m4a", ".aac", ".wma"})


def read(corpus: Card, root: Path, kind: str = "") -> Corpus:
    """Read a public corpus.

    Parameters
    ----------
    corpus : Card
        What is known of it.
    root : Path
        Folder with the recordings, or any folder above it.
    kind : str, optional
        Part of the corpus, where its card has several: ``"speech"``, ``"song"`` or ``"both"`` of RAVDESS.

    Returns
    -------
    Corpus
        Speakers are prefixed with the name of the corpus.

    Raises
    ------
    CorpusError
        Unknown kind, no recording of the corpus, or a table of the corpus that cannot be read.
    """
    if kind:
        kinds = corpus.reader.kinds
        if kind not in kinds:
            raise CorpusError(f"unknown kind {kind!r} of {_short(corpus)}: {did_you_mean(kind, kinds)}")
        corpus = card(kinds[kind])
    notes: Notes = defaultdict(list)
    files = audio_files(root, notes)
    listing = corpus.reader.listing
    clips = _listed(corpus, listing, root, files, notes) if listing else _named(corpus, root, files, notes)
    return Corpus(
        corpus.name, root, corpus.provenance, from_clips(clips, corpus.name, corpus.provenance), skipped(notes)
    )


def _short(corpus: Card) -> str:
    """Return how messages call a corpus: the first word of its example."""
    return corpus.reader.example.split(" ")[0]


# --- by name


def kind_of(file: PurePosixPath) -> str | None:
    """Return the name of the corpus that a recording is named after, or None.

    Examples
    --------
    >>> kind_of(PurePosixPath("wav/03a01Fa.wav")), kind_of(PurePosixPath("take 1.wav"))
    ('emodb', None)
    """
    for name, one in cards().items():
        if one.reader.detect and groups(one, file) is not None and not _left_out(one, file):
            return name
    return None


def groups(corpus: Card, file: PurePosixPath) -> dict[str, str] | None:
    """Return what a recording's name tells, in lower case, with its ``stem``; None if it is not named like the corpus.

    Examples
    --------
    >>> groups(card("emodb"), PurePosixPath("03a01Fa.wav"))
    {'speaker': '03', 'text': 'a01', 'label': 'f', 'stem': '03a01fa'}
    """
    path = str(file.with_suffix(""))
    for expression in corpus.reader.expressions:
        match = expression.fullmatch(path)
        if match:
            return {name: (value or "").lower() for name, value in match.groupdict().items()} | {
                "stem": file.stem.lower()
            }
    return None


def key(corpus: Card, file: PurePosixPath) -> str:
    """Return what identifies a clip in the index of a corpus, in any folder and format; its path if nothing does.

    Examples
    --------
    >>> key(card("savee"), PurePosixPath("AudioData/DC/a01.wav")), key(card("savee"), PurePosixPath("ALL/DC_a01.flac"))
    ('dc a01', 'dc a01')
    """
    if listing := corpus.reader.listing:
        return _key_in(next((name for name in listing.folders.values() if name in file.parts), ""), file)
    found = groups(corpus, file)
    return corpus.reader.key.format_map(found) if found else str(file)


def _key_in(folder: str, file: PurePosixPath) -> str:
    """Return the key of a clip that a table lists, with the folder below which it lies where names repeat."""
    return f"{folder} {file.stem.lower()}".lstrip()


def _left_out(corpus: Card, file: PurePosixPath) -> str:
    """Return why a recording of the corpus is not read, empty if it is."""
    path = str(file.with_suffix(""))
    return next((reason for pattern, reason in corpus.reader.left_out if pattern.fullmatch(path)), "")


def _named(corpus: Card, root: Path, files: list[PurePosixPath], notes: Notes) -> list[Clip]:
    """Read the recordings that are named like those of the corpus."""
    kept: dict[PurePosixPath, dict[str, str]] = {}
    for file in files:
        found = groups(corpus, file)
        if found is None:
            notes[_stranger(corpus, file)].append(str(file))
        elif reason := _left_out(corpus, file):
            notes[reason].append(str(file))
        else:
            kept[file] = found
    if not kept:
        raise no_recordings(root, files, corpus.reader.example)
    ordered = sorted(kept, key=lambda file: file.suffix.lower() in _LOSSY)
    return [_clip(corpus, file, kept[file]) for file in distinct(ordered, lambda file: key(corpus, file), notes)]


def _stranger(corpus: Card, file: PurePosixPath) -> str:
    """Return why a recording is none of the corpus: it is of another one, or of none."""
    other = kind_of(file)
    return f"named like another corpus, {other}" if other else f"not named like {_short(corpus)}"


def _clip(corpus: Card, file: PurePosixPath, found: Mapping[str, str], split: str | None = None) -> Clip:
    """Make the row of a recording from what its name or its row in a table tells."""
    reader = corpus.reader
    values = {field: reader.forms.get(field, "{" + field + "}") for field in FIELDS}
    raw = {field: form.format_map(defaultdict(str, found)) for field, form in values.items()}
    if not raw["sex"]:
        raw["sex"] = raw["speaker"] if reader.sex else ""
    told = {field: _translated(raw[field], getattr(reader, field)) for field in FIELDS}
    if reader.sex and told["sex"] not in ("female", "male"):
        told["sex"] = ""
    speaker = told["speaker"].strip()
    return Clip(
        file=str(file),
        label=canonical(told["label"]),
        speaker=f"{corpus.speakers_of or corpus.name}/{speaker}" if speaker else "",
        sex=told["sex"].strip(),
        text=told["text"].strip(),
        intensity=told["intensity"],
        split=split,
    )


def _translated(value: str, table: Mapping[str, str]) -> str:
    """Look a value up: as a text, then as what an expression matches; itself if nothing does."""
    if value.lower() in table:
        return table[value.lower()]
    return next((new for old, new in table.items() if re.fullmatch(old, value, re.IGNORECASE)), value)


# --- by table


def index_of(root: Path, corpus: Card) -> list[Path]:
    """Return the tables below a folder that list the recordings of a corpus; none if one is missing or not its own."""
    listing = corpus.reader.listing
    if listing is None:
        return []
    found = [_find(root, name) for name in listing.tables]
    there = [path for path in found if path is not None and _lacking(path, listing) == []]
    return there if len(there) == len(listing.tables) else []


def _find(root: Path, name: str) -> Path | None:
    """Return the least nested file of a name."""
    if (root / name).is_file():
        return root / name
    return min(root.rglob(name), key=lambda path: (len(path.parts), path), default=None)


def _needed(listing: Listing) -> set[str]:
    """Return the columns that a table must have; where a second table may hold some, those of `file` and `label`."""
    forms = listing.columns.values() if not listing.join else (listing.columns["file"], listing.columns["label"])
    return {column for form in forms for column in re.findall(r"{(\w+)}", form)}


def _lacking(path: Path, listing: Listing) -> list[str]:
    """Return the columns that a table lacks."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            header = next(csv.reader(stream, delimiter=listing.separator), [])
    except (OSError, csv.Error):
        header = []
    return sorted(_needed(listing) - set(header))


def _listed(corpus: Card, listing: Listing, root: Path, files: list[PurePosixPath], notes: Notes) -> list[Clip]:
    """Read the recordings that the tables of the corpus list, matched by name without suffix."""
    by_key = {key(corpus, file): file for file in distinct(files, lambda file: key(corpus, file), notes)}
    clips = []
    for table, name, found in _entries(corpus, listing, root):
        file = by_key.pop(name, None)
        if file is None:
            notes[f"listed in {table} but not there"].append(found["file"])
        else:
            clips.append(_clip(corpus, file, found, listing.splits.get(table) if listing.splits else None))
    tables = " or ".join(listing.tables)
    notes[f"not listed in {tables}"].extend(str(file) for file in by_key.values())
    if not clips:
        raise no_recordings(root, files, f"listed in its {tables}")
    return clips


def listed(corpus: Card, root: Path) -> list[str]:
    """Return the keys of all clips that the tables of a copy list, whether they are there or not."""
    listing = corpus.reader.listing
    return [name for _, name, _ in _entries(corpus, listing, root)] if listing else []


def _entries(corpus: Card, listing: Listing, root: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield what the tables of a corpus list: the table, the clip's key and its fields."""
    for table in listing.tables:
        path = _find(root, table)
        if path is None:
            raise CorpusError(
                f"no {table} in {str(root)!r}: give {_short(corpus)}'s own folder, the one with {table} in it"
            )
        for row in _rows(path, corpus, listing, root):
            found = {field: form.format_map(defaultdict(str, row)) for field, form in listing.columns.items()}
            yield table, _key_in(listing.folders.get(table, ""), PurePosixPath(found["file"])), found


def _rows(path: Path, corpus: Card, listing: Listing, root: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a table, each with that of the second table where there is one."""
    if _lacking(path, listing):
        needed = ", ".join(sorted(_needed(listing)))
        raise CorpusError(f"{str(path)!r} is not {_short(corpus)}'s: it must have the columns {needed}")
    join = listing.join
    second = _find(root, join["table"]) if join else None
    others = {row[join["key"]]: row for row in _plain(second, listing)} if second else {}
    for row in _plain(path, listing):
        yield row | others.get(row[join["on"]], {}) if join else row


def _plain(path: Path, listing: Listing) -> list[dict[str, str]]:
    """Read a table."""
    plain = listing.separator == "\t"
    quoting: Literal[0, 3] = csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return list(csv.DictReader(stream, delimiter=listing.separator, quoting=quoting, restval=""))
    except UnicodeDecodeError:
        raise CorpusError(f"{str(path)!r} is not UTF-8 text: take it from the corpus again") from None


# --- recordings of one's own


def folder(root: Path, name: str = "", licence: str = "") -> Corpus:
    """Read recordings that are sorted into one folder per label.

    Parameters
    ----------
    root : Path
        Contains ``label/recording`` or ``label/speaker/recording``.  Labels are normalised by
        :func:`emovox.types.canonical` (``Happiness`` becomes ``happy``).
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
