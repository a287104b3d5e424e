import ast
import json
import sys

import pytest
from conftest import ROOT, run_ladnn, run_python

import ladnn_hf


def test_importing_the_package_loads_nothing_heavy():
    heavy = {"torch", "transformers", "gradio", "numpy", "PIL"}
    code = f"import sys, ladnn_hf; print(*({heavy} & set(sys.modules)))"
    said = run_python(code)
    assert (said.returncode, said.stdout.strip()) == (0, ""), said.stderr


def test_help_loads_nothing_heavy_and_names_every_command():
    code = """
import sys
from ladnn_hf.cli import main
try:
    main(["--help"])
finally:
    assert not {"torch", "transformers", "gradio", "datasets", "numpy"} & set(sys.modules)
"""
    said = run_python(code)
    assert said.returncode == 0, said.stderr
    for command in ("predict", "demo", "train", "evaluate", "export", "data"):
        assert f"    {command}" in said.stdout
    assert "never for diagnosing a patient" in " ".join(said.stdout.split())


def test_everything_public_is_exported_and_an_unknown_name_is_an_attribute_error():
    for name in ladnn_hf.__all__:
        assert getattr(ladnn_hf, name) is not None
    assert set(ladnn_hf.__all__) <= set(dir(ladnn_hf))
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = ladnn_hf.nonesuch


def test_the_version_is_printed():
    assert run_ladnn("--version").stdout.strip() == f"ladnn {ladnn_hf.__version__}"


def test_the_portable_core_imports_nothing_but_itself_and_the_declared_libraries():
    core = {path.stem for path in (ROOT / "ladnn_hf").glob("*_ladnn.py")}
    core |= {"attention", "labels", "picture_checks"}
    allowed = {"torch", "timm", "transformers", "huggingface_hub", "numpy", "PIL"} | sys.stdlib_module_names
    assert len(core) == 11
    for name in core:
        for node in ast.walk(ast.parse((ROOT / "ladnn_hf" / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1 and node.module in core, f"{name} imports {node.module}"
            elif isinstance(node, ast.ImportFrom):
                assert node.module.split(".")[0] in allowed, f"{name} imports {node.module}"
            elif isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed, name


def test_the_space_is_whole():
    space = ROOT / "space"
    front_matter = (space / "README.md").read_text().split("---")[1]
    assert "sdk: gradio" in front_matter and "app_file: app.py" in front_matter
    assert "onnxruntime" in (space / "requirements.txt").read_text()
    assert json.loads((space / "examples" / "phantoms.json").read_text())
