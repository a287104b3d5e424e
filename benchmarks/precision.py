"""What bfloat16 and int8 do to the bundled checkpoint's answers on a validation split.

python benchmarks/precision.py covid_ct
"""

import argparse
import json
import tempfile
from pathlib import Path

import datasets
import numpy as np
import openvino
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from ladnn_hf import LaDnnImageProcessor
from ladnn_hf.decision_ladnn import decide
from ladnn_hf.model_folder import BUNDLED, ONNX
from ladnn_hf.network_output import NetworkOutput
from ladnn_hf.onnx_engine import OnnxEngine
from ladnn_hf.picture_checks import limit_of
from ladnn_hf.preprocessing_ladnn import to_grey, to_probabilities

CALIBRATION = 64
"""Training slices on which int8's ranges are measured."""


class Slices(CalibrationDataReader):
    """Gives slices to ONNX Runtime's quantisation, one at a time."""

    def __init__(self, pixel_values: np.ndarray):
        self._slices = iter(pixel_values)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """See `CalibrationDataReader`."""
        slice_ = next(self._slices, None)
        return None if slice_ is None else {"pixel_values": slice_[np.newaxis]}


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("dataset", help="a data set with the splits train and validation")
splits = datasets.load_from_disk(parser.parse_args().dataset)
config = json.loads((BUNDLED / "config.json").read_text())
processor = LaDnnImageProcessor.from_pretrained(BUNDLED)
pictures = list(splits["validation"]["image"])
held_out = processor(pictures)["pixel_values"]
limits = [limit_of(config["max_distance"], processor.has_lungs(to_grey(picture))) for picture in pictures]
learned = processor(list(splits["train"].shuffle(seed=0).select(range(CALIBRATION))["image"]))["pixel_values"]

with tempfile.TemporaryDirectory() as name:
    prepared, small = Path(name) / "prepared.onnx", Path(name) / "int8.onnx"
    # Symbolic shapes are not inferred through what measures distances.
    quant_pre_process(BUNDLED / ONNX, prepared, skip_symbolic_shape=True)
    quantize_static(prepared, small, Slices(learned), per_channel=True, op_types_to_quantize=["Conv"])
    int8 = OnnxEngine(small, 1)
compiled = openvino.compile_model(BUNDLED / ONNX, "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})


def bfloat16(pixel_values: np.ndarray) -> NetworkOutput:
    """The network in bfloat16."""
    answers = compiled(pixel_values)
    return NetworkOutput.of_export({output.get_any_name(): answers[output] for output in answers})


answers = {}
engines = {"float32": OnnxEngine(BUNDLED / ONNX, 1), "bfloat16": bfloat16, "int8": int8}
for name, engine in engines.items():
    outputs = [engine(slice_[np.newaxis]) for slice_ in held_out]
    covid, lesions = (
        np.concatenate(values)
        for values in zip(*(to_probabilities(one.logits, one.lesion_logits) for one in outputs), strict=True)
    )
    decisions = [
        decide(p, config["threshold"], config["indeterminate_band"])[1]
        if one.distance[0] <= limit
        else "refused"
        for p, one, limit in zip(covid, outputs, limits, strict=True)
    ]
    answers[name] = covid, lesions, np.array(decisions)

print("| | largest change of P(COVID) | median | of a lesion | other decisions |\n|---|---|---|---|---|")
exact = answers.pop("float32")
for name, (covid, lesions, decisions) in answers.items():
    change = np.abs(covid - exact[0])
    print(
        f"| {name} | {change.max():.3f} | {np.median(change):.4f} | {np.abs(lesions - exact[1]).max():.3f} "
        f"| {(decisions != exact[2]).sum()} of {len(decisions)} |"
    )
