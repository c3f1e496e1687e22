"""The sub-commands of `emovox`, each imported when it is asked for, and the options that they share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import click

from emovox import __version__
from emovox.outputs.commands import Choice, Group, Home, all_of, option

_RECOGNISE = {
    "predict": Home("emovox.cli.predict", "Recognise the emotion that each recording expresses, with its probability."),
    "listen": Home("emovox.cli.listen", "Recognise emotions live, from a microphone or a pipe."),
    "enroll": Home("emovox.cli.models", "Store a profile of a speaker's ordinary voice."),
    "adapt": Home("emovox.cli.models", "Store a profile of a setting: microphone, room and language."),
    "batch": Home("emovox.cli.batch", "Analyse very many recordings; the same command resumes an interrupted run."),
    "features": Home("emovox.cli.models", "Write acoustic features as CSV or Parquet."),
    "models": Home("emovox.cli.models", "List the models in the package, or show a model's card."),
    "cache": Home("emovox.cli.models", "Show what is stored on disk, and delete it."),
}
_SERVE = {
    "serve": Home("emovox.cli.listen", "Run the HTTP and WebSocket service until Ctrl-C."),
    "keys": Home("emovox.cli.listen", "Create, list and revoke API keys of the service."),
}
_LAB = {
    "train": Home(
        "emovox.lab.commands.train", "Evaluate a recipe, then fit it on all data and write a model and a report."
    ),
    "tune": Home("emovox.lab.commands.tune", "Search the hyper-parameters of a recipe, and score the result."),
    "evaluate": Home("emovox.lab.commands.evaluate", "Score a model on other corpora."),
    "dimensions": Home("emovox.lab.commands.dimensions", "Train dimensions such as arousal or intensity for a model."),
    "compare": Home("emovox.lab.commands.compare", "Rank runs, test every pair, and write a report."),
    "data": Home("emovox.lab.commands.data", "List, download, check and repair corpora."),
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
speaker_option = option("--speaker", "-s", metavar="NAME", help="Stored speaker profile: see emovox enroll.")
setting_option = option("--setting", metavar="NAME|auto", help="Stored setting (see emovox adapt), or auto.")
threshold_option = option(
    "--threshold",
    type=float,
    metavar="0..1",
    help="Least confidence of an answer; 0 never abstains.",
)
channels_option = option(
    "--channels", metavar="mix|each|N", default="mix", help="Mix (default), each separately, or one."
)
#: Options of speech recognition.
recognition_options = all_of(
    option("--text", is_flag=True, section="Words", help="Transcribe the speech: needs the [text] extra."),
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
        help="Language, such as en; by default detected.",
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
        help="Transcript of one recording: text, JSON, VTT, SRT.",
    ),
    option(
        "--text-model",
        metavar="MODEL",
        section="Words",
        help="Classifier of the words: a folder or hub id.",
    ),
    option(
        "--fuse/--no-fuse",
        default=None,
        section="Words",
        help="Fuse words and voice; default by the model.",
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
        help="Judge given segments: .csv, .tsv or .rttm.",
    ),
    option(
        "--speakers",
        metavar="WHO",
        section="Timeline",
        help="Separate speakers: auto, a number or an .rttm.",
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
            "--window": "Longest segment; default 6.",
            "--hop": "Length of an interval; default 1.",
            "--smooth": "Time constant of smoothing; default 0.",
            "--merge": "Join equal neighbours over pauses up to this.",
        }.items()
    ),
)
