"""Profiles of speakers, each key with a folder of its own; what a profile is, the library knows."""

from __future__ import annotations

from pathlib import Path

from emovox.errors import ProfileError
from emovox.model import profiles
from emovox.model.names import check_name
from emovox.model.profiles import Profile
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
        """Return those of the owner of a key; without keys, those that ``emovox enroll`` has made."""
        return cls(data / "profiles" / owner if owner else profiles.default_folder())

    def path(self, name: str) -> Path:
        """Return where a profile is kept, or would be.

        Raises
        ------
        ProfileError
            The name is not possible.
        """
        return self._folder / f"{check_name(name)}.json"

    def names(self) -> list[str]:
        """Return the names of all profiles."""
        return sorted(path.stem for path in self._folder.glob("*.json")) if self._folder.is_dir() else []

    def find(self, name: str) -> Profile:
        """Read a profile.

        Raises
        ------
        Problem
            There is none, or it is damaged.
        """
        try:
            path = self.path(name)
            if not path.is_file():
                raise Problem("not_found", f"there is no speaker {name!r}: POST /v1/speakers makes one")
            return profiles.read(path)
        except ProfileError as error:
            raise Problem("profile_unusable", _without(str(error), self._folder)) from error

    def save(self, profile: Profile) -> None:
        """Write a profile."""
        profiles.save(profile, self.path(profile.name))

    def remove(self, name: str) -> None:
        """Delete a profile.

        Raises
        ------
        Problem
            There is none.
        """
        self.find_path(name).unlink(missing_ok=True)

    def find_path(self, name: str) -> Path:
        """Return where a profile is.

        Raises
        ------
        Problem
            There is none.
        """
        try:
            path = self.path(name)
        except ProfileError as error:
            raise Problem("not_found", str(error)) from error
        if not path.is_file():
            raise Problem("not_found", f"there is no speaker {name!r}")
        return path


def _without(text: str, folder: Path) -> str:
    """Take the server's folder out of a message."""
    return text.replace(f"{folder}/", "").replace(str(folder), "")
