"""Runs an ONNX export by ONNX Runtime on the CPU, in float32."""

from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from .network_output import NetworkOutput

ERRORS = (
    state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NoSuchFile,
    state.NotImplemented, state.RuntimeException, KeyError, TypeError, ValueError,
)  # fmt: skip
"""What ONNX Runtime raises on files that are not what they say, and on slices of another shape."""


class OnnxEngine:
    """An ONNX Runtime session; see `Engine`.

    Args:
        path: The export.
        cores: Most cores that a call takes.

    Raises:
        ERRORS: It is no export.
    """

    name = "onnxruntime"

    def __init__(self, path: Path, cores: int):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is said in our words
        options.intra_op_num_threads = cores
        self._path = path
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]
        self.provenance: dict[str, str] = self._session.get_modelmeta().custom_metadata_map

    def __call__(self, pixel_values: np.ndarray) -> NetworkOutput:
        """See `Engine`."""
        answers = self._session.run(None, {"pixel_values": pixel_values})
        return NetworkOutput.of_export(dict(zip(self._names, answers, strict=True)))

    def one_core_a_call(self) -> "OnnxEngine":
        """See `Engine`."""
        return OnnxEngine(self._path, cores=1)
