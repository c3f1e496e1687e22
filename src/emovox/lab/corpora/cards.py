"""What is known of each public corpus: one card, a TOML file in ``cards/``, says everything.

A card holds names, licence, numbers, remotes, how the recordings are named, known faults and published splits; what is
not known is left out, and what could not be tried says so.  A mistake in a card is an error when the cards are loaded.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache, cached_property
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from emovox.errors import CorpusError, did_you_mean
from emovox.lab.corpora.table import Provenance

#: What a recording's name or row tells of it.
FIELDS = ("label", "speaker", "sex", "text", "intensity")


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]


class _Part(BaseModel):
    """A part of a card: unknown keys are refused, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Remote(_Part):
    """One file to download.

    Attributes
    ----------
    url : str
        Address; redirects are followed.
    file : str
        Name under which it is stored.
    bytes : int, optional
        Size; 0 if unknown.
    md5, sha256 : str
        Checksums, empty if unknown.
    unpack : bool
        Whether it is an archive.
    source : str
        Where size and checksums come from.
    """

    url: str
    file: str
    bytes: int = 0
    md5: str = ""
    sha256: str = ""
    unpack: bool = True
    source: str = ""

    @property
    def checked(self) -> bool:
        """Whether a checksum is known."""
        return bool(self.md5 or self.sha256)


class Fault(_Part):
    """Recordings that are known to be damaged, silent, misnamed or there twice."""

    files: tuple[str, ...]
    what: str
    source: str = ""


class Split(_Part):
    """A published split of the corpus, and whether it leaks.

    Attributes
    ----------
    name : str
        Benchmark or paper.
    speakers_shared : bool
        Whether speakers are on both sides.
    text : str
        What was counted, and in which files.
    """

    name: str
    speakers_shared: bool
    text: str
    source: str = ""


class LeaveOut(_Part):
    """Recordings of the corpus that are not read, and why."""

    pattern: Pattern
    reason: str


class Listing(_Part):
    """How a table of the corpus lists its recordings.

    Attributes
    ----------
    tables : tuple of str
        Names of the files, the same columns in each.
    separator : str
        Between the cells; with tabs, quotes are ordinary characters.
    columns : mapping
        Field to a form of columns, such as ``"dia{Dialogue_ID}_utt{Utterance_ID}"``; ``file`` is the recording's name.
    splits, folders : mapping
        From a table to the part of the corpus, and to the folder below which its recordings lie, if names repeat.
    join : mapping
        ``table``, ``on`` and ``key``: a second table whose row is added where its column `key` equals our column `on`.
    """

    tables: tuple[str, ...]
    separator: str = ","
    columns: Mapping[str, str]
    splits: Mapping[str, str] = {}
    folders: Mapping[str, str] = {}
    join: Mapping[str, str] = {}


class Naming(_Part):
    """How the recordings are named: what finds them and what their names tell.

    Attributes
    ----------
    example : str
        Corpus and one name, for messages.
    patterns : tuple of str
        Regular expressions for the end of a path without its suffix, in any case; the first that matches counts.
        Groups called like a field (`FIELDS`) are that field.
    label, speaker, sex, text, intensity : mapping
        From what a group holds (a text, or an expression for the whole of it) to the value of the field; a sex that no
        group holds is looked up by speaker.
    forms : mapping
        Fields that are made of several groups: ``text = "{label}-{text}"``.
    key : str
        Form of what identifies a clip; the default is the name without suffix.
    leave_out : tuple of LeaveOut
        Recordings of the corpus that are not read.
    detect : bool
        Whether the names are told apart from those of every other corpus; False where others share the scheme.
    kinds : mapping
        Values of the option ``kind``, and the cards they stand for.
    """

    example: str
    patterns: tuple[Pattern, ...] = ()
    label: Mapping[str, str] = {}
    speaker: Mapping[str, str] = {}
    sex: Mapping[str, str] = {}
    text: Mapping[str, str] = {}
    intensity: Mapping[str, str] = {}
    forms: Mapping[str, str] = {}
    key: str = "{stem}"
    leave_out: tuple[LeaveOut, ...] = ()
    detect: bool = True
    kinds: Mapping[str, str] = {}
    listing: Listing | None = None

    @cached_property
    def expressions(self) -> tuple[re.Pattern[str], ...]:
        """The patterns, compiled for the end of a path."""
        return tuple(re.compile(f"(?:.*/)?(?:{one})", re.IGNORECASE) for one in self.patterns)

    @cached_property
    def left_out(self) -> tuple[tuple[re.Pattern[str], str], ...]:
        """What is left out, compiled, and why."""
        return tuple((re.compile(f"(?:.*/)?(?:{one.pattern})", re.IGNORECASE), one.reason) for one in self.leave_out)


class Card(_Part):
    """Everything that is known of a corpus.

    Attributes
    ----------
    name : str
        Name on the command line and in tables.
    title : str
        One line, for lists.
    languages : tuple of str
        ISO 639-1 codes.
    style : {"acted", "elicited", "natural", "read", "none"}
        How the emotions came about.
    licence : str
        As its authors state it; what is known if they do not.
    use : {"any", "non-commercial", "research", "unstated"}
        Who may use it.
    access : {"direct", "form", "page"}
        Whether it can be downloaded, after filling in a form, or by hand from a page.
    how : str
        Instructions for what cannot be downloaded.
    clips, speakers, per_speaker : int
        Published numbers, without clips that the reader leaves out; 0 where unknown or different between speakers.
    labels : mapping of str to int
        Published number of clips of each label; empty where unknown.
    tested : {"recordings", "names"}
        Whether the reader was tested on the real recordings, or on trees that are named like them.
    index : str
        What the per-file index was made from, and compared with; empty where there is none yet (``emovox data verify
        --record``).
    names, absent : tuple of str
        Names of all recordings by the published scheme, where no copy was at hand to list them, and those of them that
        do not exist: paths without suffix; ``{a,b}`` stands for each in turn, ``{01..12}`` for each number.
    """

    name: str
    title: str
    languages: tuple[str, ...]
    style: Literal["acted", "elicited", "natural", "read", "none"]
    licence: str
    use: Literal["any", "non-commercial", "research", "unstated"]
    access: Literal["direct", "form", "page"]
    how: str = ""
    citation: str
    url: str
    clips: int = 0
    speakers: int = 0
    per_speaker: int = 0
    labels: Mapping[str, int] = {}
    speakers_of: str = ""
    tested: Literal["recordings", "names"] = "names"
    index: str = ""
    names: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    remotes: tuple[Remote, ...] = ()
    faults: tuple[Fault, ...] = ()
    splits: tuple[Split, ...] = ()
    reader: Naming = Field(default=...)

    @model_validator(mode="after")
    def _consistent(self) -> Card:
        if self.labels and sum(self.labels.values()) != self.clips:
            raise ValueError(f"the labels add up to {sum(self.labels.values())}, not to {self.clips} clips")
        if self.per_speaker and self.per_speaker * self.speakers != self.clips:
            raise ValueError("clips of each speaker times speakers is not the number of clips")
        if self.access == "direct" and not self.remotes:
            raise ValueError("a corpus with direct access has remotes")
        if self.access != "direct" and not self.how:
            raise ValueError("a corpus that cannot be downloaded says how to get it")
        return self

    @property
    def provenance(self) -> Provenance:
        """Licence, citation and address."""
        return Provenance(self.licence, self.citation, self.url)

    @property
    def open(self) -> bool:
        """Whether anyone may use it for anything, commerce included."""
        return self.use == "any"

    def summary(self) -> dict[str, Any]:
        """Return what machines may want to know: everything but how the recordings are named."""
        return {**self.model_dump(mode="json", exclude={"reader", "names", "absent"}), "open": self.open}


@cache
def cards() -> dict[str, Card]:
    """Load all cards, by name, in alphabetical order of the names.

    Raises
    ------
    CorpusError
        A card has a mistake.

    Examples
    --------
    >>> cards()["emodb"].speakers
    10
    """
    found = {}
    for file in sorted(resources.files(__package__).joinpath("cards").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            name = file.name.removesuffix(".toml")
            found[name] = _load(name, file.read_text(encoding="utf-8"))
    return found


def _load(name: str, text: str) -> Card:
    """Read one card; the name is that of its file."""
    try:
        return Card(name=name, **tomllib.loads(text))
    except (ValidationError, tomllib.TOMLDecodeError) as error:
        raise CorpusError(f"the card of corpus {name!r} is wrong: {' '.join(str(error).split())}") from error


def card(name: str) -> Card:
    """Return one card.

    Raises
    ------
    CorpusError
        There is no such corpus.

    Examples
    --------
    >>> card("tess").use
    'non-commercial'
    """
    known = cards()
    if name not in known:
        raise CorpusError(f"unknown corpus {name!r}: {did_you_mean(name, known)}")
    return known[name]
