"""CREMA-D, EmoDB and the recipe made of them, on made-up trees: the real downloads are not at hand here."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from emovox import EmotionRecognizer
from emovox.cli.commands import app
from emovox.errors import CorpusError
from emovox.lab.corpora.cards import card
from emovox.lab.corpora.registry import check, detect, load
from emovox.lab.experiments import experiment, recipe
from emovox.model.file import load as load_model
from tests.conftest import ANY_SOUND, toy_clip
from tests.lab.corpora import files_of, reasons, row, tree

crema_d = partial(load, "crema-d")
emodb = partial(load, "emodb")
CREMA_SENTENCES = [code.upper() for code in card("crema-d").reader.text]
EMODB_SENTENCES = card("emodb").reader.text
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 72862\n"

# --- CREMA-D


def crema_names(actors: range | list[int]) -> list[str]:
    """Name the 82 clips of an actor as the corpus does: levels for one sentence only, none for neutral."""
    others = [sentence for sentence in CREMA_SENTENCES if sentence != "IEO"]
    emotions = ("ANG", "DIS", "FEA", "HAP", "SAD")
    return [
        f"AudioWAV/{actor}_{rest}.wav"
        for actor in actors
        for rest in (
            *(f"IEO_{emotion}_{level}" for emotion in emotions for level in ("LO", "MD", "HI")),
            *(f"{sentence}_{emotion}_XX" for sentence in others for emotion in emotions),
            *(f"{sentence}_NEU_XX" for sentence in CREMA_SENTENCES),
        )
    ]


@pytest.mark.parametrize(
    ("file", "speaker", "sex", "label", "text", "intensity"),
    [
        ("AudioWAV/1001_DFA_ANG_XX.wav", "crema-d/1001", "male", "angry", "Don't forget a jacket", ""),
        ("AudioWAV/1002_IEO_DIS_LO.wav", "crema-d/1002", "female", "disgust", "It's eleven o'clock", "low"),
        ("1091_IEO_FEA_MD.wav", "crema-d/1091", "female", "fearful", "It's eleven o'clock", "medium"),
        ("a/b/1090_IEO_HAP_HI.flac", "crema-d/1090", "male", "happy", "It's eleven o'clock", "high"),
        ("1040_ITH_SAD_X.wav", "crema-d/1040", "male", "sad", "I think I have a doctor's appointment", ""),
        ("1010_wsi_neu_xx.WAV", "crema-d/1010", "female", "neutral", "We'll stop in a couple of minutes", ""),
    ],
)
def test_crema_d_decodes_a_name(
    tmp_path: Path, file: str, speaker: str, sex: str, label: str, text: str, intensity: str
) -> None:
    assert row(crema_d(tree(tmp_path, file)), file) == {
        "speaker": speaker,
        "sex": sex,
        "text": text,
        "intensity": intensity,
        "label": label,
        "licence": "ODbL 1.0 + DbCL 1.0",
        "corpus": "crema-d",
    }


def test_crema_d_has_the_published_shape(tmp_path: Path) -> None:
    """A complete design differs from the published numbers only by the 20 clips that the authors lack."""
    names = crema_names(range(1001, 1092))
    assert len(names) == 91 * 82
    corpus = crema_d(tree(tmp_path, *names))
    published = card("crema-d")
    assert reasons(corpus) == {"known to be silent": ("AudioWAV/1076_MTI_SAD_XX.wav",)}
    assert len(corpus.table) - published.clips == 20
    counts = corpus.table["label"].value_counts()
    assert {label: int(counts[label]) - count for label, count in published.labels.items()} == {
        **dict.fromkeys(("happy", "angry", "fearful", "disgust", "sad"), 3),
        "neutral": 5,
    }
    assert check(corpus)[0] == "7461 clips, 7441 were published"
    actors = corpus.table.drop_duplicates("speaker")
    assert actors["sex"].value_counts().to_dict() == {"male": 48, "female": 43}, "as its authors count them"
    assert detect(tmp_path) == "crema-d"


def test_the_wave_file_is_preferred_to_the_damaged_mp3(tmp_path: Path) -> None:
    tree(tmp_path, "AudioMP3/1001_DFA_ANG_XX.mp3", "AudioWAV/1001_DFA_ANG_XX.wav", "AudioMP3/1040_ITH_SAD_XX.mp3")
    tree(tmp_path, "AudioWAV/1040_ITH_SAD_X.wav", "AudioMP3/1076_MTI_SAD_XX.mp3", "AudioMP3/1002_DFA_ANG_XX.mp3")
    corpus = crema_d(tmp_path)
    assert files_of(corpus) == [
        "AudioMP3/1002_DFA_ANG_XX.mp3",
        "AudioWAV/1001_DFA_ANG_XX.wav",
        "AudioWAV/1040_ITH_SAD_X.wav",
    ]
    assert reasons(corpus) == {
        "known to be silent": ("AudioMP3/1076_MTI_SAD_XX.mp3",),
        "second copies of a clip": ("AudioMP3/1001_DFA_ANG_XX.mp3", "AudioMP3/1040_ITH_SAD_XX.mp3"),
    }


def test_what_is_not_crema_d_is_left_out(tmp_path: Path) -> None:
    wrong = ("1092_DFA_ANG_XX.wav", "1000_DFA_ANG_XX.wav", "1001_DFA_SUR_XX.wav", "1001_ABC_ANG_XX.wav", "intro.wav")
    corpus = crema_d(tree(tmp_path, "1001_DFA_ANG_XX.wav", "._1001_DFA_ANG_XX.wav", *wrong))
    assert reasons(corpus) == {
        "macOS resource forks, not recordings": ("._1001_DFA_ANG_XX.wav",),
        "not named like CREMA-D": tuple(sorted(wrong)),
    }


def test_git_lfs_pointers_are_not_sound(tmp_path: Path) -> None:
    for name in ("AudioWAV/1001_DFA_ANG_XX.wav", "AudioWAV/1002_DFA_ANG_XX.wav"):
        tree(tmp_path, name).joinpath(name).write_bytes(POINTER)
    with pytest.raises(CorpusError, match=r"all 2 recordings in '.*' are Git LFS pointers, not sound: .*git lfs pull"):
        crema_d(tmp_path)
    with pytest.raises(CorpusError, match="Git LFS pointers"):
        detect(tmp_path)
    tree(tmp_path, "AudioWAV/1003_DFA_ANG_XX.wav")
    assert reasons(crema_d(tmp_path)) == {
        "Git LFS pointers, not sound (git lfs pull fetches it)": (
            "AudioWAV/1001_DFA_ANG_XX.wav",
            "AudioWAV/1002_DFA_ANG_XX.wav",
        )
    }


# --- EmoDB


@pytest.mark.parametrize(
    ("file", "speaker", "sex", "label", "text"),
    [
        ("wav/03a01Fa.wav", "emodb/03", "male", "happy", EMODB_SENTENCES["a01"]),
        ("wav/08a02Wc.wav", "emodb/08", "female", "angry", "Das will sie am Mittwoch abgeben."),
        ("wav/09b10Lb.wav", "emodb/09", "female", "boredom", EMODB_SENTENCES["b10"]),
        ("10a07Ea.wav", "emodb/10", "male", "disgust", "In sieben Stunden wird es soweit sein."),
        ("x/y/13B09ND.WAV", "emodb/13", "female", "neutral", EMODB_SENTENCES["b09"]),
        ("16a05ac.flac", "emodb/16", "female", "fearful", EMODB_SENTENCES["a05"]),
        ("12b01T.wav", "emodb/12", "male", "sad", EMODB_SENTENCES["b01"]),
    ],
)
def test_emodb_decodes_a_name(tmp_path: Path, file: str, speaker: str, sex: str, label: str, text: str) -> None:
    assert row(emodb(tree(tmp_path, file)), file) == {
        "speaker": speaker,
        "sex": sex,
        "text": text,
        "intensity": "",
        "label": label,
        "licence": "CC0 1.0 as stated by audEERING",
        "corpus": "emodb",
    }


def emodb_names(**clips_of: int) -> list[str]:
    """Name that many clips of each emotion, dealt to speakers, sentences and versions."""
    speakers = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
    return [
        f"wav/{speaker}{sentence}{letter}{version}.wav"
        for letter, count in clips_of.items()
        for version, sentence, speaker in itertools.islice(itertools.product("abcd", EMODB_SENTENCES, speakers), count)
    ]


def test_emodb_is_checked_against_its_own_numbers(tmp_path: Path) -> None:
    tree(tmp_path, *emodb_names(W=127, L=81, E=46, A=69, F=71, T=62, N=79))
    corpus = load("emodb", tmp_path)
    assert check(corpus) == []
    assert corpus.table.drop_duplicates("speaker")["sex"].value_counts().to_dict() == {"female": 5, "male": 5}
    assert detect(tmp_path) == "emodb"
    (tmp_path / "wav" / "03a01La.wav").unlink()
    assert check(load(tmp_path)) == [
        "534 clips, 535 were published",
        "label 'boredom': 80 clips, 81 were published",
    ]


def test_laryngograms_copies_and_strangers_are_left_out(tmp_path: Path) -> None:
    tree(
        tmp_path,
        "wav/03a01Fa.wav",
        "laryngo/03a01Fa.wav",
        "wav_laryng/03a01Fb.wav",
        "z/03a01fa.WAV",
        "wav/._03a01Fa.wav",
    )
    tree(tmp_path, "wav/04a01Fa.wav", "wav/03a03Fa.wav", "wav/03a01Xa.wav")
    assert reasons(emodb(tmp_path)) == {
        "macOS resource forks, not recordings": ("wav/._03a01Fa.wav",),
        "laryngograms, not speech": ("laryngo/03a01Fa.wav", "wav_laryng/03a01Fb.wav"),
        "not named like EmoDB": ("wav/03a01Xa.wav", "wav/03a03Fa.wav", "wav/04a01Fa.wav"),
        "second copies of a clip": ("z/03a01fa.WAV",),
    }


@pytest.mark.parametrize("name", ["crema-d", "emodb"])
def test_folders_without_the_corpus(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match=r"corpus folder '.*gone' does not exist: give the folder"):
        load(name, tmp_path / "gone")
    with pytest.raises(CorpusError, match=r"no recordings in '"):
        load(name, tmp_path)
    with pytest.raises(CorpusError, match=r"none of the 1 recordings in '.*' is (CREMA-D|EmoDB) \(named like "):
        load(name, tree(tmp_path, "sad/1.wav"))


# --- the recipe


@pytest.fixture(scope="module")
def commercial_roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Make small corpora of sounds: a voice for each speaker, a melody for each emotion."""
    roots = {name: tmp_path_factory.mktemp(name) for name in ("crema-d", "emodb")}
    melodies = {"ANG": "angry", "HAP": "happy", "NEU": "neutral", "SAD": "sad", "DIS": "sad", "FEA": "happy"}
    melodies |= {"W": "angry", "F": "happy", "N": "neutral", "T": "sad", "L": "neutral"}
    files = {
        **{
            roots["crema-d"] / "AudioWAV" / f"{actor}_{sentence}_{emotion}_XX.wav": (actor, emotion)
            for actor in (1001, 1002, 1003, 1005, 1076)
            for sentence in ("DFA", "MTI")
            for emotion in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
        },
        **{
            roots["emodb"] / "wav" / f"{speaker:02d}a01{emotion}a.wav": (speaker, emotion)
            for speaker in (3, 8, 9, 10, 11)
            for emotion in "WFNTL"
        },
    }
    for take, (file, (speaker, emotion)) in enumerate(files.items()):
        file.parent.mkdir(exist_ok=True)
        sound = toy_clip(melodies[emotion], speaker % 7, take)
        soundfile.write(file, sound * (file.stem != "1076_MTI_SAD_XX"), 16000)
    return roots


def test_the_commercial_recipe_says_why_it_may_be_used() -> None:
    one = recipe.load("commercial")
    assert list(one.corpora) == ["crema-d", "emodb"]
    assert one.protocol.name == "speaker-5"
    for words in ("commercial", "ODbL", "share-alike", "CC0", "as stated by audEERING"):
        assert words in one.description
    licences = [card(name).licence for name in one.corpora]
    assert not any("NC" in licence or "ND" in licence for licence in licences)


@pytest.mark.long
def test_the_commercial_recipe_makes_a_model(
    commercial_roots: dict[str, Path], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOVOX_WEIGHTS", str(weights))
    changes = {"model.epochs": 4, "model.networks": 1, "model.hidden": 16, "augment.copies": 1}
    results = experiment.run(recipe.load("commercial", changes), commercial_roots, tmp_path / "run", jobs=1)
    assert results["protocol"]["name"] == "speaker-5"
    assert results["protocol"]["speaker_independent"]
    assert results["n"] == 59 + 25, "all but the silent clip, each tested once"
    assert results["labels"] == ["neutral", "happy", "sad", "angry", "fearful", "disgust", "boredom"]
    assert set(results["corpora"]) == {"crema-d", "emodb"}
    assert set(results["sexes"]) == {"female", "male"}
    assert results["uar"] > 1 / 7
    card = load_model(tmp_path / "run").card
    assert card.licence == "inherited from the training data: CC0 1.0 as stated by audEERING, ODbL 1.0 + DbCL 1.0"
    assert "share-alike" in str(card.recipe["description"])
    clip = commercial_roots["emodb"] / "wav" / "03a01La.wav"
    probabilities = EmotionRecognizer(tmp_path / "run", gate=ANY_SOUND).predict(clip).probabilities
    assert list(probabilities) == results["labels"]
    assert np.isclose(sum(probabilities.values()), 1, atol=1e-5)


def test_the_command_line_knows_the_corpora(commercial_roots: dict[str, Path]) -> None:
    runner = CliRunner(env={"COLUMNS": "200"})
    listed = runner.invoke(app, ["data", "list"])
    assert "ODbL 1.0" in listed.stdout
    assert "as stated by audEERING" in listed.stdout
    checked = runner.invoke(app, ["data", "check", str(commercial_roots["crema-d"])])
    assert checked.exit_code == 0
    assert "crema-d: 59 clips, 5 speakers, licence ODbL 1.0 + DbCL 1.0" in checked.stdout
    assert "skipped 1 file, known to be silent: AudioWAV/1076_MTI_SAD_XX.wav" in checked.stdout
    assert "59 clips, 7441 were published" in checked.stdout
