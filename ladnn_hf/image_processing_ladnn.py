"""The image processor of LA-DNN: a thin `BaseImageProcessor` around `preprocessing_ladnn`."""

from typing import ClassVar

import numpy as np
from PIL import Image
from transformers import BaseImageProcessor, BatchFeature
from transformers.image_transforms import to_pil_image
from transformers.image_utils import ImageInput, make_flat_list_of_images
from transformers.utils import TensorType

from .labels import LESIONS
from .lungs_ladnn import lung_box
from .preprocessing_ladnn import to_grey, to_pixel_values, to_probabilities


class LaDnnImageProcessor(BaseImageProcessor):
    """Turns chest CT slices into `pixel_values`: grey, one resampling, normalised.

    Args:
        size: `{"height": H, "width": W}` in pixels of the network's input.
        image_mean: Mean for each channel, for pixel values in [0, 1].
        image_std: Standard deviation for each channel, likewise.
        crop_to_lungs: Show the network the box around the lungs alone, and so the same field of view from
            every scanner; a slice in which no lungs are found is shown whole.

    Raises:
        ValueError: `size` is none of at least 32 by 32 pixels, or mean and deviation have different lengths.
    """

    model_input_names: ClassVar[list[str]] = ["pixel_values"]

    def __init__(
        self,
        size: dict[str, int] | None = None,
        image_mean: list[float] | None = None,
        image_std: list[float] | None = None,
        crop_to_lungs: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.image_mean = list(image_mean or [0.5, 0.5, 0.5])
        self.image_std = list(image_std or [0.5, 0.5, 0.5])
        self.crop_to_lungs = crop_to_lungs
        size = {"height": 224, "width": 224} if size is None else size
        named = isinstance(size, dict) and set(size) == {"height", "width"}
        if not named or min(size.values()) < 32:
            raise ValueError(
                "LaDnnImageProcessor expects `size` with height and width, each at least 32 pixels, found "
                f'{size}; write for example {{"height": 224, "width": 224}}.'
            )
        self.size = dict(size)
        if len(self.image_mean) != len(self.image_std):
            raise ValueError(
                "LaDnnImageProcessor expects as many values in `image_std` as in `image_mean`, found "
                f"{len(self.image_std)} and {len(self.image_mean)}; give one for each channel."
            )

    def preprocess(self, images: ImageInput, return_tensors: str | TensorType | None = None) -> BatchFeature:
        """Preprocess one slice or several.

        Args:
            images: PIL images of any mode, or uint8 arrays or tensors.
            return_tensors: `"pt"` for PyTorch, `"np"` or None for numpy.

        Returns:
            `pixel_values`, float32 (N, C, H, W).
        """
        size = (self.size["height"], self.size["width"])
        greys = [to_grey(to_pil_image(image)) for image in make_flat_list_of_images(images)]
        pixel_values = [
            to_pixel_values(grey, size, self.image_mean, self.image_std, self.field_of_view(grey))
            for grey in greys
        ]
        return BatchFeature(
            {"pixel_values": np.stack(pixel_values)}, tensor_type=return_tensors or TensorType.NUMPY
        )

    def field_of_view(self, grey: Image.Image) -> tuple[float, float, float, float] | None:
        """What of a slice the network is shown, and so what its maps are of.

        Args:
            grey: Mode `L`, any size.

        Returns:
            (left, upper, right, lower) in pixels; None for the whole slice.
        """
        return lung_box(grey) if self.crop_to_lungs else None

    def has_lungs(self, grey: Image.Image) -> bool:
        """Whether lungs are found in a picture of mode `L`, or are not looked for."""
        return not self.crop_to_lungs or self.field_of_view(grey) is not None

    def post_process_slices(self, outputs) -> list[dict]:
        """Probabilities of a `LaDnnOutput`, one dictionary a slice; `LaDnnPipeline` also decides.

        Returns:
            `{"covid_probability": p, "lesions": {"GGO": p, ...}}`, each p in [0, 1].
        """
        covid, lesions = to_probabilities(
            outputs["logits"].detach().float().cpu().numpy(),
            outputs["lesion_logits"].detach().float().cpu().numpy(),
        )
        return [
            {"covid_probability": float(p), "lesions": dict(zip(LESIONS, row.tolist(), strict=True))}
            for p, row in zip(covid, lesions, strict=True)
        ]
