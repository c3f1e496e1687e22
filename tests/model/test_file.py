"""Reading a model file: its card without a session, pickling, nothing sent and nothing written."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emovox import ModelError, session
from emovox.model.file import Model, builtin, load, load_card
from emovox.session import properties, sealed
from tests import CLASSIC, EXAMPLES, ROOT

onnx = pytest.importorskip("onnx")


@pytest.mark.parametrize("name", builtin())
def test_a_card_is_the_same_without_a_session(name: str) -> None:
    assert load_card(name) == load(name).card


@given(entries=st.dictionaries(st.text(max_size=300), st.text(max_size=300), max_size=4), version=st.integers(0, 2**62))
def test_metadata_are_those_that_onnx_reads(entries: dict[str, str], version: int) -> None:
    graph = onnx.helper.make_graph([], "test", [], [], [onnx.helper.make_tensor("x", 1, [3], [0.0, 1.0, 2.0])])
    file = onnx.helper.make_model(graph, model_version=version, doc_string="one")
    onnx.helper.set_model_props(file, entries)
    assert properties(io.BytesIO(file.SerializeToString())) == entries


@given(content=st.binary(max_size=60))
def test_other_bytes_are_refused_or_say_nothing(content: bytes) -> None:
    try:
        properties(io.BytesIO(content))
    except ValueError:
        return
    with pytest.raises(ModelError):
        Model(content, "noise")


def test_a_file_cut_short_is_refused(tmp_path: Path, personal_model: Path) -> None:
    path = tmp_path / "short.onnx"
    path.write_bytes(personal_model.read_bytes()[:-9])
    for read in (load, load_card):
        with pytest.raises(ModelError, match=r"short.onnx is not an ONNX model that can be read"):
            read(path)
    for read in (load, load_card):
        with pytest.raises(ModelError, match=r"no model 'missing\.onnx': give a model.onnx"):
            read("missing.onnx")


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_damaged_bit_anywhere_is_told(personal_model: Path, place: float, bit: int) -> None:
    content = bytearray(personal_model.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    with pytest.raises(ModelError, match=r"anna\.onnx (is damaged|is not an ONNX model|is an ONNX file without)"):
        Model(bytes(content), "anna.onnx")
    content = bytearray(personal_model.read_bytes()[:-83])  # what the seal is about
    content[int(place * len(content))] ^= 1 << bit
    with pytest.raises(ModelError, match=r"is damaged: its content is not what its checksum \(SHA-256\) says"):
        Model(bytes(content) + personal_model.read_bytes()[-83:], "anna.onnx")


def test_a_seal_is_read_as_metadata(personal_model: Path) -> None:
    content = personal_model.read_bytes()
    found = {one.key: one.value for one in onnx.load_from_string(content).metadata_props}
    assert found["emovox.sha256"] == hashlib.sha256(content[:-83]).hexdigest()
    assert content == sealed(content[:-83])


def test_a_session_keeps_nothing_of_the_lengths_that_it_has_heard(personal_model: Path) -> None:
    # With plans of memory a process grows by 14 kB with each new length: 184 MB instead of 126 after 4,000 utterances.
    found = session.open_session(personal_model.read_bytes()).get_session_options()
    assert (found.enable_mem_pattern, found.intra_op_num_threads) == (False, 1)


def test_a_damaged_file_of_the_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SHA256SUMS", "speech/silero/silero_vad_16k_sequence.onnx"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "src" / "emovox" / name, tmp_path / name)
    monkeypatch.setattr(session, "_PACKAGE", tmp_path)
    path = tmp_path / name
    session.open_session(path, "the speech detector")
    content = bytearray(path.read_bytes())
    content[700_000] ^= 4  # a weight: onnxruntime sees nothing wrong in it
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"the speech detector is damaged: .* install emovox again"):
        session.open_session(path, "the speech detector")


def test_the_checksums_of_the_package_are_those_of_its_files() -> None:
    package = ROOT / "src" / "emovox"
    found = {
        path.relative_to(package).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in package.rglob("*.onnx")
    }
    lines = (package / "SHA256SUMS").read_text().splitlines()
    told = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert told == found, "in src/emovox: sha256sum $(git ls-files '*.onnx') > SHA256SUMS"


def test_a_model_pickles_as_its_name(personal_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    shutil.copy(personal_model, path)
    model = load(path)
    sent = pickle.dumps(model)
    assert len(sent) < 1000
    again = pickle.loads(sent)
    samples = np.random.default_rng(0).normal(scale=0.1, size=(2, 8000)).astype(np.float32)
    np.testing.assert_array_equal(again.run(samples).probabilities, model.run(samples).probabilities)
    assert (again.card, again.fingerprint) == (model.card, model.fingerprint)
    path.write_bytes(path.read_bytes() + b"\x08\x08")  # the same model, another file
    with pytest.raises(ModelError, match="is now another model"):
        pickle.loads(sent)
    assert len(pickle.dumps(load(CLASSIC))) < 1000


def test_a_model_of_bytes_pickles_as_bytes(personal_model: Path) -> None:
    model = Model(personal_model.read_bytes(), "memory")
    again = pickle.loads(pickle.dumps(model))
    assert again.fingerprint == model.fingerprint == load(personal_model).fingerprint


def test_nothing_is_written_into_the_home_of_the_user(tmp_path: Path) -> None:
    home = {name: str(tmp_path) for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "LOCALAPPDATA", "USERPROFILE")}
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | home
    code = (
        "import os; from emovox import EmotionRecognizer\n"
        f"EmotionRecognizer({str(CLASSIC)!r}).predict({str(EXAMPLES / 'plain.wav')!r})\n"
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert list(tmp_path.rglob("*")) == []
