"""Features from pretrained encoders: what is computed, what the cache keys them by, and the model file they end in."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from emovox import EmotionRecognizer, storage
from emovox.audio.preprocess import options_of, preprocess
from emovox.errors import FeatureError, ModelError, RecipeError
from emovox.features import sets
from emovox.features.sets import padded
from emovox.lab.encoders import embeddings
from emovox.lab.encoders.embedders import Embedder, JoinedEmbedder
from emovox.lab.encoders.encoders import LogMel, WhisperEncoder
from emovox.lab.estimators.finetuning import FinetunedClassifier
from emovox.lab.estimators.training import Speech
from emovox.lab.experiments import experiment, recipe
from emovox.lab.extraction.cache import FeatureCache
from emovox.lab.extraction.extraction import extract_many
from emovox.model import file as model_file
from emovox.storage import VARIABLE
from emovox.types import FeatureSpec, Float32Array, Waveform
from tests.conftest import ANY_SOUND, LABELS, sine, toy_clip


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    storage._from_hub.cache_clear()


@pytest.fixture
def spec(small_whisper: Path) -> FeatureSpec:
    return sets.spec("encoder", {"weights": str(small_whisper), "blocks": "1 3"})


SPEECH = Waveform(toy_clip("happy", 1, 0))


# --- the numbers -------------------------------------------------------------------------------------------


def expected_of(waveform: Waveform, folder: Path, blocks: tuple[int, ...]) -> Float32Array:
    """Pool with numpy what the encoder puts out."""
    samples = torch.from_numpy(preprocess(waveform).samples).unsqueeze(0)
    with torch.inference_mode():
        states = WhisperEncoder.load(folder)(LogMel(normalise=False)(samples))
    chosen = [states[block - 1][0].numpy() for block in blocks]
    return np.concatenate([part for one in chosen for part in (one.mean(axis=0), one.std(axis=0))])


def test_features_are_pooled_block_outputs(spec: FeatureSpec, small_whisper: Path) -> None:
    found = sets.extract(SPEECH, spec)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected_of(SPEECH, small_whisper, (1, 3)), atol=1e-5)
    means = sets.extract(SPEECH, sets.spec("encoder", {**spec.parameters, "pooling": "mean"}))
    np.testing.assert_array_equal(means, found.reshape(2, 2, 32)[:, 0].ravel())


@pytest.mark.parametrize(
    ("name", "width", "blocks"), [("whisper-tiny.en", 384, (1, 2, 3)), ("whisper-base", 512, (2, 3, 4))]
)
def test_named_sets(
    name: str, width: int, blocks: tuple[int, ...], weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = sets.spec(name)  # needs no weights
    assert one.dimension == 3 * 2 * width
    monkeypatch.setenv(VARIABLE, str(weights))
    found = sets.extract(SPEECH, one)
    folder = next(weights.glob(f"{name}-encoder*"))
    np.testing.assert_allclose(found, expected_of(SPEECH, folder, blocks), atol=1e-4)
    by_folder = sets.extract(SPEECH, sets.spec(name, {"weights": str(folder)}))
    np.testing.assert_array_equal(by_folder, found)


def test_names_say_where_a_number_comes_from(spec: FeatureSpec) -> None:
    names = sets.feature_names(spec)
    assert len(set(names)) == len(names) == spec.dimension == 128
    assert [names[i] for i in (0, 32, 64, 127)] == [
        "encoder_b1_mean_00",
        "encoder_b1_sd_00",
        "encoder_b3_mean_00",
        "encoder_b3_sd_31",
    ]
    assert sets.feature_names(sets.spec("whisper-tiny.en"))[0] == "whisper-tiny.en_b1_mean_000"


@pytest.fixture
def pair(small_whisper: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two encoders with different weights."""
    other = tmp_path / "other"
    shutil.copytree(small_whisper, other)
    tensors = load_file(other / "model.safetensors")
    save_file({name: tensor * 0.9 for name, tensor in tensors.items()}, other / "model.safetensors")
    return small_whisper, other


def test_several_encoders_stand_one_after_the_other(pair: tuple[Path, Path]) -> None:
    first, second = pair
    joined = sets.spec("encoder", {"weights": f"{first} + {second}", "blocks": "2 + 1 3"})
    found = sets.extract(SPEECH, joined)
    alone = [expected_of(SPEECH, first, (2,)), expected_of(SPEECH, second, (1, 3))]
    np.testing.assert_allclose(found, np.concatenate(alone), atol=1e-5)
    names = sets.feature_names(joined)
    assert len(set(names)) == len(names) == joined.dimension == 192
    assert (names[0], names[-1]) == ("whisper-small-random_b2_mean_00", "other_b3_sd_31")
    assert sets.weights_digest(joined) == "+".join(embeddings.digest(str(one)) for one in pair)


def test_encoders_that_hear_the_same_share_it(pair: tuple[Path, Path]) -> None:
    one = embeddings.embedder("encoder", f"{pair[0]} + {pair[1]}", "2 + 1 3", "mean-sd")
    assert isinstance(one, JoinedEmbedder)
    seen: list[Any] = []
    first, second = one.encoders
    assert isinstance(first, Embedder)
    assert first.front is second.front
    first.front.register_forward_hook(lambda *_: seen.append(1))
    one(torch.zeros(1, 8000))
    assert len(seen) == 1
    apart = [Embedder(LogMel(mels), WhisperEncoder(32, 2, 1, mels), [1]) for mels in (80, 128)]
    assert JoinedEmbedder(apart)(torch.zeros(1, 8000)).shape == (1, 128)


def test_the_named_pair_is_both_encoders(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = sets.spec("whisper-pair")  # needs no weights
    assert one.dimension == 2 * (3 * 384 + 2 * 512)
    monkeypatch.setenv(VARIABLE, str(weights))
    parts = [sets.spec("whisper-tiny.en"), sets.spec("whisper-base", {"blocks": "2 3"})]
    expected = np.concatenate([sets.extract(SPEECH, part) for part in parts])
    np.testing.assert_allclose(sets.extract(SPEECH, one), expected, atol=1e-5)


def test_short_clips_get_silence_on_both_sides(spec: FeatureSpec) -> None:
    short = SPEECH.samples[4000:6400]
    raw = sets.spec("encoder", spec.parameters, {"dc": False, "level": "none"})
    by_hand = Waveform(np.pad(short, 1200))
    np.testing.assert_array_equal(sets.extract(Waveform(short), raw), sets.extract(by_hand, raw))
    assert len(padded(np.ones(4799, dtype=np.float32))) == 4800


def test_samples_are_the_preprocessed_waveform() -> None:
    one = sets.spec("samples", preprocess={"trim": True})
    assert (one.dimension, dict(one.parameters), sets.feature_names(one)) == (0, {}, ())
    np.testing.assert_array_equal(sets.extract(SPEECH, one), preprocess(SPEECH, options_of({"trim": True})).samples)
    assert sets.extract(Waveform(sine(200, 0.1)), one).shape == (4800,)
    assert "samples" not in sets.available()


def test_the_number_of_threads_is_left_alone(spec: FeatureSpec) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        sets.extract(SPEECH, spec)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# --- what cannot be ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("whisper-tiny.en", {"blocks": "5"}, "blocks='5' is not possible: whisper-tiny.en has the blocks 1 to 4"),
        ("whisper-base", {"blocks": "2 2"}, "blocks='2 2' is not possible: name each block once, in rising order"),
        ("whisper-base", {"blocks": "3 2"}, "name each block once, in rising order"),
        ("whisper-base", {"blocks": "0"}, "blocks='0' is not possible: it must be block numbers with spaces between"),
        ("whisper-base", {"blocks": ""}, "blocks='' is not possible"),
        ("whisper-base", {"blocks": 2}, "blocks=2 is not possible"),
        ("whisper-base", {"weights": ""}, "weights='' is not possible: it must be a folder, or a name"),
        ("whisper-pair", {"blocks": "2 3"}, "names 2 encoder.s., give blocks for each, with . . . between"),
        ("whisper-pair", {"blocks": "2 + 2 + 3"}, "names 2 encoder.s., give blocks for each"),
        ("whisper-pair", {"blocks": "2 + 7"}, "whisper-base has the blocks 1 to 6"),
        ("whisper-pair", {"blocks": "2 +"}, "blocks='2 .' is not possible: it must be block numbers with spaces"),
        ("encoder", {"weights": "a/b + c/b", "blocks": "1 + 1"}, "weights='a/b . c/b' is not possible: name each"),
        ("whisper-base", {"pooling": "max"}, "pooling='max' is not possible: it must be one of mean-sd, mean"),
    ],
)
def test_impossible_parameters_are_refused(name: str, parameters: dict[str, object], message: str) -> None:
    with pytest.raises((FeatureError, RecipeError), match=message):
        sets.spec(name, parameters)


def test_weights_of_another_encoder_are_refused(small_whisper: Path) -> None:
    one = sets.spec("whisper-tiny.en", {"weights": str(small_whisper)})
    with pytest.raises(ModelError, match=r"encoder of width 32, feature set 'whisper-tiny.en' has 384: give other"):
        sets.extract(SPEECH, one)


def test_weights_that_are_not_there_are_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=r"cannot get openai/whisper-tiny.en from the Hugging Face hub"):
        extract_many([(tmp_path / "a.wav", 0.0, np.inf)], sets.spec("whisper-tiny.en"), FeatureCache(tmp_path), jobs=1)
    with pytest.raises(ModelError, match="no folder '/no/such/folder' with encoder weights"):
        sets.spec("encoder", {"weights": "/no/such/folder"})


def test_without_torch_the_extra_is_named(small_whisper: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "import numpy as np\n"
        "import emovox.lab\n"
        "from emovox.features import sets\n"
        "from emovox.types import Waveform\n"
        "spec = sets.spec('encoder', {'weights': sys.argv[1]})\n"
        "try:\n"
        "    sets.extract(Waveform(np.ones(8000, np.float32)), spec)\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, small_whisper], capture_output=True, text=True, check=False)
    assert "computing encoder features needs the [train] extra" in done.stdout, done.stderr


# --- the cache ---------------------------------------------------------------------------------------------


def test_other_weights_are_another_entry(small_whisper: Path, tmp_path: Path) -> None:
    folder, clip, cache = tmp_path / "weights", tmp_path / "clip.wav", FeatureCache(tmp_path / "cache")
    shutil.copytree(small_whisper, folder)
    soundfile.write(clip, SPEECH.samples, 16000)
    one = sets.spec("encoder", {"weights": str(folder)})
    before, key = cache.features(clip, one), cache.key(clip, one, 0, np.inf)
    assert cache.key(clip, one, 0, np.inf) == key
    stored = load_file(folder / "model.safetensors")
    save_file({name: 1.1 * value for name, value in stored.items()}, folder / "model.safetensors")
    after = cache.features(clip, one)
    assert cache.key(clip, one, 0, np.inf) != key
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_array_equal(after, sets.extract(Waveform(soundfile.read(clip, dtype="float32")[0]), one))


def test_weights_are_read_once_not_for_every_clip(
    spec: FeatureSpec, small_whisper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets.extract(SPEECH, spec)
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, SPEECH.samples, 16000)
    opened: list[Path] = []
    original = Path.open

    def watch(self: Path, *arguments: Any, **options: Any) -> Any:
        opened.append(self)
        return original(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", watch)
    FeatureCache(tmp_path / "cache").features(clip, spec)
    assert small_whisper / "model.safetensors" not in opened
    assert clip in opened


# --- from corpus to model file -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(small_whisper: Path, toy_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train on features of the small random encoder: enough for toy emotions."""
    one = recipe.validate(
        {
            "name": "toy-encoder",
            "corpora": {"toy": {}},
            "features": {"set": "encoder", "weights": str(small_whisper), "blocks": "1 3"},
            "preprocess": {"trim": True},
            "model": {"family": "ann", "epochs": 100},
            "protocol": {"name": "speaker-2"},
        },
        "toy",
    )
    out = tmp_path_factory.mktemp("run") / "run"
    experiment.run(one, {"toy": toy_manifest}, out, jobs=1, cache=FeatureCache(out.with_name("cache")))
    return out


@pytest.mark.long
def test_the_file_starts_from_samples(run: Path, small_whisper: Path, toy_manifest: Path) -> None:
    model = model_file.load(run)
    assert (model.takes_samples, model.takes_baseline, model.axes_width) == (True, False, 0)
    assert (model.card.features.set, model.card.features.preprocess["trim"]) == ("samples", True)
    samples = sets.extract(Waveform(toy_clip("sad", 2, 1)), model.card.features)
    session = onnxruntime.InferenceSession(run / "model.onnx", providers=["CPUExecutionProvider"])
    (embedding,) = session.run(["embedding"], {"samples": samples[np.newaxis]})
    spec = sets.spec("encoder", {"weights": str(small_whisper), "blocks": "1 3"}, {"trim": True})
    np.testing.assert_allclose(embedding[0], sets.extract(Waveform(toy_clip("sad", 2, 1)), spec), atol=1e-4)


@pytest.mark.long
def test_a_file_of_several_encoders_starts_from_samples(
    pair: tuple[Path, Path], toy_manifest: Path, tmp_path: Path
) -> None:
    features = {"set": "encoder", "weights": f"{pair[0]} + {pair[1]}", "blocks": "2 + 1 3"}
    model = {"family": "adaptive", "components": 8, "epochs": 2, "draws": 2, "hidden": 8}
    values = {"name": "toy-pair", "corpora": {"toy": {}}, "features": features, "model": model}
    one = recipe.validate({**values, "protocol": {"name": "speaker-2"}}, "toy")
    experiment.run(one, {"toy": toy_manifest}, tmp_path / "run", jobs=1, cache=FeatureCache(tmp_path / "cache"))
    found = model_file.load(tmp_path / "run")
    assert (found.takes_samples, found.takes_baseline, found.axes_width) == (True, True, 3 * len(LABELS))


def test_fine_tuning_takes_one_encoder() -> None:
    plain = {"name": "x", "corpora": {"toy": {}}, "features": {"set": "whisper-pair"}, "model": {"family": "finetuned"}}
    with pytest.raises(RecipeError, match=r'"finetuned" tunes one encoder, and features.set = "whisper-pair" has sev'):
        recipe.validate(plain, "toy")


def test_fine_tuning_from_python_takes_one_encoder(pair: tuple[Path, Path]) -> None:
    both = sets.spec("encoder", {"weights": f"{pair[0]} + {pair[1]}", "blocks": "2 + 1"})
    y = np.array(["sad", "happy"])
    with pytest.raises(ModelError, match="tunes one encoder, and 'encoder' has several"):
        FinetunedClassifier().fit(np.zeros((2, 128), np.float32), y, y, speech=Speech([], both))


def test_the_recogniser_uses_it_without_torch(run: Path, toy_manifest: Path) -> None:
    recognizer = EmotionRecognizer(run, gate=ANY_SOUND)
    clips = {label: toy_manifest.parent / f"s3-{label}-1.wav" for label in LABELS}
    found = {label: recognizer.predict(clip) for label, clip in clips.items()}
    assert sum(prediction.label == label for label, prediction in found.items()) >= 3
    code = (
        "import sys\n"
        "for name in ('torch', 'sklearn', 'onnx', 'transformers', 'safetensors', 'pandas', 'joblib'):\n"
        "    sys.modules[name] = None\n"
        "from emovox import EmotionRecognizer, GateOptions\n"
        "recognizer = EmotionRecognizer(sys.argv[1], gate=GateOptions(threshold=0))\n"
        "print(recognizer.predict(sys.argv[2]).label)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, run, clips["sad"]], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == found["sad"].label, done.stderr


@pytest.mark.parametrize("seconds", [0.1, 0.31, 8.9, 20.0])
def test_clips_of_any_length_have_an_answer(seconds: float, run: Path, rng: np.random.Generator) -> None:
    samples = rng.normal(scale=0.1, size=round(seconds * 16000)).astype(np.float32)
    prediction = EmotionRecognizer(run, gate=ANY_SOUND).predict(samples, rate=16000)
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert prediction.end == pytest.approx(seconds, abs=1e-3)


def test_evaluating_is_predicting_every_clip(run: Path, toy_manifest: Path) -> None:
    model = model_file.load(run)
    metrics, predictions = experiment.evaluate(model, {"toy": toy_manifest}, jobs=2)
    assert metrics["uar"] > 0.8
    assert len(predictions) == 96
    recognizer = EmotionRecognizer(model, gate=ANY_SOUND)
    for row in predictions.iloc[::30].to_dict("records"):
        expected = recognizer.predict(toy_manifest.parent / Path(str(row["file"])).name).probabilities
        assert {label: row[f"p_{label}"] for label in expected} == pytest.approx(expected, abs=1e-6)


def test_sets_without_one_vector_a_clip_are_refused_for_training() -> None:
    for name in ("logmel", "samples"):
        plain = {"name": "x", "corpora": {"toy": {}}, "features": {"set": name}, "model": {"family": "svm"}}
        with pytest.raises(RecipeError, match=f'features.set = "{name}" is of level .* needs one vector a clip'):
            recipe.validate(plain, "toy")


def test_the_recipe_in_the_package_needs_no_weights_to_be_read() -> None:
    one = recipe.load("ravdess-whisper-frozen", {"features.weights": "/somewhere/else"})
    assert one.feature_spec().dimension == 2304
    assert one.feature_spec().parameters["weights"] == "/somewhere/else"
