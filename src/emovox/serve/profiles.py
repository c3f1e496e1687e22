"""Profiles of speakers and settings, each key with a folder of its own; what a profile is, the library knows."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from emovox.errors import ProfileError
from emovox.model import profiles
from emovox.model.profiles import Profile, Subject
from emovox.model.subjects import check_name, default_folder
from emovox.serve.problems import Problem


class Profiles:
    """The profiles of one caller.

    Parameters
    ----------
    folder : Path
        Folder of the profiles: that of the command line for this machine's user, else one for each key.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of(cls, owner: str, data: Path) -> Profiles:
        """Return those of the owner of a key; without keys, those of ``emovox enroll`` and ``emovox adapt``."""
        return cls(data / "profiles" / owner if owner else default_folder())

    def _of_kind(self, kind: Subject) -> Path:
        return self._folder / "settings" if kind == "setting" else self._folder

    def path(self, name: str, kind: Subject) -> Path:
        """Return where a profile is kept, or would be.

        Raises
        ------
        ProfileError
            The name is not possible.
        """
        return self._of_kind(kind) / f"{check_name(name, kind)}.json"

    def names(self, kind: Subject) -> list[str]:
        """Return the names of all profiles of a kind."""
        return sorted(path.stem for path in self._of_kind(kind).glob("*.json"))

    def find(self, name: str, kind: Subject) -> Profile:
        """Read a profile.

        Raises
        ------
        Problem
            There is none, or it is damaged.
        """
        try:
            path = self.path(name, kind)
            if not path.is_file():
                raise Problem("not_found", f"there is no {kind} {name!r}: POST /v1/{kind}s makes one")
            found = profiles.read(path)
            profiles.require_kind(found, kind)
        except ProfileError as error:
            raise Problem("profile_unusable", _without(str(error), self._of_kind(kind))) from error
        return found

    def voices(self) -> tuple[Profile, ...]:
        """Return the speakers who have a voice print; what is damaged takes no part."""
        found = []
        for name in self.names("speaker"):
            with suppress(Problem):
                found.append(self.find(name, "speaker"))
        return tuple(one for one in found if one.voice)

    def save(self, profile: Profile) -> None:
        """Write a profile."""
        profiles.save(profile, self.path(profile.name, profile.kind))

    def remove(self, name: str, kind: Subject) -> None:
        """Delete a profile.

        Raises
        ------
        Problem
            There is none.
        """
        try:
            path = self.path(name, kind)
        except ProfileError as error:
            raise Problem("not_found", str(error)) from error
        if not path.is_file():
            raise Problem("not_found", f"there is no {kind} {name!r}")
        path.unlink(missing_ok=True)


def _without(text: str, folder: Path) -> str:
    """Take the server's folder out of a message."""
    return text.replace(f"{folder}/", "").replace(str(folder), "")
