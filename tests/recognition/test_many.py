"""Many recordings at once: results in order, whatever the threads do; and arrays wherever files are taken."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import soundfile

from emovox import AudioError, EmotionRecognizer, Failure, InputError, Prediction, audio
from emovox.recognition.analysis import Sources, checked_jobs, each_source, in_order
from emovox.testing import FakeRecognizer
from emovox.types import Transcript, Waveform, Word
from tests.conftest import speech

PLAIN = Path(__file__).parents[2] / "examples" / "plain.wav"


@pytest.fixture(scope="module")
def recognizer() -> EmotionRecognizer:
    return EmotionRecognizer()


def test_results_keep_their_order_though_the_first_takes_longest() -> None:
    later = threading.Event()

    def work(item: int, check: object) -> int:
        if item == 0:
            assert later.wait(10)  # the other thread goes on meanwhile
        elif item == 20:
            later.set()
        return item

    assert list(in_order(work, range(40), 2)) == list(range(40))


def test_the_look_ahead_is_bounded() -> None:
    taken: list[int] = []

    def items() -> object:
        for index in range(100):
            taken.append(index)
            yield index

    results = in_order(lambda item, check: item, items(), 2)  # type: ignore[arg-type, var-annotated]
    assert next(results) == 0
    assert len(taken) <= 4
    results.close()  # type: ignore[attr-defined]


def test_what_nobody_wants_is_stopped() -> None:
    stopped, began = threading.Event(), threading.Event()

    def work(item: int, check: object) -> int:
        if item == 0:
            assert began.wait(10)
            return 0
        began.set()
        try:
            while True:
                check()  # type: ignore[operator]
                time.sleep(0.001)
        except Exception:
            stopped.set()
            raise

    results = in_order(work, range(3), 2)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert stopped.wait(10)


def test_an_error_of_the_work_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda item, check: 1 // item, [1, 0, 1], 2))


@pytest.mark.parametrize("jobs", [0, -1])
def test_no_threads_are_refused(recognizer: EmotionRecognizer, jobs: int) -> None:
    with pytest.raises(InputError, match=f"jobs is {jobs}: expected 1 or more"):
        recognizer.predict_many([PLAIN], jobs=jobs)
    assert checked_jobs(None) >= 1


@pytest.mark.parametrize("jobs", [1, 3])
def test_many_are_the_same_as_one_by_one(recognizer: EmotionRecognizer, jobs: int) -> None:
    clips = [speech(1 + index / 4, index) for index in range(4)]
    sources: list[Any] = [(clip, 16000) for clip in clips] + [PLAIN, Path("missing.wav"), np.zeros(3)]
    heard: list[int] = []
    found = list(
        recognizer.predict_many(
            sources, jobs=jobs, names=[None, "b", *[None] * 5], progress=lambda index, seconds: heard.append(index)
        )
    )
    assert found[:5] == [
        *(recognizer.predict(clip, rate=16000, name="b" if i == 1 else None) for i, clip in enumerate(clips)),
        recognizer.predict(PLAIN),
    ]
    assert [one.kind for one in found if isinstance(one, Failure)] == ["AudioError", "AudioError"]
    assert {0, 1, 2, 3, 4} <= set(heard)
    lines = recognizer.timeline_many(sources[:5], jobs=jobs)
    assert list(lines) == [recognizer.timeline(one) for one in sources[:5]]


def test_a_transcriber_is_asked_by_one_thread_at_a_time() -> None:
    class Alone:
        name = "alone-1"

        def __init__(self) -> None:
            self.inside = self.most = 0

        def transcribe(self, waveform: Waveform) -> Transcript:
            self.inside += 1
            self.most = max(self.most, self.inside)
            time.sleep(0.01)
            self.inside -= 1
            return Transcript("well then", (Word("well", 0.1, 0.4), Word("then", 0.5, 0.9)))

    alone = Alone()
    found = list(EmotionRecognizer(transcriber=alone).predict_many([PLAIN] * 4, jobs=3))
    assert [one.transcript for one in found if isinstance(one, Prediction)] == ["well then"] * 4
    assert alone.most == 1


def test_an_array_is_its_file(recognizer: EmotionRecognizer) -> None:
    samples, rate = soundfile.read(PLAIN)
    stereo = np.stack([samples, samples], axis=1)
    for found in (
        recognizer.predict(stereo, rate=rate, name="take 1"),
        recognizer.predict((samples, rate), name="take 1"),
        recognizer.predict(audio.Samples(samples, rate, "take 1")),
        recognizer.predict(PLAIN, name="take 1"),
    ):
        assert found.file == "take 1"
        assert found.probabilities == recognizer.predict(PLAIN).probabilities
    said = Transcript("so", (Word("so", 0.5, 1.0),))
    timeline = recognizer.timeline(samples, rate=rate, name=str(PLAIN), transcript=said)
    assert timeline == recognizer.timeline(PLAIN, transcript=said)


def test_an_array_without_its_rate_is_told_what_to_do(recognizer: EmotionRecognizer) -> None:
    with pytest.raises(AudioError, match=r"give rate=16000, or whatever it is in Hz, or a pair \(samples, rate\)"):
        recognizer.predict(np.zeros(16000))
    with pytest.raises(AudioError, match=r"rate=8000 is given for .*plain.wav, which tells its own: leave rate out"):
        recognizer.predict(PLAIN, rate=8000)
    with pytest.raises(AudioError, match=r"a tuple is not a pair of an array and its rate"):
        recognizer.predict((16000, np.zeros(16000)))  # type: ignore[arg-type]


def answer(recognizer: EmotionRecognizer) -> Prediction:
    return recognizer.predict(PLAIN)


def test_a_recogniser_goes_to_another_process(recognizer: EmotionRecognizer) -> None:
    assert len(pickle.dumps(recognizer)) < 100_000  # by the model's name: the weights stay where they are
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(answer, recognizer).result() == answer(recognizer)


def test_sources_are_whatever_holds_recordings(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    files = [tmp_path / "a.wav", tmp_path / "b.wav", tmp_path / "in" / "c.wav"]
    for file in files:
        file.write_bytes(PLAIN.read_bytes())
    names, clip = [str(file) for file in files], np.zeros(1600)
    cases: list[tuple[Sources, int]] = [
        (tmp_path, 3),
        (str(tmp_path), 3),
        (f"{tmp_path}/*.wav", 2),
        (names, 3),
        (tuple(names[:2]), 2),
        (np.array(names), 3),
        (pandas.Series(names), 3),
        ([tmp_path / "in", names[0]], 2),
        (names[0], 1),
        (PLAIN.read_bytes(), 1),
        ((clip, 16000), 1),
        ([(clip, 16000), (clip, 8000)], 2),
        (audio.Channel(names[0], 1), 1),
        (np.zeros((1600, 2)), 1),
        ([clip, clip], 2),
        (f"{tmp_path}/*.flac", 1),  # itself, so that it is reported
        ((), 0),
    ]
    for sources, count in cases:
        assert len(list(each_source(sources))) == count, sources
    with PLAIN.open("rb") as opened:
        assert list(each_source(opened)) == [opened]


def test_arrays_take_one_rate(recognizer: EmotionRecognizer) -> None:
    samples, rate = soundfile.read(PLAIN)
    found = list(recognizer.predict_many([samples, PLAIN], rate=rate, names=["plain", "plain"], jobs=1))
    assert found[0] == found[1]


def test_results_become_a_table(tmp_path: Path) -> None:
    results = FakeRecognizer(answer="sad").predict_many([PLAIN, tmp_path / "none.wav"], jobs=1)
    table = results.to_frame()
    assert table["label"].tolist()[0] == "sad"
    assert table["error"].isna().tolist() == [True, False]
    assert table.filter(like="p_").iloc[0].sum() == pytest.approx(1)
    assert list(results) == []
    several = FakeRecognizer().timeline_many([PLAIN, PLAIN], jobs=1)
    assert len(several.to_frame()) == 2 * len(FakeRecognizer().timeline(PLAIN))


def test_what_is_left_can_be_stopped() -> None:
    results = FakeRecognizer().predict_many([PLAIN] * 3, jobs=2)
    next(results)
    results.close()
    assert list(results) == []
