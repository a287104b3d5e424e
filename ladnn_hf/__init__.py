"""LA-DNN for COVID-19 diagnosis from chest CT, as a Hugging Face model.

For research and teaching, never for diagnosing a patient. Everything public is exported here and
loaded when first used, so that `import ladnn_hf` loads neither torch nor transformers.
"""

import importlib

__version__ = "0.1.0"

_CORE = {
    "LaDnnConfig": "configuration_ladnn",
    "LaDnnForImageClassification": "modeling_ladnn",
    "LaDnnOutput": "modeling_ladnn",
    "joint_loss": "loss_ladnn",
    "LaDnnImageProcessor": "image_processing_ladnn",
    "LaDnnPipeline": "pipeline_ladnn",
}
_EXPORTS = _CORE | {
    "CLASSES": "labels",
    "LESIONS": "labels",
    "LESION_NAMES": "labels",
    "Prediction": "inference",
    "Predictor": "inference",
    "build_covid_ct": "covid_ct",
    "build_from_folder": "from_folder",
    "draw_phantom": "phantoms",
    "grad_cam_plus_plus": "grad_cam",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str):
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _CORE:
        _register_auto_classes()
    value = getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})


def _register_auto_classes() -> None:
    """Let transformers' Auto classes find the model type `ladnn` without remote code."""
    from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification

    from .configuration_ladnn import LaDnnConfig
    from .image_processing_ladnn import LaDnnImageProcessor
    from .modeling_ladnn import LaDnnForImageClassification

    AutoConfig.register(LaDnnConfig.model_type, LaDnnConfig, exist_ok=True)
    AutoModelForImageClassification.register(LaDnnConfig, LaDnnForImageClassification, exist_ok=True)
    AutoImageProcessor.register(
        LaDnnConfig,
        image_processor_classes={"torchvision": LaDnnImageProcessor, "pil": LaDnnImageProcessor},
        exist_ok=True,
    )
