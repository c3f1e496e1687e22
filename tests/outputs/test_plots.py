"""The picture of a timeline shows what is there: colours, hatches, holes, F0 and envelope."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import parselmouth
import pytest
import soundfile
from matplotlib.colors import to_rgb

from emovox.drawing import PALETTE
from emovox.errors import InputError
from emovox.outputs import plots
from emovox.types import Prediction
from tests.conftest import sine, speech

LABELS = tuple(PALETTE)


def prediction(start: float, end: float, label: str, share: float = 0.93, abstained: bool = False) -> Prediction:
    rest = (1 - share) / (len(LABELS) - 1)
    return Prediction(
        "a.wav", start, end, label, {one: share if one == label else rest for one in LABELS}, share, abstained, "m"
    )


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.wav"
    soundfile.write(path, speech(8), 16000)
    return path


def test_the_envelope_is_that_of_the_samples(clip: Path) -> None:
    samples, _ = soundfile.read(clip, dtype="float32")
    sound = plots.contour(clip, columns=100)
    edges = np.searchsorted(np.arange(len(samples)) / 16000, sound.times)
    np.testing.assert_allclose(sound.high, np.maximum.reduceat(samples, edges), atol=1e-4)
    np.testing.assert_allclose(sound.low, np.minimum.reduceat(samples, edges), atol=1e-4)
    assert sound.duration == 8
    assert len(sound.times) <= 100


def test_f0_is_that_of_the_voice(clip: Path) -> None:
    praat = parselmouth.Sound(str(clip)).to_pitch_ac(time_step=0.01, pitch_floor=75, pitch_ceiling=600)
    ours = plots.contour(clip)
    theirs = np.array([praat.get_value_at_time(time) for time in ours.times])
    both = ~np.isnan(theirs) & ~np.isnan(ours.f0)
    assert both.sum() > 200
    assert (np.abs(np.log2(ours.f0[both] / theirs[both])) < 0.1).mean() > 0.95


def test_a_long_recording_takes_no_more_points(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 16000, 1) as file:
        for _ in range(13):
            file.write(sine(150, 50, amplitude=0.3))
    sound = plots.contour(path)
    assert len(sound.times) <= plots.COLUMNS
    assert np.nanmedian(sound.f0) == pytest.approx(150, abs=1)
    assert sound.duration == 650


def colours_of(image: np.ndarray, left: float, right: float) -> dict[str, float]:
    """Tell which share of the lower half of a stretch of the picture has each emotion's colour."""
    height, width = image.shape[:2]
    part = image[int(0.58 * height) : int(0.87 * height), int(left * width) : int(right * width), :3]
    return {
        label: float((np.abs(part - np.array(to_rgb(colour))).max(axis=2) < 0.02).mean())
        for label, colour in PALETTE.items()
    }


def test_the_picture_shows_each_emotion_where_it_was(clip: Path, tmp_path: Path) -> None:
    found = [prediction(0, 3, "happy"), prediction(3.2, 5, "angry"), prediction(5, 8, "sad", 0.4, abstained=True)]
    plots.write(found, clip, tmp_path / "out.png")
    image = matplotlib.image.imread(tmp_path / "out.png")
    early, middle, late = (colours_of(image, *part) for part in ((0.1, 0.3), (0.5, 0.6), (0.75, 0.95)))
    assert early["happy"] > 0.8
    assert middle["angry"] > 0.8
    assert max(late.values()) < 0.2  # veiled and hatched
    assert early["angry"] < 0.05
    assert not list(tmp_path.glob("*.part"))


def test_each_speaker_has_a_row(clip: Path) -> None:
    said = [(0.0, 1.2, "sad", "anna"), (1.0, 2.0, "happy", "ben"), (2.0, 2.5, "sad", "anna")]
    parts = [dataclasses.replace(prediction(*where), speaker=who) for *where, who in said]  # type: ignore[arg-type]
    answers = plots.draw(parts, plots.contour(clip), "talk").axes[2]
    assert [text.get_text() for text in answers.get_yticklabels()] == ["ben", "anna"]
    rows = {(bar.get_paths()[0].get_extents().x0, bar.get_paths()[0].get_extents().y0) for bar in answers.collections}
    assert rows == {(0.0, 0.5), (1.0, 0.0), (2.0, 0.5)}


def test_stretches_are_means_over_the_judged_time() -> None:
    rng = np.random.default_rng(4)
    edges = np.sort(rng.integers(0, 3000, 120)) / 10
    parts = [
        prediction(a, b, LABELS[i % 5], 0.5 + 0.4 * rng.random(), abstained=bool(i % 3 == 0))
        for i, (a, b) in enumerate(zip(edges[::2], edges[1::2], strict=True))
    ]
    found = {one.start: one for one in plots.pooled(parts, 30)}
    for start in range(0, 300, 30):  # tenth by tenth
        inside = [one for t in range(300) for one in parts if one.start <= start + t / 10 + 0.05 < one.end]
        if not inside:
            assert start not in found
            continue
        for label in LABELS:
            mean = np.mean([one.probabilities[label] for one in inside])
            assert found[start].probabilities[label] == pytest.approx(mean, abs=1e-6)
        unsure = np.mean([one.abstained for one in inside])
        if abs(unsure - 0.5) > 0.01:
            assert found[start].abstained == (unsure > 0.5)
        if not found[start].abstained:
            sure = [one.label for one in inside if not one.abstained]
            assert sure.count(found[start].label) == max(map(sure.count, LABELS))


def test_many_predictions_are_drawn_as_means_and_the_clock_is_round() -> None:
    times = np.arange(0, 7200, 10.0)
    sound = plots.Contour(times, -np.ones(720, np.float32), np.ones(720, np.float32), np.full(720, np.nan), 7200.0)
    parts = [prediction(start, start + 2, LABELS[int(start) % 7]) for start in np.arange(0, 7200, 6.0)]
    figure = plots.draw(parts, sound, "long")
    answers, shares = figure.axes[2:]
    assert shares.get_ylabel().endswith("means of 1 min")
    assert len(answers.collections) <= 120
    shown = [tick for tick in shares.get_xticks() if 0 <= tick <= 7200]
    assert shown == list(range(0, 7201, 900))
    assert shares.xaxis.get_major_formatter()(900) == "0:15:00"
    few = plots.draw(parts[:300], sound, "long")
    assert few.axes[3].get_ylabel() == "probability"


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_every_format_is_what_it_is_called(ending: str, clip: Path, tmp_path: Path) -> None:
    path = tmp_path / ("out" + ending)
    plots.write([prediction(0, 3, "happy")], clip, path)
    marks = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    assert path.read_bytes().startswith(marks[ending])
    first = path.read_bytes()
    plots.write([prediction(0, 3, "happy")], clip, path)
    assert path.read_bytes() == first


def test_a_recording_without_predictions_and_unknown_labels_are_drawn(clip: Path, tmp_path: Path) -> None:
    plots.write([], clip, tmp_path / "none.png")
    other = Prediction("$a_b$.wav", 0, 8, "bored & tired", {"bored & tired": 0.75, "calm": 0.25}, 0.75, False, "m")
    plots.write([other], clip, tmp_path / "other.png", title="$x_$ <b>")
    assert (tmp_path / "none.png").exists()
    assert (tmp_path / "other.png").exists()


def test_a_picture_needs_a_known_ending_and_a_place(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"out\.gif: end the name in \.png, \.svg or \.pdf"):
        plots.write([], clip, tmp_path / "out.gif")
    with pytest.raises(InputError, match="cannot write"):
        plots.write([], clip, clip / "out.png")


def test_without_matplotlib_the_install_line_is_said(clip: Path) -> None:
    code = "import sys\nsys.modules['matplotlib'] = None\nfrom emovox.cli.main import run; run()\n"
    command = [sys.executable, "-c", code, "predict", str(clip), "--plot", "x.png"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=clip.parent)
    assert done.returncode == 2
    assert "pip install 'emovox[plot]'" in done.stderr
    assert done.stdout == ""


def test_the_plane_is_drawn_where_it_can_be(tmp_path: Path) -> None:
    from emovox.outputs import plots

    def one(start: float, valence: float, arousal: float) -> Prediction:
        place = {"valence": valence, "arousal": arousal}
        return Prediction("a.wav", start, start + 1, "", {}, 0.0, False, "m", dimensions=place)

    found = [one(0, 0.5, -0.2), one(1, -1.5, 0.3)]
    axes = plots.draw_plane(found, "a.wav").axes[0]
    assert np.asarray(axes.collections[0].get_offsets()).tolist() == [[0.5, -0.2], [-1.5, 0.3]]
    assert axes.get_xlim()[1] > 1.5
    plots.write_plane(found, tmp_path / "plane.svg", "a.wav")
    assert (tmp_path / "plane.svg").stat().st_size > 5000
    assert not plots.has_plane([*found, dataclasses.replace(found[0], dimensions=None)])
