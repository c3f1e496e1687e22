"""The options that several commands share."""

from __future__ import annotations

from emovox.outputs.commands import all_of, option

model_option = option("--model", "-m", metavar="MODEL", help="Model file, run folder or built-in name.")
speaker_option = option("--speaker", "-s", metavar="NAME", help="Whose voice it is: see emovox enroll.")
threshold_option = option(
    "--threshold",
    type=float,
    metavar="0..1",
    help="Confidence that an answer needs; 0 never abstains.",
)
#: Options of speech recognition.
recognition_options = all_of(
    option("--text", is_flag=True, section="Words", help="Recognise the words, too: needs the [text] extra."),
    option(
        "--asr",
        metavar="MODEL",
        section="Words",
        help="Whisper model: a folder, a name such as base, or a hub id; implies --text. EMOVOX_ASR sets the default.",
    ),
    option(
        "--language",
        metavar="CODE",
        section="Words",
        help="What is spoken, such as en; the default is detected.",
    ),
)
