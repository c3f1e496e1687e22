"""Reader of EmoDB, the Berlin database of emotional speech: 10 German actors, licensed for commercial use."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path, PurePosixPath

from emovox.lab.corpora.files import Notes, audio_files, distinct, no_recordings
from emovox.lab.corpora.table import Clip, Corpus, Provenance, from_clips, skipped

PROVENANCE = Provenance(
    licence="CC0 1.0 as stated by audEERING",
    citation=(
        "Burkhardt F, Paeschke A, Rolfes M, Sendlmeier WF, Weiss B (2005). A database of German emotional speech. "
        "Interspeech 2005: 1517-1520"
    ),
    url="http://emodb.bilderbar.info",
)

#: Sentences by their code in the file names.
SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute Abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}

_SEXES = {
    **dict.fromkeys(("03", "10", "11", "12", "15"), "male"),
    **dict.fromkeys(("08", "09", "13", "14", "16"), "female"),
}
#: The letters stand for the German words: Wut, Langeweile, Ekel, Angst, Freude, Trauer.
_EMOTIONS = {
    **{"W": "angry", "L": "boredom", "E": "disgust", "A": "fearful"},
    **{"F": "happy", "T": "sad", "N": "neutral"},
}
_NAME = re.compile(
    rf"(?P<speaker>{'|'.join(_SEXES)})(?P<sentence>{'|'.join(SENTENCES)})(?P<emotion>[{''.join(_EMOTIONS)}])"
    r"(?P<version>[a-z]?)",
    re.IGNORECASE,
)
#: Folders of version 2.0 with laryngograms, alone or as a second channel.
_LARYNX = frozenset({"laryngo", "wav_laryng"})


def emodb(root: Path) -> Corpus:
    """Read EmoDB from its file names: speaker, sentence, emotion, version.

    Parameters
    ----------
    root : Path
        Folder with the recordings (``wav``), or any folder above it.

    Returns
    -------
    Corpus
        Speakers ``"emodb/03"`` to ``"emodb/16"``; the text is the sentence.  Boredom, which no other corpus here has,
        keeps its own label.  The laryngograms of version 2.0 are skipped.

    Raises
    ------
    CorpusError
        No recording of EmoDB in the folder.
    """
    notes: Notes = defaultdict(list)
    files = audio_files(root, notes)
    named: list[PurePosixPath] = []
    for file in files:
        if not matches(file):
            notes["not named like EmoDB"].append(str(file))
        elif _LARYNX & {part.lower() for part in file.parent.parts}:
            notes["laryngograms, not speech"].append(str(file))
        else:
            named.append(file)
    if not named:
        raise no_recordings(root, files, "EmoDB (named like 03a01Fa.wav)")
    clips = [_clip(file) for file in distinct(named, lambda file: file.stem.lower(), notes)]
    return Corpus("emodb", root, PROVENANCE, from_clips(clips, "emodb", PROVENANCE), skipped(notes))


def matches(file: PurePosixPath) -> bool:
    """Return whether a recording is named like those of EmoDB."""
    return _NAME.fullmatch(file.stem) is not None


def _clip(file: PurePosixPath) -> Clip:
    """Parse one file name such as ``03a01Fa``."""
    speaker, sentence, emotion = file.stem[:2], file.stem[2:5].lower(), file.stem[5].upper()
    return Clip(
        file=str(file),
        label=_EMOTIONS[emotion],
        speaker=f"emodb/{speaker}",
        sex=_SEXES[speaker],
        text=SENTENCES[sentence],
    )
