"""The emotion lexicon: words and idioms that express an emotion, and finding them in a text.

The lexicon is emovox's own, ``lexicon.toml`` beside this module: English, the eight common labels, three degrees.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from emovox.types import COMMON


def word_set(words: str) -> frozenset[str]:
    """Return the words of a line as a set.

    Examples
    --------
    >>> "no" in word_set("yes no")
    True
    """
    return frozenset(words.split())


#: Weight of an entry by its degree.
DEGREES = {"strong": 1.0, "medium": 0.6, "weak": 0.25}

NEGATORS = frozenset(
    {"not", "no", "never", "nobody", "none", "nothing", "neither", "nor", "without", "hardly", "barely"}
)
INTENSIFIERS = word_set(
    "very so really extremely absolutely totally completely incredibly terribly awfully such too utterly deeply truly "
    "quite especially entirely super insanely seriously way much most"
)
DIMINISHERS = word_set("slightly somewhat little bit kinda sorta fairly rather mildly almost partly")

#: Scope of negators, intensifiers and diminishers: so many words after them.
REACH = 3
_MORE, _LESS = 1.4, 0.6

#: Weights of a negated cue, by its emotion: "not happy" speaks for sad rather than for anything else.
_NEGATED: Mapping[str, Mapping[str, float]] = {
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
#: Words after which 's stands for "is"; after others it marks the possessive.
_IS = word_set("it that what there here he she who where how everything something someone nothing this why when")
#: Stands for the ``*`` of an entry while it is read.
_ANY = "anyword"
#: Words that look inflected and are not.
_WHOLE = frozenset(
    {"news", "always", "thing", "things", "us", "is", "was", "this", "does", "has", "his", "her", "number"}
)


@dataclass(frozen=True)
class TokenizedText:
    """A text as words, clauses and sentences.

    Attributes
    ----------
    words : tuple of str
        Words in lower case, contractions written out.
    sentences, clauses : tuple of int
        Index of the sentence and of the clause of each word.
    ends : tuple of str
        Punctuation at the end of each sentence: ``"."``, ``"?"``, ``"!"``, or ``""`` for a text that breaks off.
    """

    words: tuple[str, ...]
    sentences: tuple[int, ...]
    clauses: tuple[int, ...]
    ends: tuple[str, ...]

    def sentence(self, number: int) -> tuple[str, ...]:
        """Return the words of one sentence."""
        return tuple(word for word, at in zip(self.words, self.sentences, strict=True) if at == number)


@dataclass(frozen=True)
class Cue:
    """A word or idiom of the lexicon, found in a text.

    Attributes
    ----------
    words : tuple of str
        Its words as they stand in the text.
    start : int
        Index of its first word in the text.
    weights : mapping of str to float
        Weights by emotion, after intensifiers, diminishers and negation.
    negated : bool
        Whether it is negated; the weights are those of the negated cue.
    """

    words: tuple[str, ...]
    start: int
    weights: Mapping[str, float]
    negated: bool

    @property
    def emotion(self) -> str:
        """The emotion with the largest weight."""
        return max(self.weights, key=lambda label: self.weights[label])


def tokenize(text: str) -> TokenizedText:
    """Split a text into words, clauses and sentences.

    Examples
    --------
    >>> tokenize("I can't believe it's over!").words
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
    return TokenizedText(tuple(words), tuple(sentences), tuple(clauses), tuple(ends))


def find_cues(text: TokenizedText) -> list[Cue]:
    """Find words and idioms of the lexicon in a text; the longest match counts, and matches do not overlap.

    Parameters
    ----------
    text : TokenizedText
        From :func:`tokenize`.

    Returns
    -------
    list of Cue
        In the order of the text.

    Examples
    --------
    >>> [(cue.words, cue.emotion, cue.negated) for cue in find_cues(tokenize("We are over the moon, and not sad."))]
    [(('over', 'the', 'moon'), 'happy', False), (('sad',), 'calm', True)]
    """
    return list(_cues(text))


@lru_cache(maxsize=1)
def entries() -> Mapping[tuple[str, ...], Mapping[str, float]]:
    """Return the lexicon: weights by emotion for each entry, a tuple of words.

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
                words = tuple("*" if word == _ANY else word for word in tokenize(entry.replace("*", _ANY)).words)
                weights = found.setdefault(words, {})
                weights[label] = max(DEGREES[degree], weights.get(label, 0.0))
    found.pop((), None)
    return found


@lru_cache(maxsize=4096)
def base_forms(word: str) -> tuple[str, ...]:
    """Return the possible base forms of an inflected word, the word itself first.

    Examples
    --------
    >>> base_forms("crying"), "stop" in base_forms("stopped"), "happy" in base_forms("happier")
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
    """Write out a contraction, and drop a possessive 's."""
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


def _cues(text: TokenizedText) -> Iterator[Cue]:
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


def _longest(text: TokenizedText, start: int) -> tuple[str, ...] | None:
    """Find the longest entry that begins at a word; of equally long ones, that with the least inflected first word."""
    best: tuple[str, ...] | None = None
    for form in base_forms(text.words[start]):
        for entry in _by_first_word().get(form, ()):
            if (best is None or len(entry) > len(best)) and _fits(text, start, entry):
                best = entry
    return best


def _fits(text: TokenizedText, start: int, entry: tuple[str, ...]) -> bool:
    stop = start + len(entry)
    if stop > len(text.words) or text.sentences[start] != text.sentences[stop - 1]:
        return False
    return all(
        wanted in ("*", word) or wanted in base_forms(word)
        for wanted, word in zip(entry, text.words[start:stop], strict=True)
    )


def _cue(text: TokenizedText, start: int, entry: tuple[str, ...], consumed: set[int]) -> Cue:
    """Weight an entry by negators, intensifiers and diminishers before it."""
    before = [
        text.words[index]
        for index in range(max(0, start - REACH), start)
        if text.clauses[index] == text.clauses[start] and index not in consumed
    ]
    factor = 1.0
    for word in before[-2:]:
        factor *= _MORE if word in INTENSIFIERS else _LESS if word in DIMINISHERS else 1.0
    # Neither "never been so happy" nor "not only" negates.
    praise = "only" in before or ("never" in before and ({"so", "such", "more"} & set(before)))
    negated = bool(NEGATORS & set(before)) and not praise
    weights = dict(entries()[entry])
    if negated:
        replaced: dict[str, float] = {}
        for label, weight in weights.items():
            for other, share in _NEGATED[label].items():
                replaced[other] = replaced.get(other, 0.0) + share * weight
        weights, factor = replaced, 1.0
    shown = text.words[start : start + len(entry)]
    return Cue(shown, start, {label: factor * weight for label, weight in weights.items()}, negated)
