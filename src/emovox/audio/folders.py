"""Which files of a folder are recordings."""

from __future__ import annotations

#: Endings that are looked for in folders (some need the [formats] extra); a file named outright may be called anything.
AUDIO_SUFFIXES = frozenset(
    (
        *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".sph", ".nist"),
        *(".flac", ".fla", ".ogg", ".oga", ".ogv", ".opus", ".spx", ".mp3", ".mp2", ".mpga", ".mpa"),
        *(".m4a", ".m4b", ".m4r", ".m4v", ".mp4", ".mov", ".qt", ".3gp", ".3gpp", ".3g2", ".aac", ".adts"),
        *(".webm", ".weba", ".mkv", ".mka", ".wma", ".wmv", ".asf", ".amr", ".awb", ".avi", ".flv", ".f4v", ".f4a"),
        *(".wv", ".tta", ".ape", ".ac3", ".mpg", ".mpeg", ".vob", ".mts", ".m2ts"),
    )
)
