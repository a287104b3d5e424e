"""The joint loss of LA-DNN: the diagnosis and five lesions, where a label that is missing is NaN."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def joint_loss(
    covid_logits: Tensor,
    lesion_logits: Tensor,
    labels: Tensor,
    lesion_labels: Tensor | None = None,
    covid_weight: float = 5.0,
    count: int | Tensor | None = None,
) -> Tensor:
    """Mean over six columns (COVID, five lesions) of the binary cross-entropy, COVID weighted.

    A lesion column counts only for a slice whose label there is not NaN: negatives and positives
    without a report train the COVID column alone (Liu et al., medRxiv 10.1101/2020.05.11.20097907,
    and its published code). The mean divides by all entries, missing ones included, as published,
    so that a lesion label weighs the same in every batch.

    Args:
        covid_logits: (N,), the logit of COVID.
        lesion_logits: (N, L), the logits of the lesions.
        labels: (N,), 0 NonCOVID, 1 COVID.
        lesion_labels: (N, L), 0 absent, 1 present, NaN no label; None when nothing is labelled.
        covid_weight: Weight of the COVID column.
        count: Slices that the mean is over: N, unless these are a part of a larger batch.

    Returns:
        The loss, a scalar.

    Raises:
        ValueError: A label tensor has another shape than its logits, or values outside [0, 1].
    """
    if lesion_labels is None:
        lesion_labels = torch.full_like(lesion_logits, torch.nan)
    for name, target, logits in (
        ("labels", labels, covid_logits),
        ("lesion_labels", lesion_labels, lesion_logits),
    ):
        if target.shape != logits.shape:
            raise ValueError(
                f"LA-DNN expects `{name}` of shape {tuple(logits.shape)}, found "
                f"{tuple(target.shape)}; give one class index a slice and five lesion values, NaN "
                "where there is no label."
            )
        if ((target < 0) | (target > 1)).any():
            known = target[~target.isnan()]
            raise ValueError(
                f"LA-DNN expects `{name}` from 0 to 1, found {known.min().item():g} to "
                f"{known.max().item():g}; leave slices without a label out."
            )
    logits = torch.cat([covid_logits.unsqueeze(1), lesion_logits], dim=1).float()
    targets = torch.cat([labels.unsqueeze(1).to(logits), lesion_labels.to(logits)], dim=1)
    labelled = ~targets.isnan()
    weight = labelled.to(logits)
    weight[:, 0] *= covid_weight
    # A weight of zero would not hide a NaN, neither here nor in the gradient: fill first.
    loss = binary_cross_entropy_with_logits(logits, targets.nan_to_num(0.0), weight=weight, reduction="sum")
    return loss / (logits.shape[1] * (len(logits) if count is None else count))
