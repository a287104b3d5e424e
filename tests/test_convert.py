"""The published authors' checkpoint: read without running it, and the same outputs."""

import re

import pytest
import torch
from conftest import run_ladnn
from torchvision.models import densenet169

from ladnn_hf import LaDnnForImageClassification


@pytest.fixture(scope="module")
def published():
    """A network as the authors trained it, with random weights."""
    torch.manual_seed(0)
    return densenet169(num_classes=6).eval()


def _under_state_dict(state):
    return {"state_dict": state, "epoch": 14}


def _from_several_devices(state):
    return {f"module.{name}": tensor for name, tensor in state.items()}


def _of_an_old_torchvision(state):
    numbered = re.compile(r"(denselayer\d+\.(?:norm|conv))([12])")
    return {numbered.sub(r"\1.\2", name): tensor for name, tensor in state.items()}


@pytest.mark.parametrize("form", [dict, _under_state_dict, _from_several_devices, _of_an_old_torchvision])
def test_a_published_checkpoint_gives_the_same_outputs(published, form, tmp_path):
    torch.save(form(published.state_dict()), tmp_path / "published.pth")
    result = run_ladnn("convert", tmp_path / "published.pth", "--output", tmp_path / "model")
    assert result.returncode == 0, result.stderr
    model = LaDnnForImageClassification.from_pretrained(tmp_path / "model").eval()
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected, output = published(pixels), model(pixel_values=pixels)
    covid = output.logits[:, 1] - output.logits[:, 0]
    torch.testing.assert_close(covid, expected[:, 0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(output.lesion_logits, expected[:, 1:], atol=1e-4, rtol=1e-4)


def test_a_checkpoint_of_another_network_is_refused_and_leaves_nothing(tmp_path):
    torch.save({"classifier.weight": torch.zeros(2, 1664)}, tmp_path / "other.pth")
    result = run_ladnn("convert", tmp_path / "other.pth", "--output", tmp_path / "model")
    assert result.returncode == 1 and not (tmp_path / "model").exists()
    assert "expected the weights of torchvision's DenseNet-169 with six outputs, found" in result.stderr


@pytest.mark.parametrize(
    "content", [b"", b"hi\n", b"\x80\x02garbage", b"PK\x03\x04 no zip", bytes(range(256))], ids=repr
)
def test_a_file_that_is_no_checkpoint_gets_a_sentence(content, tmp_path):
    (tmp_path / "some.pth").write_bytes(content)
    result = run_ladnn("convert", tmp_path / "some.pth", "--output", tmp_path / "model")
    assert result.returncode == 1 and not (tmp_path / "model").exists()
    assert "expected safetensors or a torch state dictionary of tensors alone, found neither" in result.stderr


@pytest.mark.parametrize("content", [[1, 2], 7, {"state_dict": 3}, {"state_dict": ["a"]}, {1: 2}], ids=repr)
def test_what_torch_saved_and_is_no_state_gets_a_sentence(content, tmp_path):
    torch.save(content, tmp_path / "some.pth")
    result = run_ladnn("convert", tmp_path / "some.pth", "--output", tmp_path / "model")
    assert result.returncode == 1 and not (tmp_path / "model").exists()
    assert ": expected " in result.stderr and result.stderr.count("\n") == 1


class _Code:
    def __reduce__(self):
        return (open, ("ran", "w"))


def test_a_checkpoint_that_holds_code_is_refused_without_running_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": _Code()}, "evil.pth")
    result = run_ladnn("convert", "evil.pth", "--output", "model")
    assert result.returncode == 1 and "expected safetensors or a torch state dictionary" in result.stderr
    assert not (tmp_path / "ran").exists() and not (tmp_path / "model").exists()
