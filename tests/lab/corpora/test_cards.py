"""All public corpora, one suite: cards are whole, and the reader takes trees shaped like the official ones."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest
from click.testing import CliRunner

from emovox.cli.commands import app
from emovox.errors import CorpusError
from emovox.lab.corpora import cards as module
from emovox.lab.corpora.cards import Card, card, cards
from emovox.lab.corpora.readers import key, kind_of
from emovox.lab.corpora.registry import detect, find, load
from emovox.lab.corpora.table import Corpus
from emovox.types import canonical
from tests import ROOT
from tests.lab.corpora import reasons, tree, write

DIGEST = "c7b431195e2871a0c0b0825234c1e22b"
#: Recordings as the official archives have them: file, label, speaker, sex, text ("*" for any).
OFFICIAL: dict[str, list[tuple[str, str, str, str, str]]] = {
    "aesdd": [
        ("anger/a01 (1).wav", "angry", "1", "", "01"),
        ("sadness/s20 (5)b.wav", "sad", "5", "", "20"),
    ],
    "ased": [
        ("01Neutral/n1-04-02-02-01.wav", "neutral", "01", "female", "n1-04"),
        ("04Sad/S4-02-01-01-65.wav", "sad", "65", "male", "s4-02"),
    ],
    "banglaser": [
        ("BanglaSER/Actor 12/03-01-05-01-03-01-12.wav", "neutral", "12", "female", "03"),
        ("BanglaSER/Actor 31/03-01-02-02-01-03-31.wav", "sad", "31", "male", "01"),
    ],
    "baved": [("0/0-m-21-3-1-105.wav", "normal", "0", "male", "3"), ("2/7-F-22-0-2-9.wav", "high", "7", "female", "0")],
    "cafe": [
        ("CaFE_48k/Colère/Fort/01-C-2-1.wav", "angry", "01", "male", "1"),
        ("CaFE_48k/Neutre/12-N-1-6.aiff", "neutral", "12", "female", "6"),
    ],
    "crema-d": [
        ("AudioWAV/1001_DFA_ANG_XX.wav", "angry", "1001", "male", "Don't forget a jacket"),
        ("AudioWAV/1091_IEO_FEA_MD.wav", "fearful", "1091", "female", "It's eleven o'clock"),
    ],
    "demos": [
        ("DEMOS/NP_f_01_gio01a.wav", "happy", "01", "female", ""),
        ("NEU/02_neu01a.wav", "neutral", "02", "", ""),
    ],
    "emodb": [
        ("wav/03a01Fa.wav", "happy", "03", "male", "Der Lappen liegt auf dem Eisschrank."),
        ("wav/16b10Lb.wav", "boredom", "16", "female", "Die wird auf dem Platz sein, wo wir sie immer hinlegen."),
    ],
    "emospeech": [(f"webservice/help-safe-angry-1562996360436-{DIGEST}.wav", "angry", "c7b43119", "", "help")],
    "emov-db": [
        ("bea/Amused/amused_1-28_0001.wav", "amused", "bea", "female", "0001"),
        ("josh_Sleepy/sleepiness_1-28_0022.wav", "sleepy", "josh", "male", "0022"),
    ],
    "emovo": [
        ("EMOVO/f2/gio-f2-b2.wav", "happy", "f2", "female", "b2"),
        ("EMOVO/m1/sor-m1-n4.wav", "surprised", "m1", "male", "n4"),
    ],
    "emozionalmente": [
        ("audio/111.wav", "happy", "ana", "female", "Una frase."),
        ("audio/222.wav", "neutral", "bob", "male", "Altra."),
    ],
    "enterface": [
        ("enterface database/subject 1/anger/sentence 1/s1_an_1.avi", "angry", "1", "", "1"),
        ("enterface database/subject 11/fear/sentence 2/s12_fe_2.avi", "fearful", "11", "", "2"),
        ("enterface database/subject 16/surprise/sentence 3/s16_su_3avi.avi", "surprised", "16", "", "3"),
        ("enterface database/subject 6/sadness/s6_sa.avi", "sad", "6", "", ""),
    ],
    "esc-10": [
        ("001 - Dog bark/2-114587-A.ogg", "dog_bark", "", "", ""),
        ("010-Firecrackling/1-4211-A.ogg", "fire_crackling", "", "", ""),
    ],
    "esd": [
        ("ESD/0011/Angry/0011_000351.wav", "angry", "0011", "male", ""),
        ("ESD/0001/Surprise/evaluation/0001_001401.wav", "surprised", "0001", "female", ""),
    ],
    "indowave": [
        ("01-03-02-01.wav", "surprised", "01", "male", ""),
        ("10-05-01-03.wav", "disappointed", "10", "female", ""),
    ],
    "jl-corpus": [
        (
            "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/female1_angry_10a_1.wav",
            "angry",
            "female1",
            "female",
            "10",
        ),
        (
            "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/male2_anxious_3b_2.wav",
            "anxious",
            "male2",
            "male",
            "3",
        ),
    ],
    "jvnv": [("jvnv_v1/F1/anger/F1_anger_regular_01.wav", "angry", "F1", "female", "anger regular 01")],
    "librispeech": [("train-clean-100/103/1240/103-1240-0000.flac", "read", "103", "", "")],
    "meld": [
        ("MELD.Raw/train_splits/dia0_utt0.mp4", "neutral", "Chandler", "", "I was the point person"),
        ("MELD.Raw/dev_splits_complete/dia0_utt0.mp4", "surprised", "Phoebe", "", "Oh my God, he's lost it."),
        ("MELD.Raw/output_repeated_splits_test/dia0_utt0.mp4", "happy", "Mark", "", "Why do all you're coffee mugs"),
    ],
    "mesd": [
        ("Anger_C_A_abajo.wav", "angry", "", "", "abajo"),
        ("Happiness_M_B_adios.wav", "happy", "", "male", "adios"),
    ],
    "nemo": [("samples/WR0_anger_1.wav", "angry", "WR0", "female", "Kot.")],
    "oreau": [
        ("OréauFR_01/m/sessc/01b02Ca.wav", "angry", "01", "male", "b02"),
        ("OréauFR_01/f/sessd/12a03Tb.wav", "sad", "12", "female", "a03"),
    ],
    "polish-emotions": [
        ("m1.a_nie_2.wav", "angry", "m1", "male", "nie"),
        ("m5.s_trzymaj_5.wav", "fearful", "m5", "male", "trzymaj"),
    ],
    "portuguese": [
        ("12sA_angry1.wav", "angry", "A", "female", "12s"),
        ("3pB_surprise2.wav", "surprised", "B", "female", "3p"),
    ],
    "ravdess": [("Actor_12/03-01-06-02-02-01-12.wav", "fearful", "12", "female", "Dogs are sitting by the door")],
    "ravdess-both": [
        ("Actor_12/03-01-06-02-02-01-12.wav", "fearful", "12", "female", "Dogs are sitting by the door"),
        ("Actor_12/03-02-06-02-02-01-12.wav", "fearful", "12", "female", "Dogs are sitting by the door"),
    ],
    "ravdess-song": [("Actor_01/03-02-05-02-01-01-01.wav", "angry", "01", "male", "Kids are talking by the door")],
    "savee": [
        ("AudioData/DC/a01.wav", "angry", "DC", "male", ""),
        ("AudioData/KL/su15.wav", "surprised", "KL", "male", ""),
        ("AudioData/JE/n30.wav", "neutral", "JE", "male", ""),
        ("ALL/JK_sa02.wav", "sad", "JK", "male", ""),
    ],
    "shemo": [("female/F01A01.wav", "angry", "F01", "female", ""), ("male/M56W03.wav", "surprised", "M56", "male", "")],
    "subesco": [
        ("SUBESCO/F_01_OISHI_S_10_HAPPY_5.wav", "happy", "F01", "female", "10"),
        ("SUBESCO/M_10_RASEL_S_2_FEAR_1.wav", "fearful", "M10", "male", "2"),
        ("SUBESCO/F_02_MONIKA_S_2_SURPRISE_3].wav", "surprised", "F02", "female", "2"),
    ],
    "tess": [
        ("OAF_Pleasant_surprise/OAF_back_ps.wav", "surprised", "OAF", "female", "back"),
        ("OAF_neutral/OA_bite_neutral.wav", "neutral", "OAF", "female", "bite"),
        ("YAF_fear/YAF_dog_fear.wav", "fearful", "YAF", "female", "dog"),
    ],
    "thorsten-emotional": [
        ("thorsten-emotional_v02/angry/0123abcd.wav", "angry", "thorsten", "male", "0123abcd"),
        ("thorsten-emotional_v02/disgusted/0123abcd.wav", "disgust", "thorsten", "male", "0123abcd"),
    ],
    "turev-db": [("Sound Source/Angry/1157_kz_acik.wav", "angry", "1157", "", "kz_acik")],
    "urdu": [
        ("Angry/SM1_F10_A010.wav", "angry", "SM1", "male", ""),
        ("Neutral/SF11_F2_N06.wav", "neutral", "SF11", "female", ""),
    ],
    "vivae": [
        ("VIVAE/full_set/S01_achievement_low_01.wav", "achievement", "S01", "", ""),
        ("VIVAE/full_set/S11_fear_peak_06.wav", "fearful", "S11", "", ""),
    ],
}
#: Tables that lie in the archives beside the recordings.
TABLES = {
    "nemo": {
        "data.tsv": "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"
        "WR0_anger_1.wav\tanger\tKot.\tkot\t  WR0\tfemale\t23\n"
    },
    "emozionalmente": {
        "metadata/samples.csv": "file_name,actor,sentence,emotion_expressed\n111.wav,ana,Una frase.,joy\n"
        "222.wav,bob,Altra.,neutrality\n",
        "metadata/users.csv": "username,gender,age\nana,female,30\nbob,male,40\n",
    },
    "meld": {
        f"MELD.Raw/{part}_sent_emo.csv": "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID\n" + row
        for part, row in (
            ("train", "1,I was the point person,Chandler,neutral,neutral,0,0\n"),
            ("dev", '1,"Oh my God, he\'s lost it.",Phoebe,surprise,negative,0,0\n'),
            ("test", "1,Why do all you're coffee mugs,Mark,joy,positive,0,0\n"),
        )
    },
}
NAMES = sorted(OFFICIAL)
DETECTED = [name for name in NAMES if card(name).reader.detect and name != "ravdess-both"]


def official(root: Path, name: str, change: str = "") -> Path:
    """Make a tree like the official one; `change` turns its names into those that people have."""
    for table, text in TABLES.get(name, {}).items():
        (root / table).parent.mkdir(parents=True, exist_ok=True)
        write(root / table, text)
    return tree(root, *(renamed(file, change) for file, *_ in OFFICIAL[name]))


def renamed(file: str, change: str) -> str:
    path = PurePosixPath(file)
    if change == "flac":
        return str(path.with_name(f"{path.name.removesuffix(path.suffix)}.flac"))
    if change == "upper":
        return str(path.parent / path.name.upper())
    return file


def told(corpus: Corpus) -> set[tuple[str, ...]]:
    rows = corpus.table[["label", "speaker", "sex", "text"]].itertuples(index=False, name=None)
    return {tuple(str(cell).casefold() for cell in row) for row in rows}


def expected(name: str) -> set[tuple[str, ...]]:
    prefix = card(name).speakers_of or name
    return {
        tuple(one.casefold() for one in (label, speaker and f"{prefix}/{speaker}", sex, text))
        for _, label, speaker, sex, text in OFFICIAL[name]
    }


def test_every_corpus_is_tested() -> None:
    assert sorted(cards()) == NAMES
    assert len(cards()) >= 30


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", ["", "flac", "upper"])
def test_official_trees_are_read(tmp_path: Path, name: str, change: str) -> None:
    root = official(tmp_path / "renamed by its owner" / name, name, change)
    corpus = load(name, root)
    assert told(corpus) == expected(name)
    assert not corpus.skipped
    assert len(corpus.table) == len(OFFICIAL[name])


@pytest.mark.parametrize("name", NAMES)
def test_doubled_folders_and_strangers_are_left_out(tmp_path: Path, name: str) -> None:
    root = official(tmp_path, name)
    copies = [f"again/{file}" for file, *_ in OFFICIAL[name]]
    tree(root, *copies, "notes/interview.wav", "._a.wav")
    corpus = load(name, root)
    assert told(corpus) == expected(name)
    left_out = reasons(corpus)
    assert set(left_out.pop("second copies of a clip", ())) == set(copies)
    assert left_out.pop("macOS resource forks, not recordings") == ("._a.wav",)
    ((reason, files),) = left_out.items()
    assert re.match("not named like|not listed in", reason)
    assert files == ("notes/interview.wav",)


@pytest.mark.parametrize("name", DETECTED)
def test_the_corpus_in_a_folder_is_detected(tmp_path: Path, name: str) -> None:
    assert detect(official(tmp_path, name)) == name
    assert find(tmp_path) == [(name, tmp_path)]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_there_is_an_error_of_one_line(tmp_path: Path, name: str) -> None:
    for root in (tmp_path / "gone", tree(tmp_path / "other", "talk/interview.wav")):
        with pytest.raises(CorpusError) as caught:
            load(name, root)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_keys_tell_clips_apart_whatever_their_format(name: str) -> None:
    one = card(name)
    files = [PurePosixPath(file) for file, *_ in OFFICIAL[name]]
    keys = [key(one, file) for file in files]
    assert len(set(keys)) == len(keys)
    assert keys == [key(one, PurePosixPath(renamed(str(file), "flac"))) for file in files]
    assert keys == [key(one, PurePosixPath(renamed(str(file), "upper"))) for file in files]


def test_no_name_is_taken_for_another_corpus() -> None:
    for name in DETECTED:
        for file, *_ in OFFICIAL[name]:
            assert kind_of(PurePosixPath(file)) in ({name} if not card(name).reader.listing else {None}), file


def test_four_classic_corpora_in_one_folder(tmp_path: Path) -> None:
    classic = ("ravdess", "tess", "crema-d", "savee")
    for name in classic:
        tree(
            tmp_path,
            *(
                Path(file).name
                for file, *_ in OFFICIAL[name]
                if "/DC/" not in file and "/KL/" not in file and "/JE/" not in file
            ),
        )
    assert find(tmp_path) == [(name, tmp_path) for name in sorted(classic)]
    for name in classic:
        corpus = load(name, tmp_path)
        others = set(reasons(corpus))
        assert others == {f"named like another corpus, {other}" for other in classic if other != name}


@pytest.mark.parametrize("one", cards().values(), ids=NAMES)
def test_cards_are_whole(one: Card) -> None:
    assert one.licence
    assert one.citation
    assert one.url.startswith("http")
    assert all(len(language) == 2 for language in one.languages)
    assert all(label == canonical(label) for label in one.labels)
    assert one.use != "any" or "NC" not in one.licence
    for remote in one.remotes:
        assert remote.url.startswith(("http://", "https://"))
        assert remote.source
        assert not remote.md5 or re.fullmatch("[0-9a-f]{32}", remote.md5)
        assert not remote.sha256 or re.fullmatch("[0-9a-f]{64}", remote.sha256)
    assert one.clips or not one.labels
    assert set(one.reader.kinds.values()) <= set(cards())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense = 1", "nonsense"),
        ("clips = ", "Invalid value"),
        ("clips = 3\nlabels = { sad = 2 }", "the labels add up to 2, not to 3 clips"),
        ("per_speaker = 3\nspeakers = 2\nclips = 5", "clips of each speaker"),
        ("[reader]\nexample = 'x'\npatterns = ['(']", "patterns"),
    ],
)
def test_a_wrong_card_is_refused_in_one_line(text: str, message: str) -> None:
    strings = dict.fromkeys(("title", "licence", "how", "citation", "url"), "x") | {"style": "acted", "use": "any"}
    whole = "".join(f"{key} = {value!r}\n" for key, value in {**strings, "access": "page"}.items()) + "languages = []\n"
    end = "" if "[reader]" in text else "\n[reader]\nexample = 'x'"
    with pytest.raises(CorpusError, match=re.escape(message)) as caught:
        module._load("x", whole + text + end)
    assert "\n" not in str(caught.value)


def test_list_and_info_for_people_and_machines() -> None:
    run = CliRunner()
    listed = run.invoke(app, ["data", "list"])
    assert listed.exit_code == 0
    assert all(re.search(rf"^{name} ", listed.output, re.MULTILINE) for name in NAMES)
    found = json.loads(run.invoke(app, ["data", "list", "--open", "-l", "de", "--json"]).output)
    assert [one["name"] for one in found] == ["emodb", "thorsten-emotional"]
    assert all(one["open"] for one in found)
    shown = run.invoke(app, ["data", "info", "tess"]).output
    assert "OA_bite_neutral" in shown
    assert "speakers on both sides" in shown
    assert json.loads(run.invoke(app, ["data", "info", "tess", "--json"]).output)["clips"] == 2800
    wrong = run.invoke(app, ["data", "info", "tes"])
    assert wrong.exit_code == 2 or isinstance(wrong.exception, CorpusError)


def test_the_pages_say_what_the_cards_say() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "scripts" / "corpora_tables.py"], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr
