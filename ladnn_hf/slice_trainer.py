"""`Trainer` for slices: the joint loss of a step, and the order of an epoch, in one process or several."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from transformers import TrainerCallback

from .augmentation import NOT_COUNTED, SliceDataset
from .distillation import Teachers
from .hub_training import HubTrainer
from .loss_ladnn import joint_loss
from .resuming import room_for_the_run


class EpochCallback(TrainerCallback):
    """Tells the training slices which epoch begins; accelerate does so for a single process alone."""

    def __init__(self, slices: SliceDataset):
        self.slices = slices

    def on_epoch_begin(self, args, state, control, **kwargs) -> None:
        """Called by `Trainer`; after a resume in the middle of an epoch too."""
        self.slices.set_epoch(int(state.epoch))


class EpochOrder(torch.utils.data.Sampler[int]):
    """Every row once an epoch, in an order that is a function of (seed, epoch) alone.

    Args:
        count: Number of rows.
        multiple: The order is filled up to a multiple of it by indices from `count` on, so that processes
            side by side have batches of one size; `SliceDataset` labels those slices as not to be counted.
        seed: Seed of the order.
    """

    def __init__(self, count: int, multiple: int, seed: int):
        self.count = count
        self.filled = -(-count // multiple) * multiple
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.filled

    def __iter__(self) -> Iterator[int]:
        yield from np.random.default_rng((self.seed, self.epoch)).permutation(self.count).tolist()
        yield from range(self.count, self.filled)


class LaDnnTrainer(HubTrainer):
    """`Trainer` with mixup (Zhang et al., ICLR 2018) that leaves missing lesion labels missing.

    The loss of a step is the mean over all its slices: those of every process and of every batch whose
    gradients are accumulated. So more processes with smaller batches change it by no more than rounding,
    unless slices of a batch meet: batch normalisation takes its statistics from the batch of one process,
    of which the first one's are kept for evaluation, and mixup mixes within it.
    """

    loss_is_scaled_for_ga = True

    def __init__(self, *args, mixup: float = 0.0, teachers: Teachers | None = None, **kwargs):
        # Only where there is a function of the loss does Trainer count the slices of a whole step.
        super().__init__(*args, compute_loss_func=joint_loss, **kwargs)
        self.mixup = mixup
        self.teachers = teachers

    def _run_epoch(self, *args, **kwargs) -> None:
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, **kwargs)
        else:  # resumed after its last step, in the middle of an epoch: `Trainer` would take one more
            self.control.should_training_stop = True

    def _save_checkpoint(self, *args, **kwargs) -> None:
        with room_for_the_run(self.args.output_dir):
            super()._save_checkpoint(*args, **kwargs)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The joint loss; in training with mixup, of mixed slices against the labels of both.

        With teachers, what they say of the slices, mixed as they are, stands for the labels of the diagnosis;
        those of the lesions stay.
        """
        if not model.training:
            outputs = model(**inputs)
            return (outputs.loss, outputs) if return_outputs else outputs.loss
        pixel_values, labels, lesions = (inputs[name] for name in ("pixel_values", "labels", "lesion_labels"))
        mixed = [(1.0, labels, lesions)]
        if self.mixup:
            # The global generator's state is in every checkpoint, so a resumed run draws the same.
            share = float(torch.distributions.Beta(self.mixup, self.mixup).sample())
            order = torch.randperm(len(pixel_values)).to(pixel_values.device)
            pixel_values = share * pixel_values + (1 - share) * pixel_values[order]
            mixed = [(share, labels, lesions), (1 - share, labels[order], lesions[order])]
        if self.teachers:
            with torch.no_grad():
                said = self.teachers(pixel_values)
            mixed = [
                (share, torch.where(labels == NOT_COUNTED, labels, said), lesions)
                for share, labels, lesions in mixed
            ]
        outputs = model(pixel_values=pixel_values)
        loss = sum(
            share * self._loss(outputs, labels, lesions, num_items_in_batch)
            for share, labels, lesions in mixed
        )
        return (loss, outputs) if return_outputs else loss

    def _loss(self, outputs, labels: Tensor, lesions: Tensor, slices: Tensor) -> Tensor:
        """What a batch adds to the mean over all slices of a step."""
        counted = labels != NOT_COUNTED
        logits, lesion_logits = outputs.logits[counted], outputs.lesion_logits[counted]
        weight = self.model.config.covid_loss_weight
        covid_logits = logits[:, 1] - logits[:, 0]
        loss = joint_loss(covid_logits, lesion_logits, labels[counted], lesions[counted], weight, slices)
        return loss * self.accelerator.num_processes  # whose gradients are averaged

    def _get_train_sampler(self, train_dataset=None) -> EpochOrder:
        count = len(self.train_dataset if train_dataset is None else train_dataset)
        processes = self.accelerator.num_processes
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return EpochOrder(count, processes * self._train_batch_size if processes > 1 else 1, seed)
