"""Getting a corpus: consent to its licence, download, unpacking, and bringing back what a copy lacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from emovox.errors import CorpusError
from emovox.lab.corpora import index, readers
from emovox.lab.corpora.cards import Card, Remote
from emovox.lab.corpora.table import Corpus
from emovox.lab.corpora.transfer import fetch
from emovox.lab.corpora.unpacking import Progress, require_space, unpack
from emovox.recognition.analysis import AUDIO_SUFFIXES
from emovox.storage import cache_folder, replacing

#: Folder, inside that of the corpus, of archives; hidden, so that nothing in it is a recording.
ARCHIVES = ".archives"
#: Room that an archive and what is in it need, as a multiple of the archive's size.
_ROOM = 2.5

Fetch = Callable[[Remote, Path, Progress], Path]


def _consents() -> Path:
    return cache_folder() / "licences.json"


def accepted() -> Mapping[str, Mapping[str, str]]:
    """Return which licences were accepted, by corpus: the licence's words and the date."""
    with suppress(OSError, ValueError):
        found = json.loads(_consents().read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def consent(card: Card, licence: str | None = None) -> None:
    """Accept the licence of a corpus, or check that it was accepted before; other words are to be accepted again.

    Parameters
    ----------
    card : Card
        The corpus.
    licence : str, optional
        Its licence, in the words of the card.

    Raises
    ------
    CorpusError
        It is another licence, or none was accepted yet.
    """
    known = accepted()
    if licence is None:
        if known.get(card.name, {}).get("licence") == card.licence:
            return
        raise CorpusError(
            f"{card.name} is licensed {card.licence!r} (use: {card.use}): read it at {card.url}, then repeat with "
            f"--accept {card.licence!r}"
        )
    if licence.split() != card.licence.split():
        raise CorpusError(f"the licence of {card.name} is {card.licence!r}, not {licence!r}: accept it in these words")
    entry = {"licence": card.licence, "date": datetime.now(UTC).date().isoformat()}
    with replacing(_consents()) as part:
        part.write_text(json.dumps({**known, card.name: entry}, indent=2, ensure_ascii=False), encoding="utf-8")


def download(
    card: Card,
    folder: Path,
    licence: str | None = None,
    progress: Progress = lambda stage, done, total: None,
    *,
    keep: bool = False,
    get: Fetch = fetch,
) -> Corpus:
    """Download a corpus and unpack it; the same call goes on where it was interrupted.

    Parameters
    ----------
    card : Card
        The corpus.
    folder : Path
        Where to.
    licence : str, optional
        Its licence in the words of the card, which accepts it; not needed again afterwards.
    progress : callable, optional
        Called with stage, bytes done, bytes in all.
    keep : bool, default False
        Whether the archives stay, in ``.archives``, for later repairs without network.
    get : callable, optional
        What downloads a file.

    Returns
    -------
    Corpus
        As the reader reads it.  The index of the copy is recorded in its folder.

    Raises
    ------
    CorpusError
        It cannot be downloaded, its licence is not accepted, there is no room, or an archive is refused.
    """
    _require_remotes(card)
    consent(card, licence)
    require_space(folder, round(_ROOM * sum(remote.bytes for remote in card.remotes)))
    for remote in card.remotes:
        archive = get(remote, folder / ARCHIVES / remote.file, progress)
        if not remote.unpack:
            archive.replace(folder / remote.file)
            continue
        for inner in unpack(archive, folder, progress):
            if _is_archive(inner):  # an archive of archives, as MELD is
                unpack(inner, inner.parent, progress)
                inner.unlink()
        if not keep:
            archive.unlink()
    with suppress(OSError):
        (folder / ARCHIVES).rmdir()
    corpus = readers.read(card, folder)
    index.record(corpus, card)
    return corpus


def repair(
    card: Card,
    corpus: Corpus,
    wanted: Collection[str],
    progress: Progress = lambda stage, done, total: None,
    *,
    get: Fetch = fetch,
) -> list[str]:
    """Bring back recordings that a copy lacks or has damaged, out of the archives.

    Parameters
    ----------
    card : Card
        The corpus.
    corpus : Corpus
        The copy, as loaded.
    wanted : collection of str
        Keys of the recordings, as `emovox.lab.extraction.verification.verify` finds them.
    progress : callable, optional
        Called with stage, bytes done, bytes in all.
    get : callable, optional
        What downloads a file.

    Returns
    -------
    list of str
        Keys of the recordings that were brought back.  A damaged one is replaced where it lies, in the archive's
        format; a missing one is put where the archive has it.

    Raises
    ------
    CorpusError
        It cannot be downloaded, or its licence is not accepted.
    """
    _require_remotes(card)
    consent(card)
    files, found = index.keys(corpus, card), list[str]()

    def place(name: PurePosixPath) -> Path | None:
        if name.suffix.lower() not in AUDIO_SUFFIXES or name.name.startswith("."):
            return None
        key = readers.key(card, name)
        if key not in wanted or key in found:
            return None
        found.append(key)
        return files[key].with_suffix(name.suffix) if key in files else corpus.root / name

    for remote in card.remotes:
        archive = get(remote, corpus.root / ARCHIVES / remote.file, progress)
        for path in unpack(archive, corpus.root, progress, place):
            old = files.get(readers.key(card, PurePosixPath(path.relative_to(corpus.root))))
            if old is not None and old != path:
                old.unlink()
    return found


def _require_remotes(card: Card) -> None:
    if not card.remotes:
        raise CorpusError(f"{card.name} cannot be downloaded by emovox: {card.how}")


def _is_archive(path: Path) -> bool:
    return path.name.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"))
