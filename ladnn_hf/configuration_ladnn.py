"""The configuration of LA-DNN: every architectural number and the operating point, checked when made."""

from math import inf
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .labels import CLASSES


@strict
class LaDnnConfig(PreTrainedConfig):
    """Configuration of `LaDnnForImageClassification`.

    Args:
        backbone: Name of any timm image classification model, for example `densenet169` (the
            paper's) or `tf_efficientnet_lite0` (the bundled checkpoint's).
        num_channels: Channels of `pixel_values`. A slice is grey; it is repeated over them, so that
            ImageNet weights fit.
        image_size: Height and width of `pixel_values` in pixels, what the model is exported with.
        dropout: Probability with which a pooled feature is dropped in training, in [0, 1).
        covid_loss_weight: Weight of the COVID column in the joint loss; 5 in the published code.
        temperature: Calibration temperature `T`: the COVID output is divided by it inside the model.
            1 until it is fitted on a validation split.
        threshold: Operating point: COVID probability, in (0, 1), from which a slice is `positive`,
            unless it is indeterminate.
        indeterminate_band: (low, high) around the threshold: from `low` up to, not including, `high` the
            decision is `indeterminate`. None for no such band.
        max_distance: Largest `LaDnnOutput.distance` of a picture that is answered; what lies farther from
            the training slices is refused, and earlier where no lungs are found
            (`picture_checks.limit_of`). 1 once it is fitted; None for no limit.
        gate_sources: Gaussians of training slices, the nearest of which the distance is measured from: one a
            source, and one of all together where there are several.

    Raises:
        ValueError: A number is out of its range.
    """

    model_type = "ladnn"
    # Trainer must not gather maps over a whole evaluation set; metrics need no distance.
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["class_activation_maps", "distance"]

    backbone: str = "tf_efficientnet_lite0"
    num_channels: int = 3
    image_size: int = 224
    dropout: float | int = 0.0
    covid_loss_weight: float | int = 5.0
    temperature: float | int = 1.0
    threshold: float | int = 0.5
    indeterminate_band: list[float | int] | tuple[float | int, ...] | None = None
    max_distance: float | int | None = None
    gate_sources: int = 1

    def __post_init__(self, **kwargs: Any) -> None:
        num_labels = kwargs.pop("num_labels", len(CLASSES))
        if self.id2label is None:
            self.id2label = dict(enumerate(CLASSES))
            self.label2id = {name: index for index, name in self.id2label.items()}
        super().__post_init__(**kwargs)
        for name, holds, expected in (
            ("num_channels", self.num_channels >= 1, "at least 1"),
            ("image_size", self.image_size >= 32, "at least 32"),
            ("dropout", 0 <= self.dropout < 1, "in [0, 1)"),
            ("covid_loss_weight", 0 < self.covid_loss_weight < inf, "above 0"),
            ("temperature", 0 < self.temperature < inf, "above 0"),
            ("threshold", 0 < self.threshold < 1, "in (0, 1)"),
            ("indeterminate_band", self._holds_threshold(), "two numbers with the threshold between"),
            ("max_distance", self.max_distance is None or 0 < self.max_distance < inf, "above 0"),
            ("gate_sources", self.gate_sources >= 1, "at least 1"),
        ):
            if not holds:
                raise ValueError(
                    f"LaDnnConfig expects `{name}` {expected}, found {getattr(self, name)}; "
                    "correct it in the call or in config.json."
                )
        if num_labels != len(CLASSES) or dict(self.id2label) != dict(enumerate(CLASSES)):
            raise ValueError(
                f"LaDnnConfig expects the two classes {CLASSES}, found num_labels={num_labels} and "
                f"id2label={self.id2label}; leave both out."
            )

    def _holds_threshold(self) -> bool:
        band = self.indeterminate_band
        return band is None or (len(band) == 2 and 0 <= band[0] <= self.threshold <= band[1] <= 1)
