"""Who speaks when: real speakers in turn, overlap, one after another in a stream, names of those who are known."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest

from emovox import EmotionRecognizer, StreamingRecognizer, TimelineOptions, audio
from emovox.errors import InputError
from emovox.speech import diarization
from emovox.speech.diarization import (
    OVERLAP,
    WINDOW,
    DiarizationOptions,
    Listener,
    Piece,
    _path,
    diarize,
    turns,
    window_starts,
    without_emotion,
)
from emovox.types import RATE, Float32Array, Setting, Waveform
from tests import EXAMPLES


def piece(start: int, end: int, *, both: bool = False, utterance: int = 0) -> Piece:
    return Piece(start * RATE, end * RATE, both, utterance, np.zeros(192, np.float32))


def test_turns_of_two_at_once_overlap_and_say_so() -> None:
    found = turns([piece(0, 2), piece(2, 3, both=True), piece(3, 5)], [["anna"], ["anna", "ben"], ["ben"]])
    assert [(one.start, one.end, one.speaker) for one in found] == [(0, 3, "anna"), (2, 5, "ben")]
    assert [one.columns for one in found] == [{OVERLAP: "1.00"}] * 2


def test_a_pause_ends_a_turn() -> None:
    found = turns([piece(0, 2), piece(3, 4, utterance=1)], [["anna"], ["anna"]])
    assert [(one.start, one.end) for one in found] == [(0, 2), (3, 4)]


@pytest.fixture(scope="module")
def speakers(corpora: Path) -> list[list[Float32Array]]:
    """Two excerpts of each of two men and women."""
    folders = sorted((corpora / "librispeech-1" / "test-other").iterdir())
    clips = [[audio.read(path).samples for path in sorted(folder.glob("*.ogg"))[:2]] for folder in folders[:8]]
    found = [pair for pair in clips if len(pair) == 2][:2]
    if len(found) < 2:
        pytest.skip("too few speakers with two excerpts")
    return found


@pytest.fixture(scope="module")
def conversation(speakers: list[list[Float32Array]]) -> Waveform:
    """A, B, A, B, each some 6 s."""
    pause = np.zeros(RATE // 2, np.float32)
    order = [speakers[0][0], speakers[1][0], speakers[0][1], speakers[1][1]]
    return Waveform(np.concatenate([part for clip in order for part in (clip, pause)]))


def share(found: list[tuple[float, float, str | None]], speakers: list[list[Float32Array]]) -> float:
    """Return the share of the speech that the better of two mappings gets right."""
    ends = np.cumsum([len(pair[take]) / RATE + 0.5 for take in (0, 1) for pair in speakers])
    right = {True: 0.0, False: 0.0}
    for start, end, name in found:
        turn = int(np.searchsorted(ends, (start + end) / 2))
        right[(turn % 2 == 0) == (name == "speaker 1")] += end - start
    return max(right.values()) / sum(right.values())


@pytest.mark.parametrize("count", [None, 2])
def test_two_real_speakers_are_told_apart(
    count: int | None, conversation: Waveform, speakers: list[list[Float32Array]]
) -> None:
    found = [(one.start, one.end, one.speaker) for one in diarize([conversation], DiarizationOptions(count=count))]
    assert {name for _, _, name in found} == {"speaker 1", "speaker 2"}
    assert share(found, speakers) > 0.95


def test_blocks_of_any_length_are_the_same(conversation: Waveform) -> None:
    samples = conversation.samples
    blocks = [Waveform(samples[at : at + 7777], at / RATE) for at in range(0, len(samples), 7777)]
    assert diarize(blocks) == diarize([conversation])


def test_a_change_inside_a_piece_is_found_by_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    anna, ben = (without_emotion(rng.normal(0, 1, (1, 192)).astype(np.float32))[0] for _ in range(2))

    def heard(start: int, end: int, *, change: int, utterance: int) -> Piece:
        centres = window_starts((end - start) * RATE) + WINDOW // 2
        own = np.where(centres[:, np.newaxis] < (change - start) * RATE, anna, ben)
        windows = (own + rng.normal(0, 0.03, own.shape)).astype(np.float32)
        mean = windows.mean(axis=0)
        return Piece(start * RATE, end * RATE, False, utterance, mean / np.linalg.norm(mean), windows)

    pieces = [heard(0, 8, change=8, utterance=0), heard(9, 17, change=9, utterance=1)]
    pieces.append(heard(18, 26, change=21, utterance=2))
    monkeypatch.setattr(diarization, "_pieces", lambda blocks, vad: pieces)
    found = [(one.start, one.end, one.speaker) for one in diarize([])]
    assert found[:2] == [(0, 8, "speaker 1"), (9, 17, "speaker 2")]
    (_, change, first), (begin, end, then) = found[2:]
    assert (first, then, begin, end) == ("speaker 1", "speaker 2", change, 26)
    assert change == pytest.approx(21, abs=0.3)


@pytest.mark.parametrize("seed", range(5))
def test_the_path_is_the_best_of_all(seed: int) -> None:
    scores = np.random.default_rng(seed).normal(0, 0.2, (6, 3)).astype(np.float32)
    worth = {
        path: sum(scores[step, one] for step, one in enumerate(path)) - 0.1 * sum(a != b for a, b in pairwise(path))
        for path in product(range(3), repeat=6)
    }
    assert tuple(_path(scores).tolist()) == max(worth, key=lambda path: worth[path])


def test_a_known_voice_has_its_name(conversation: Waveform, speakers: list[list[Float32Array]]) -> None:
    anna = speakers[0][1]
    known = {
        "anna": diarization.voices(anna, [(0, len(anna))])[0],
        "ben": -diarization.voices(anna, [(0, len(anna))])[0],
    }
    assert {one.speaker for one in diarize([conversation], enrolled=known)} == {"anna", "speaker 2"}


def test_enrolled_speakers_are_found_by_name_in_files_and_streams(
    conversation: Waveform, speakers: list[list[Float32Array]]
) -> None:
    recognizer = EmotionRecognizer()
    anna = recognizer.enroll("anna", [(speakers[0][1], RATE)])
    mute = recognizer.enroll("ben", [(speakers[1][1], RATE)], voice=False)
    other = replace(anna, name="carl", encoder="another encoder")
    options = TimelineOptions(speakers=2, enrolled=(mute, other, anna))
    assert {one.speaker for one in recognizer.timeline((conversation.samples, RATE), options)} == {"anna", "speaker 2"}
    stream = StreamingRecognizer(recognizer, options).open("talk", estimates=False)
    told = [one.prediction for one in (*stream.push(conversation.samples), *stream.finish()) if one.prediction]
    assert {one.speaker for one in told} == {"anna", "speaker 2"}


def test_a_voice_print_is_the_mean_of_what_is_heard_or_is_not_taken() -> None:
    recognizer, clips = EmotionRecognizer(), [EXAMPLES / "plain.wav", EXAMPLES / "slow.wav"]
    anna, nobody = recognizer.enroll("anna", clips), recognizer.enroll("anna", clips, voice=False)
    assert replace(anna, voice=None, encoder=None) == nobody
    prints = []
    for path in clips:
        samples = audio.read(path).samples
        for one in recognizer.timeline(path):  # 0.1 s around the utterance
            first, last = max(0, round(one.start * RATE) - RATE // 10), round(one.end * RATE) + RATE // 10
            part = samples[first:last]
            prints.append(diarization.voices(part, [(0, len(part))])[0] * len(part))
    mean = np.sum(prints, axis=0)
    assert anna.voice is not None
    np.testing.assert_allclose(anna.voice, mean / np.linalg.norm(mean), atol=1e-3)
    assert anna.encoder == diarization.NAME
    assert recognizer.adapt("office", [*clips, *clips]).voice is None


def test_a_listener_tells_as_it_hears(speakers: list[list[Float32Array]]) -> None:
    listener, begin, found = Listener(), 0, []
    for take in (0, 1):
        for pair in speakers:
            found += [[one.speaker for one in listener.heard(pair[take], begin)]]
            begin += len(pair[take])
    assert len({tuple(one) for one in (found[0], found[2])}) == 1
    assert found[0] != found[1]


def test_silence_has_no_turns() -> None:
    assert diarize([Waveform(np.zeros(RATE, np.float32))]) == []


@pytest.mark.parametrize("wrong", [{"count": 0}, {"count": 51}, {"alike": 2.0}, {"known": -1.5}])
def test_what_is_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="expected"):
        DiarizationOptions(**wrong)  # type: ignore[arg-type]


def test_a_timeline_has_speakers(conversation: Waveform) -> None:
    found = EmotionRecognizer().timeline((conversation.samples, RATE), TimelineOptions(speakers=2))
    assert {one.speaker for one in found} == {"speaker 1", "speaker 2"}
    assert all(one.setting is None or one.setting.name == "auto" for one in found)


def test_a_stream_tells_speakers_apart_and_learns_of_each(conversation: Waveform) -> None:
    recognizer, samples = EmotionRecognizer(), conversation.samples
    streams = StreamingRecognizer(recognizer, TimelineOptions(window=3.0, speakers="auto"))
    events = []
    for step in (len(samples), 7001):  # at once, and bit by bit
        stream = streams.open("talk", estimates=False)
        events.append([one for at in range(0, len(samples), step) for one in stream.push(samples[at : at + step])])
        events[-1] += stream.finish()
    assert [one.kind for one in events[0]] == [one.kind for one in events[1]]
    first, then = ([one.prediction for one in told if one.prediction] for told in events)
    assert first == then
    heard = dict.fromkeys(("speaker 1", "speaker 2"), 0)
    for one in first:  # what was said before, and nothing else, is known
        assert one.speaker
        before = heard[one.speaker]
        assert one.setting == (Setting("auto", before) if before >= 3 else None)
        heard[one.speaker] += 1
    assert max(heard.values()) > 3
    named = EmotionRecognizer(setting=recognizer.adapt("office", [(samples, RATE)]))
    stream = StreamingRecognizer(named, streams.options).open("talk", estimates=False)
    known = [one.prediction for one in (*stream.push(samples), *stream.finish()) if one.prediction]
    assert {one.setting.name for one in known if one.setting} == {"office"}
    assert [one.speaker for one in known] == [one.speaker for one in first]


def test_the_stream_of_one_channel_is_of_one_speaker() -> None:
    samples = audio.read(EXAMPLES / "plain.wav").samples
    found = []
    for options in (TimelineOptions(speakers="auto"), TimelineOptions()):
        stream = StreamingRecognizer(EmotionRecognizer(), options).open("call", channel=2)
        found.append([one.prediction for one in (*stream.push(samples), *stream.finish()) if one.kind == "result"])
    assert found[0] == [one and replace(one, speaker="speaker 2") for one in found[1]]


def test_a_channel_is_one_speaker() -> None:
    plain = audio.read(EXAMPLES / "plain.wav").samples
    call = np.stack([plain, np.zeros_like(plain)], axis=1)
    found = EmotionRecognizer().timeline(
        audio.Channel(audio.Samples(call, RATE, "call"), 1), TimelineOptions(speakers="auto")
    )
    assert [(one.speaker, one.channel) for one in found] == [("speaker 1", 1)]


def test_speakers_of_intervals_are_refused() -> None:
    with pytest.raises(InputError, match="leave out the mode interval"):
        TimelineOptions(mode="interval", speakers="auto")
    with pytest.raises(InputError, match="expected auto or a number"):
        TimelineOptions(speakers=0)
