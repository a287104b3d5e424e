"""A `Trainer` that pushes as `ladnn push` does: our card, the core's source, private, and no pickle."""

import warnings
from pathlib import Path

from transformers import Trainer
from transformers.trainer_utils import HubStrategy

from .hub import check_push, check_repo_id
from .model_push import push_checkpoint, push_model
from .uploads import Commit, Place


class HubTrainer(Trainer):
    """`Trainer` whose `push_to_hub=True` sends what others load, and not what it would send itself.

    It heeds these of `TrainingArguments`: `hub_model_id`, which must be `OWNER/NAME`; `hub_strategy`, whose
    checkpoints go without the optimizer's state, which torch pickles; `hub_revision`, a branch; and
    `hub_private_repo`: public if it is False. A push in the middle of a run that fails is said, and the
    run goes on; the next push completes it.

    Raises:
        ValueError: The repository's name, the token or the Hub does not allow a push.
    """

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Ask the Hub whether a push can go well, before anything is trained for it."""
        if token or self.args.hub_token:
            raise ValueError(
                "expected the token from `hf auth login` or HF_TOKEN, found one among the arguments; leave "
                "it out, since arguments are written down."
            )
        self.hub_model_id = self.args.hub_model_id or ""
        check_repo_id(self.hub_model_id)
        self._place = Place(branch=self.args.hub_revision)
        if self.is_world_process_zero():
            check_push(self.hub_model_id, "model", self._public)

    def push_to_hub(self, *_: object, **__: object) -> Commit | None:
        """Save the model, and push what the output folder holds of it; None in all processes but one."""
        if self.hub_model_id is None:
            self.init_hf_repo()
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        commit, lacks = push_model(
            self.args.output_dir, self.hub_model_id, place=self._place, public=self._public
        )
        for lack in lacks:
            warnings.warn(lack, stacklevel=2)
        return commit

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        strategy, checkpoint = self.args.hub_strategy, Path(checkpoint_folder)
        if strategy == HubStrategy.END or not self.is_world_process_zero():
            return
        names = {HubStrategy.CHECKPOINT: "last-checkpoint", HubStrategy.ALL_CHECKPOINTS: checkpoint.name}
        try:
            push_checkpoint(
                checkpoint,
                self.hub_model_id,
                keep_as=names.get(strategy),
                place=self._place,
                public=self._public,
            )
        except ValueError as error:
            warnings.warn(str(error), stacklevel=2)

    @property
    def _public(self) -> bool:
        return self.args.hub_private_repo is False
