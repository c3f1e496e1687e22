"""The sub-commands of `emovox`, each imported when it is asked for, and the options that they share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import click

from emovox import __version__
from emovox.outputs.commands import Choice, Group, Home, all_of, option

_RECOGNISE = {
    "predict": Home("emovox.cli.predict", "Say which emotion each recording expresses, and how sure that is."),
    "listen": Home("emovox.cli.listen", "Hear a microphone or a pipe, and say what emotion it is."),
    "enroll": Home("emovox.cli.models", "Store what a speaker's voice is ordinarily like."),
    "adapt": Home("emovox.cli.models", "Store what a microphone, room and language are ordinarily like."),
    "batch": Home("emovox.cli.batch", "Judge very many recordings; the same command goes on where it stopped."),
    "features": Home("emovox.cli.models", "Write acoustic features as CSV or Parquet."),
    "models": Home("emovox.cli.models", "List the models in the package, or show a model's card."),
    "cache": Home("emovox.cli.models", "Show what is kept on disk, and clear it."),
}
_SERVE = {
    "serve": Home("emovox.cli.listen", "Answer over HTTP and WebSocket until Ctrl-C."),
    "keys": Home("emovox.cli.listen", "Make, list and revoke keys of the service."),
}
_LAB = {
    "train": Home("emovox.lab.commands.train", "Evaluate a recipe, then fit it and write a model and a report."),
    "tune": Home("emovox.lab.commands.tune", "Search the settings of a recipe, and score what is found."),
    "evaluate": Home("emovox.lab.commands.evaluate", "Score a model on whole corpora."),
    "dimensions": Home(
        "emovox.lab.commands.dimensions", "Train intensity, arousal and the like beside the classes of a model."
    ),
    "compare": Home("emovox.lab.commands.compare", "Rank runs, test every pair, and write a page about it."),
    "data": Home("emovox.lab.commands.data", "Know, download and check corpora."),
}

#: The sub-commands by name: the module holds the command of that name.
COMMANDS = _RECOGNISE | _SERVE | _LAB


class Commands(Group):
    """The sub-commands."""

    def unknown(self, ctx: click.Context, word: str) -> str:
        """Say what is wrong with a first word; who names a recording at once most likely means to judge it."""
        if Path(word).exists():
            return f"{word} is no command: did you mean emovox predict {word}?"
        return super().unknown(ctx, word)


app = Commands(
    "emovox",
    homes={"Recognise": _RECOGNISE, "Serve": _SERVE, "Train and compare": _LAB},
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Speech emotion recognition: from a recording to a label.

    Examples
    --------
    - `emovox predict call.wav`
    - `emovox predict --help`
    """,
)
app = click.version_option(__version__, message="emovox %(version)s", help="Print the version and stop.")(app)

model_option = option("--model", "-m", metavar="MODEL", help="Model file, run folder or built-in name.")
speaker_option = option("--speaker", "-s", metavar="NAME", help="Whose voice it is: see emovox enroll.")
setting_option = option("--setting", metavar="NAME|auto", help="Microphone and room: see emovox adapt; or auto.")
threshold_option = option(
    "--threshold",
    type=float,
    metavar="0..1",
    help="Confidence that an answer needs; 0 never abstains.",
)
channels_option = option(
    "--channels", metavar="mix|each|N", default="mix", help="Mix them (default), take each by itself, or one."
)
#: Options of speech recognition.
recognition_options = all_of(
    option("--text", is_flag=True, section="Words", help="Recognise the words, too: needs the [text] extra."),
    option(
        "--asr",
        metavar="MODEL",
        section="Words",
        help="Whisper model: folder, size or hub id, with --text.",
    ),
    option(
        "--language",
        metavar="CODE",
        section="Words",
        help="What is spoken, such as en; the default is detected.",
    ),
)
#: Options of predict about words.
word_options = all_of(
    recognition_options,
    option(
        "--transcript",
        type=click.Path(path_type=Path),
        metavar="FILE",
        section="Words",
        help="What is said in one recording: text, JSON, VTT or SRT.",
    ),
    option(
        "--text-model",
        metavar="MODEL",
        section="Words",
        help="Judge the words' emotion, too: a folder or hub id.",
    ),
    option(
        "--fuse/--no-fuse",
        default=None,
        section="Words",
        help="Whether words take part; the default is the model's.",
    ),
    option("--rules", is_flag=True, section="Words", help="Apply the decision rules, and explain every change."),
)


class Mode(StrEnum):
    """How a timeline is cut."""

    UTTERANCE = "utterance"
    INTERVAL = "interval"


timeline_options = all_of(
    option(
        "--segments",
        type=click.Path(path_type=Path),
        metavar="FILE",
        section="Timeline",
        help="Judge these: .csv, .tsv (start, end) or .rttm.",
    ),
    option(
        "--speakers",
        metavar="WHO",
        section="Timeline",
        help="Tell speakers apart: auto, how many, or an .rttm.",
    ),
    option(
        "--mode",
        type=Choice(Mode),
        metavar="MODE",
        section="Timeline",
        help="Segments: utterance (default) or interval.",
    ),
    *(
        option(name, type=float, metavar="SECONDS", section="Timeline", help=text)
        for name, text in {
            "--window": "Longest stretch judged at once; 6.",
            "--hop": "Length of an interval; 1.",
            "--smooth": "Time constant of smoothing; 0.",
            "--merge": "Join equal neighbours with such a pause at most.",
        }.items()
    ),
)
