"""The picture of a session fits the terminal and shows what is so, with colours and without."""

from __future__ import annotations

import io
import math
import re

import numpy as np
import pytest

from emovox.live.session import ASCII, Glyphs, JsonLines, Lines, Picture, glyphs, render
from emovox.live.state import SPAN, SessionEvent, State
from emovox.outputs.console import Console
from emovox.types import Prediction

LABELS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


def prediction(label: str, start: float, end: float, share: float = 0.65, abstained: bool = False) -> Prediction:
    rest = (1 - share) / 7
    shares = {one: share if one == label else rest for one in LABELS}
    return Prediction("mic", start, end, label, shares, share, abstained, "default")


def busy() -> State:
    """A session in which everything has happened."""
    state = State("USB Audio Device: a rather long name", "default", LABELS, "anna", "saving talk.json")
    state.time, state.level, state.speaking = 130.0, -12.0, True
    state.add_event(SessionEvent("result", 15, 16, prediction("sad", 12, 15)))
    state.add_event(SessionEvent("result", 75, 76, prediction("happy", 70, 75)))
    state.add_event(SessionEvent("result", 105, 106, prediction("angry", 100, 105, abstained=True)))
    state.add_event(SessionEvent("mark", 71, 71, text="mark 1"))
    state.add_event(SessionEvent("transcript", 75, 76, text="That is such wonderful news, [b]I[/b] can hardly say!"))
    state.add_event(SessionEvent("notice", 90, 90, text="no sound has come for 3 s"))
    state.advice = ("the voice is only 9 dB above the background: come closer, or find a quieter place",)
    return state


def shown(state: State, width: int, colour: bool = False, signs: Glyphs | None = None) -> list[str]:
    lines = render(state, width, colour, signs)
    return [line.ansi() if colour else line.plain for line in lines]


@pytest.mark.parametrize("width", [24, 40, 80, 120, 200])
@pytest.mark.parametrize("signs", [Glyphs(), ASCII])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_missing(width: int, signs: Glyphs) -> None:
    lines = shown(busy(), width, signs=signs)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for part in ("2:10", "don't know", "-12 dB", "neutral", "disgust", "9 dB", "no sound has come", "m marks", "[b]I"):
        assert part in text.replace("\n", " ").replace("  ", " ") or width < 40
    if signs is ASCII:
        assert text.isascii()


def test_the_strip_shows_what_was_when() -> None:
    lines = shown(busy(), 120)
    (strip,) = [line for line in lines if line.startswith("··s")]

    def column(time: float) -> int:
        return int(time - (130 - SPAN))  # a column is a second here

    assert set(strip[column(70) : column(75)]) == {"h"}
    assert set(strip[column(12) : column(15)]) == {"s"}
    assert set(strip[column(100) : column(105)]) == {"▒"}
    assert set(strip[column(20) : column(69)]) == {"·"}
    below = lines[lines.index(strip) + 1]
    assert below.index("▲") == column(71)


def test_colours_carry_the_emotion_only_where_there_are_any() -> None:
    plain, coloured = shown(busy(), 80), shown(busy(), 80, colour=True)
    assert not any("\x1b[3" in line for line in plain)
    assert any("\x1b[33m█" in line for line in coloured)  # happy is yellow
    assert any(line.startswith("n neutral") for line in plain)


def test_an_abstention_is_no_answer() -> None:
    state = State("mic", "m", LABELS)
    state.add_event(SessionEvent("estimate", 3, 3, prediction("sad", 0, 3, 0.3, abstained=True)))
    text = "\n".join(shown(state, 80))
    assert "● don't know (perhaps sad)" in text
    assert "● sad" not in text


def test_nobody_has_spoken_yet() -> None:
    state = State("mic", "m", LABELS)
    assert "nobody has spoken yet" in "\n".join(shown(state, 40))
    assert state.level == -math.inf
    assert state.summary() == "heard 0:00, nobody spoke"


def test_a_session_of_hours_takes_no_more_room() -> None:
    state = State("mic", "m", LABELS)
    for minute in range(600):
        state.time = 60.0 * minute
        state.add_event(SessionEvent("result", state.time, state.time, prediction("sad", state.time - 2, state.time)))
        state.add_event(SessionEvent("mark", state.time, state.time, text="mark"))
        state.add_event(SessionEvent("transcript", state.time, state.time, text="words"))
        state.add_samples(np.zeros(16000, np.float32))
    assert max(len(state.recent), len(state.marks), len(state.transcripts)) <= 20
    assert sum(map(len, state._sound)) < 6 * 16000
    assert state.summary() == "heard 9:59:01, 600 utterances: sad 100%"


def test_the_level_follows_the_loudest_sample_and_falls_slowly() -> None:
    state = State("mic", "m", LABELS)
    state.add_samples(np.array([0.0, -0.5, 0.1], np.float32))
    assert state.level == pytest.approx(-6.02, abs=0.01)
    state.add_samples(np.zeros(8000, np.float32))
    assert state.level == pytest.approx(-16.02, abs=0.01)


def test_ten_minutes_in_small_pieces_are_ten_minutes() -> None:
    state = State("a", "m", ("sad",))
    for _ in range(10 * 60 * 100):
        state.add_samples(np.zeros(160, np.float32))
    assert state.time == 600
    assert state.summary() == "heard 10:00, nobody spoke"


def test_a_notice_goes_away_with_new_sound() -> None:
    state = State("mic", "m", LABELS)
    state.add_event(SessionEvent("notice", 0, 0, text="it is gone"))
    state.add_samples(np.zeros(16000, np.float32))
    assert state.notice == "it is gone"
    state.add_samples(np.zeros(160_000, np.float32))
    assert state.notice == ""


def test_advice_is_told_once_and_goes_away() -> None:
    state = State("mic", "m", LABELS)
    silence, noise = np.zeros(80000, np.float32), np.random.default_rng(0).normal(size=80000).astype(np.float32)
    assert len(state.add_samples(silence)) == 1
    assert state.add_samples(silence) == ()
    assert "every sample is zero" in state.advice[0]
    state.add_samples(0.0001 * noise)
    assert "very quiet" in state.advice[0]


def test_lines_for_whom_has_no_terminal() -> None:
    out, notes = io.StringIO(), io.StringIO()
    lines, state = Lines(out, notes), State("mic", "m", LABELS)
    for one in (
        SessionEvent("start", 1, 1.3),
        SessionEvent("estimate", 2, 2, prediction("sad", 1, 2)),
        SessionEvent("result", 4, 4.4, prediction("sad", 1, 4)),
        SessionEvent("result", 65, 66, prediction("happy", 61, 65, 0.3, abstained=True)),
        SessionEvent("mark", 66, 66, text="mark 1"),
        SessionEvent("transcript", 65, 67, text="Hello."),
        SessionEvent("notice", 67, 67, text="it is gone"),
    ):
        lines.report(one, state)
    assert out.getvalue().splitlines() == [
        "0:01-0:04  sad  65%",
        "1:01-1:05  don't know (happy)  30%",
        "1:06  mark 1",
        '1:05  "Hello."',
    ]
    assert notes.getvalue() == "! it is gone\n"


def test_json_lines_are_flushed_one_by_one() -> None:
    class Out(io.StringIO):
        flushed = ""

        def flush(self) -> None:
            self.flushed = self.getvalue()

    out = Out()
    JsonLines(out).report(SessionEvent("mark", 1, 1, text="ä\n"), State("mic", "m", LABELS))
    assert (
        out.flushed
        == '{"kind": "mark", "time": 1, "decided": 1, "prediction": null, "text": "ä\\n", "channel": null}\n'
    )


def test_the_picture_is_drawn_in_place_and_stays_at_the_end() -> None:
    file = io.StringIO()
    console = Console(file, width=60, colour=True)
    picture, state = Picture(console), busy()
    picture.report(SessionEvent("mark", 1, 1, text="mark"), state)
    picture.refresh(state)
    picture.close(state)
    assert file.getvalue().count("2 min ago") >= 2
    assert re.search("\x1b\\[\\d+A", file.getvalue())  # the cursor goes up to draw over the last picture


def test_an_encoding_without_blocks_gets_ascii() -> None:
    assert glyphs(Console(io.TextIOWrapper(io.BytesIO(), "latin-1"))) is ASCII
    assert glyphs(Console(io.TextIOWrapper(io.BytesIO(), "utf-8"))) == Glyphs()
