import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import run_ladnn, run_ladnn_alone, run_python

from ladnn_hf import Predictor
from ladnn_hf.engines import ENGINES
from ladnn_hf.model_folder import BUNDLED


@pytest.fixture
def exported(micro_folder, tmp_path):
    """Gives a micro model exported in a format."""

    def export(form):
        folder = tmp_path / form
        if not folder.exists():
            result = run_ladnn("export", "--format", form, "--model", micro_folder, "--output", folder)
            assert result.returncode == 0, result.stderr
        return folder

    return export


def test_every_engine_answers_the_same(exported, micro_folder, phantom):
    expected = Predictor(micro_folder, engine="torch")(phantom)
    for form, engine in (("onnx", "onnxruntime"), ("onnx", "openvino"), ("openvino", "openvino")):
        answer = Predictor(exported(form), engine=engine)(phantom)
        assert answer.covid_probability == pytest.approx(expected.covid_probability, abs=1e-4)
        assert answer.lesions == pytest.approx(expected.lesions, abs=1e-4)
        assert np.abs(answer.maps - expected.maps).max() < 1e-4


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_engine_is_chosen_by_name_and_loads_no_other(engine, phantom, tmp_path):
    phantom.save(tmp_path / "slice.png")
    code = """
import sys
from concurrent.futures import ThreadPoolExecutor
from ladnn_hf.cli import main
assert main(["predict", sys.argv[1], "--engine", sys.argv[2]]) == 0
print(*({"torch", "timm", "onnxruntime", "openvino"} & set(sys.modules)))
"""
    result = run_python(code, tmp_path / "slice.png", engine)
    assert result.stdout.splitlines()[-1] == engine, result.stderr


def test_without_a_name_the_first_that_is_installed_answers(phantom, tmp_path):
    phantom.save(tmp_path / "slice.png")
    code = """
import sys
from concurrent.futures import ThreadPoolExecutor
for missing in sys.argv[2:]:
    sys.modules[missing] = None
from ladnn_hf import Predictor
assert Predictor()(sys.argv[1]).covid_probability
print(*(name for name in ("openvino", "onnxruntime", "torch") if sys.modules.get(name)))
"""
    for missing, engine in (([], "openvino"), (["openvino"], "onnxruntime")):
        result = run_python(code, tmp_path / "slice.png", *missing)
        assert result.stdout.split() == [engine], result.stderr


def test_an_answer_by_openvino_tells_nobody_and_leaves_nothing_in_the_home_folder(phantom, tmp_path):
    phantom.save(tmp_path / "slice.png")
    (tmp_path / "home").mkdir()
    answer = "import sys; from ladnn_hf import Predictor; Predictor(engine='openvino')(sys.argv[1])"
    result = run_python(answer, tmp_path / "slice.png", env={"HOME": str(tmp_path / "home")})
    assert result.returncode == 0, result.stderr
    assert not list((tmp_path / "home").iterdir()), "its telemetry keeps an identity there"


def test_an_engine_that_cannot_run_a_model_is_one_sentence(
    exported, micro_folder, phantom, tmp_path, monkeypatch
):
    phantom.save(tmp_path / "slice.png")
    alone = tmp_path / "alone"
    shutil.copytree(exported("openvino"), alone)
    (alone / "model.safetensors").unlink()
    monkeypatch.setitem(sys.modules, "openvino", None)
    for model, engine, sentence in (
        (micro_folder, "abacus", "expected an engine of openvino, onnxruntime, torch, found 'abacus'"),
        (micro_folder, "onnxruntime", "expected model.onnx, which onnxruntime runs, found none"),
        (BUNDLED, "openvino", "expected the package openvino, found it not installed; run `pip install"),
        (alone, "openvino", "expected the package openvino, found it not installed; run `pip install"),
    ):
        result = run_ladnn("predict", tmp_path / "slice.png", "--model", model, "--engine", engine)
        assert (result.returncode, result.stdout) == (2, "")
        assert sentence in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_a_model_whose_engine_is_missing_is_answered_by_pytorch_from_its_weights(
    exported, phantom, monkeypatch
):
    folder = exported("openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert Predictor(folder)(phantom).covid_probability


@pytest.mark.parametrize(("form", "name"), [("onnx", "model.onnx"), ("openvino", "openvino_model.xml")])
@pytest.mark.parametrize("content", [b"", b"no export"])
def test_an_export_that_openvino_cannot_read_is_one_sentence(
    exported, phantom, tmp_path, form, name, content
):
    (exported(form) / name).write_bytes(content)
    phantom.save(tmp_path / "slice.png")
    result = run_ladnn_alone(
        "predict", tmp_path / "slice.png", "--model", exported(form), "--engine", "openvino"
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert f"found a broken one; run `ladnn export --format {form}` again" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_an_openvino_export_of_other_weights_is_refused(exported):
    config = json.loads((exported("openvino") / "config.json").read_text())
    (exported("openvino") / "config.json").write_text(json.dumps(config | {"temperature": 3.0}))
    with pytest.raises(ValueError, match="found one of others; run `ladnn export --format openvino`"):
        Predictor(exported("openvino"), engine="openvino")


def test_an_openvino_export_holds_no_path_of_the_machine_that_made_it(exported, tmp_path):
    written = (exported("openvino") / "openvino_model.xml").read_bytes()
    assert b"site-packages" not in written and str(tmp_path).encode() not in written


def test_several_threads_may_ask_at_once(phantom):
    slices = [phantom.rotate(angle) for angle in range(12)]
    for engine in ENGINES:
        predictor = Predictor(engine=engine)
        with ThreadPoolExecutor(4) as pool:
            at_once = [answer.covid_probability for answer in pool.map(predictor, slices)]
        assert at_once == pytest.approx([predictor(one).covid_probability for one in slices], abs=1e-5)
