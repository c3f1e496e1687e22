"""Words and idioms that carry an emotion: reading a text word by word and finding them in it.

The lexicon is our own, ``lexicon.toml`` in this folder: English, eight classes, three degrees.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from emovox.labels import COMMON


def vocabulary(words: str) -> frozenset[str]:
    """Make a set of the words of a line.

    Examples
    --------
    >>> "no" in vocabulary("yes no")
    True
    """
    return frozenset(words.split())


#: What an entry of each degree counts.
DEGREES = {"strong": 1.0, "medium": 0.6, "weak": 0.25}

NEGATORS = frozenset(
    {"not", "no", "never", "nobody", "none", "nothing", "neither", "nor", "without", "hardly", "barely"}
)
INTENSIFIERS = vocabulary(
    "very so really extremely absolutely totally completely incredibly terribly awfully such too utterly deeply truly "
    "quite especially entirely super insanely seriously way much most"
)
DIMINISHERS = vocabulary("slightly somewhat little bit kinda sorta fairly rather mildly almost partly")

#: How many words a negation or an intensifier reaches ahead.
REACH = 3
_MORE, _LESS = 1.4, 0.6

#: Where a word that is denied goes: "not happy" is rather sad than anything else.
_DENIED: Mapping[str, Mapping[str, float]] = {
    "happy": {"sad": 0.5, "angry": 0.3},
    "sad": {"calm": 0.3, "neutral": 0.2},
    "angry": {"calm": 0.5},
    "fearful": {"calm": 0.5},
    "disgust": {"neutral": 0.3},
    "surprised": {"neutral": 0.5},
    "calm": {"fearful": 0.3, "angry": 0.3},
    "neutral": {"neutral": 1.0},
}

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[.!?]+|[,;:]|-{2,}|…")
_FULL = {"can't": "can not", "cannot": "can not", "won't": "will not", "shan't": "shall not", "let's": "let us"}
_FULL |= {"gonna": "going to", "wanna": "want to", "gotta": "got to", "ok": "okay", "ain't": "is not", "mum": "mom"}
_ENDINGS = {"n't": " not", "'re": " are", "'m": " am", "'ve": " have", "'ll": " will", "'d": " would"}
#: Words after which 's is a verb; after others it marks the owner.
_IS = vocabulary("it that what there here he she who where how everything something someone nothing this why when")
#: Stands for the ``*`` of an entry while it is read.
_ANY = "anyword"
#: Words that only look inflected.
_WHOLE = frozenset(
    {"news", "always", "thing", "things", "us", "is", "was", "this", "does", "has", "his", "her", "number"}
)


@dataclass(frozen=True)
class Text:
    """A text, read.

    Attributes
    ----------
    words : tuple of str
        Lower case, contractions written out.
    sentences, clauses : tuple of int
        Number of the sentence and of the clause that each word is in.
    ends : tuple of str
        How each sentence ends: ``"."``, ``"?"``, ``"!"``, or ``""`` for a text that breaks off.
    """

    words: tuple[str, ...]
    sentences: tuple[int, ...]
    clauses: tuple[int, ...]
    ends: tuple[str, ...]

    def sentence(self, number: int) -> tuple[str, ...]:
        """Words of one sentence."""
        return tuple(word for word, at in zip(self.words, self.sentences, strict=True) if at == number)


@dataclass(frozen=True)
class Cue:
    """A word or idiom of the lexicon that was found.

    Attributes
    ----------
    words : tuple of str
        As they stand in the text.
    start : int
        Index of the first one.
    weights : mapping of str to float
        Emotion to weight, intensifiers and negation taken into account.
    negated : bool
        It is denied: the weights are those of what is left.
    """

    words: tuple[str, ...]
    start: int
    weights: Mapping[str, float]
    negated: bool

    @property
    def emotion(self) -> str:
        """The emotion it speaks most for."""
        return max(self.weights, key=lambda label: self.weights[label])


def read(text: str) -> Text:
    """Cut a text into words, clauses and sentences.

    Examples
    --------
    >>> read("I can't believe it's over!").words
    ('i', 'can', 'not', 'believe', 'it', 'is', 'over')
    """
    words: list[str] = []
    sentences: list[int] = []
    clauses: list[int] = []
    ends: list[str] = []
    clause = 0
    for token in _WORD.findall(text.lower().replace("’", "'").replace("`", "'")):
        if token[0] in ".!?…":
            clause += 1
            if len(ends) < (sentences[-1] + 1 if sentences else 0):
                ends.append("?" if "?" in token else "!" if "!" in token else ".")
        elif token[0] in ",;:-":
            clause += 1
        else:
            written_out = _written_out(token)
            words += written_out
            sentences += [len(ends)] * len(written_out)
            clauses += [clause] * len(written_out)
    if sentences and len(ends) <= sentences[-1]:
        ends.append("")
    return Text(tuple(words), tuple(sentences), tuple(clauses), tuple(ends))


def find(text: Text) -> list[Cue]:
    """Find the lexicon's words and idioms, the longest first, none within another.

    Parameters
    ----------
    text : Text
        What :func:`read` gave.

    Returns
    -------
    list of Cue
        In order.

    Examples
    --------
    >>> [(cue.words, cue.emotion, cue.negated) for cue in find(read("We are over the moon, and not sad."))]
    [(('over', 'the', 'moon'), 'happy', False), (('sad',), 'calm', True)]
    """
    return list(_cues(text))


@lru_cache(maxsize=1)
def entries() -> Mapping[tuple[str, ...], Mapping[str, float]]:
    """Return the lexicon: words of an entry to weights by emotion.

    Examples
    --------
    >>> len(entries()) > 1000, dict(entries()[("heartbroken",)])
    (True, {'sad': 1.0})
    """
    content = tomllib.loads((resources.files("emovox.text") / "lexicon.toml").read_text(encoding="utf-8"))
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for label, degrees in content.items():
        assert label in COMMON, label
        for degree, text in degrees.items():
            for entry in text.split(","):
                words = tuple("*" if word == _ANY else word for word in read(entry.replace("*", _ANY)).words)
                weights = found.setdefault(words, {})
                weights[label] = max(DEGREES[degree], weights.get(label, 0.0))
    found.pop((), None)
    return found


@lru_cache(maxsize=4096)
def forms(word: str) -> tuple[str, ...]:
    """List what a word may be an inflection of, itself first.

    Examples
    --------
    >>> forms("crying"), "stop" in forms("stopped"), "happy" in forms("happier")
    (('crying', 'cry', 'crye'), True, True)
    """
    if word in _WHOLE:
        return (word,)
    found = [word]
    for ending, replacements in (
        ("ies", ("y",)),
        ("es", ("", "e")),
        ("s", ("",)),
        ("ied", ("y",)),
        ("ed", ("", "e")),
        ("ing", ("", "e")),
        ("ier", ("y",)),
        ("iest", ("y",)),
        ("er", ("", "e")),
        ("est", ("", "e")),
        ("ily", ("y",)),
        ("ly", ("",)),
    ):
        stem = word.removesuffix(ending)
        if stem == word or len(stem) < 3 or (ending == "s" and stem.endswith("s")):
            continue
        found += [stem + replacement for replacement in replacements]
        if len(stem) > 3 and stem[-1] == stem[-2]:
            found.append(stem[:-1])
    return tuple(dict.fromkeys(found))


def _written_out(token: str) -> list[str]:
    """Write out a contraction, and drop the mark of an owner."""
    if token in _FULL:
        return _FULL[token].split()
    for ending, full in _ENDINGS.items():
        if token.endswith(ending):
            return (token.removesuffix(ending) + full).split()
    if token.endswith("'s"):
        owner = token.removesuffix("'s")
        return [owner, "is"] if owner in _IS else [owner]
    return [token]


@lru_cache(maxsize=1)
def _by_first_word() -> Mapping[str, tuple[tuple[str, ...], ...]]:
    index: dict[str, list[tuple[str, ...]]] = {}
    for entry in entries():
        index.setdefault(entry[0], []).append(entry)
    return {first: tuple(sorted(found, key=len, reverse=True)) for first, found in index.items()}


def _cues(text: Text) -> Iterator[Cue]:
    position = 0
    consumed: set[int] = set()
    while position < len(text.words):
        entry = _longest(text, position)
        if entry is None:
            position += 1
            continue
        consumed.update(range(position, position + len(entry)))
        yield _cue(text, position, entry, consumed)
        position += len(entry)


def _longest(text: Text, start: int) -> tuple[str, ...] | None:
    """Find the longest entry that begins at a word; of equal ones, that with the least inflected first word."""
    best: tuple[str, ...] | None = None
    for form in forms(text.words[start]):
        for entry in _by_first_word().get(form, ()):
            if (best is None or len(entry) > len(best)) and _fits(text, start, entry):
                best = entry
    return best


def _fits(text: Text, start: int, entry: tuple[str, ...]) -> bool:
    stop = start + len(entry)
    if stop > len(text.words) or text.sentences[start] != text.sentences[stop - 1]:
        return False
    return all(
        wanted in ("*", word) or wanted in forms(word)
        for wanted, word in zip(entry, text.words[start:stop], strict=True)
    )


def _cue(text: Text, start: int, entry: tuple[str, ...], consumed: set[int]) -> Cue:
    """Weigh an entry by the words before it."""
    before = [
        text.words[index]
        for index in range(max(0, start - REACH), start)
        if text.clauses[index] == text.clauses[start] and index not in consumed
    ]
    factor = 1.0
    for word in before[-2:]:
        factor *= _MORE if word in INTENSIFIERS else _LESS if word in DIMINISHERS else 1.0
    # "never been so happy" denies nothing, nor does "not only".
    praise = "only" in before or ("never" in before and ({"so", "such", "more"} & set(before)))
    negated = bool(NEGATORS & set(before)) and not praise
    weights = dict(entries()[entry])
    if negated:
        denied: dict[str, float] = {}
        for label, weight in weights.items():
            for other, share in _DENIED[label].items():
                denied[other] = denied.get(other, 0.0) + share * weight
        weights, factor = denied, 1.0
    shown = text.words[start : start + len(entry)]
    return Cue(shown, start, {label: factor * weight for label, weight in weights.items()}, negated)
