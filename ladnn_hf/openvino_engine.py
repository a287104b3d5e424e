"""Runs an export, ONNX or OpenVINO's own, by OpenVINO on the CPU, in float32."""

import copy
import sys
from pathlib import Path

import numpy as np

from .network_output import NetworkOutput

# OpenVINO tells Google Analytics of each import by a package of its own, unless that is not there.
sys.modules.setdefault("openvino_telemetry", None)

import openvino  # noqa: E402
from openvino.frontend import FrontEndManager, GeneralFailure  # noqa: E402

ERRORS = (GeneralFailure, RuntimeError, LookupError, TypeError, ValueError)
"""What OpenVINO raises on files that are not what they say, and on slices of another shape."""
_FORMATS = {".onnx": "onnx", ".xml": "ir"}


class OpenVinoEngine:
    """A compiled OpenVINO model; see `Engine`.

    Args:
        path: The export.
        cores: Cores that it runs on.

    Raises:
        ERRORS: It is no export.
    """

    name = "openvino"

    def __init__(self, path: Path, cores: int):
        # `Core.read_model` would try one format after the other, and print what each has against the file.
        reader = FrontEndManager().load_by_framework(_FORMATS[path.suffix])
        self._model = reader.convert(reader.load(str(path)))
        self._model.input("pixel_values")  # an empty file is a model without any
        self._cores = cores
        self._compile(streams=1)
        # Where OpenVINO keeps the metadata of an ONNX file, in its own format too.
        kept = self._model.has_rt_info("framework")
        self.provenance: dict[str, str] = self._model.get_rt_info("framework").value if kept else {}

    def __call__(self, pixel_values: np.ndarray) -> NetworkOutput:
        """See `Engine`."""
        expected, found = self._model.input("pixel_values").partial_shape, pixel_values.shape
        if not expected.compatible(openvino.PartialShape(list(found))):  # it answers with no slices at all
            raise ValueError(f"it takes slices of shape {expected}, not {found}")
        try:
            request = self._idle.pop()
        except IndexError:  # all that there are answer on other threads
            request = self._compiled.create_infer_request()
        answers = request.infer(pixel_values)  # copies, so that the request may go on
        self._idle.append(request)
        return NetworkOutput.of_export({output.get_any_name(): answers[output] for output in answers})

    def one_core_a_call(self) -> "OpenVinoEngine":
        """See `Engine`."""
        engine = copy.copy(self)
        engine._compile(streams=self._cores)
        return engine

    def _compile(self, streams: int) -> None:
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the CPU has it
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": self._cores,
            "ENABLE_CPU_PINNING": False,  # else two processes share a core and leave another idle
        }
        self._compiled = openvino.Core().compile_model(self._model, "CPU", settings)
        self._idle: list[openvino.InferRequest] = []
