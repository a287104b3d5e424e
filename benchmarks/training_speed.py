"""How many slices a second training takes, against the published loop, as ratios of one run.

python benchmarks/training_speed.py covid_ct --backbone densenet169

The published loop decodes every slice in every epoch with Pillow, changes each by torchvision, computes in
float32 with the default memory layout, and goes through the batch for the loss. Ours is `ladnn train` with
the published recipe, nothing frozen. Each has a process of its own; they take turns, so that whatever else
the machine does meets both. Core-seconds are what all threads worked; the physical limit is the multiply-adds
of a slice, forward and backward, at the pace of a matrix product in the precision used.

Set OMP_WAIT_POLICY=passive where the machine has other work, or threads that wait count as working.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median

SIZE, BATCH = 224, 32
MATRIX = 2048


class Turns:
    """Runs blocks of steps when told to, and tells what each took."""

    def __init__(self, pipe: Connection, steps: int, dtype: str):
        import torch

        self.pipe, self.steps, self.done = pipe, steps, 0
        self.factors = [torch.randn(MATRIX, MATRIX, dtype=getattr(torch, dtype)) for _ in range(2)]

    def step(self) -> None:
        """Count a step; at the end of a block tell its time, and wait for the next turn."""
        if self.done % self.steps == 0:
            if self.done:
                seconds, worked = time.perf_counter() - self.begin[0], time.process_time() - self.begin[1]
                self.pipe.send((seconds, worked, self.multiply_adds()))
            self.pipe.recv()
            self.begin = time.perf_counter(), time.process_time()
        self.done += 1

    def multiply_adds(self) -> float:
        """Those a core-second of the matrix product, at its best of five."""
        times = []
        for _ in range(5):
            begin = time.process_time()
            self.factors[0] @ self.factors[1]
            times.append(time.process_time() - begin)
        return MATRIX**3 / min(times)


def published(pipe: Connection, dataset: str, backbone: str, steps: int) -> None:
    """The published loop."""
    import timm
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits
    from torchvision import transforms

    from ladnn_hf.slice_dataset import NO_LESIONS, load_slices

    torch.manual_seed(0)
    rows = load_slices(dataset)["train"]
    change = transforms.Compose(
        [
            transforms.Resize((SIZE, SIZE)),
            transforms.RandomAffine(0, shear=11.3, scale=(0.8, 1.2)),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )

    class Slices(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(rows)

        def __getitem__(self, index: int) -> tuple:
            row = rows[index]
            labels = torch.tensor([row["label"], *(row["lesions"] or NO_LESIONS)])
            return change(row["image"].convert("RGB")), labels

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        total = 0.0
        for one, target in zip(logits, labels, strict=True):
            total = total + 5 * binary_cross_entropy_with_logits(one[0], target[0])
            for column in range(1, len(one)):
                if not target[column].isnan():
                    total = total + binary_cross_entropy_with_logits(one[column], target[column])
        return total / labels.numel()

    network = timm.create_model(backbone, num_classes=6).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-5, weight_decay=5e-4)
    turns = Turns(pipe, steps, "float32")

    def batches() -> Iterator:
        while True:
            yield from torch.utils.data.DataLoader(Slices(), BATCH, shuffle=True, drop_last=True)

    turns.step()
    for pictures, labels in batches():
        optimizer.zero_grad()
        loss(network(pictures), labels).backward()
        optimizer.step()
        turns.step()


def ours(pipe: Connection, dataset: str, backbone: str, steps: int) -> None:
    """`ladnn train`; precision and all else as it chooses."""
    import torch
    from transformers import TrainerCallback, trainer

    from ladnn_hf.recipes import parse_arguments
    from ladnn_hf.training import train

    with tempfile.TemporaryDirectory() as folder:
        flags = [
            *(
                "--dataset",
                dataset,
                "--output_dir",
                folder,
                "--recipe",
                "published",
                "--disable_tqdm",
                "True",
            ),
            *(
                "--backbone",
                backbone,
                "--backbone_weights",
                "none",
            ),
            *("--image_size", str(SIZE)),
            *("--per_device_train_batch_size", str(BATCH), "--dataloader_drop_last", "True"),
            *("--num_train_epochs", "1000", "--eval_strategy", "no", "--save_strategy", "no"),
        ]
        slices, arguments = parse_arguments(flags)
        turns = Turns(pipe, steps, "bfloat16" if arguments.bf16 else "float32")

        class TakeTurns(TrainerCallback):
            def on_train_begin(self, *_: object, **__: object) -> None:
                turns.step()

            def on_step_end(self, *_: object, **__: object) -> None:
                turns.step()

        trainer.DEFAULT_CALLBACKS.append(TakeTurns)
        torch.manual_seed(0)
        train(slices, arguments, flags)


def multiply_adds(backbone: str) -> float:
    """Those of one slice: forward, the gradient of the inputs, and that of the weights."""
    import timm
    import torch

    network, found = timm.create_model(backbone, num_classes=6).eval(), []

    def count(layer: torch.nn.Module, _: tuple, outputs: torch.Tensor) -> None:
        found.append(outputs.numel() * layer.weight[0].numel())

    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 3, SIZE, SIZE))
    return 3 * sum(found)


def main() -> None:
    """Take turns and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", help="folder that `ladnn data build` wrote")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--steps", type=int, default=4, help="steps of a block")
    parser.add_argument("--blocks", type=int, default=6, help="blocks of each; the first is not counted")
    arguments = parser.parse_args()
    context = get_context("spawn")
    loops: dict[Callable, Connection] = {}
    processes = []
    for loop in (published, ours):
        loops[loop], there = context.Pipe()
        given = (there, arguments.dataset, arguments.backbone, arguments.steps)
        processes.append(context.Process(target=loop, args=given, daemon=True))
        processes[-1].start()
    found: dict[Callable, list] = {loop: [] for loop in loops}
    for block in range(arguments.blocks):
        for loop in list(loops)[:: 1 if block % 2 else -1]:
            loops[loop].send("go")
            found[loop].append(loops[loop].recv())
            print(loop.__name__, block, *found[loop][-1], file=sys.stderr, flush=True)
    for process in processes:
        process.kill()
    slices, work = BATCH * arguments.steps, multiply_adds(arguments.backbone)
    print(f"{arguments.backbone}, {work / 1e9:.2f} thousand million multiply-adds a slice, batch {BATCH}\n")
    print("| | slices a second | a core-second | physical limit a core-second | share of it |")
    print("|---|---|---|---|---|")
    pace = {}
    for loop, blocks in found.items():
        seconds, worked, rate = (median(column) for column in zip(*blocks[1:], strict=True))
        pace[loop] = slices / seconds, slices / worked
        limit = rate / work
        numbers = f"{pace[loop][0]:.1f} | {pace[loop][1]:.1f} | {limit:.1f} | {pace[loop][1] / limit:.0%}"
        print(f"| {loop.__name__} | {numbers} |")
    ratios = [mine / theirs for mine, theirs in zip(pace[ours], pace[published], strict=True)]
    print(f"| ratio | {ratios[0]:.2f} | {ratios[1]:.2f} | | |")


if __name__ == "__main__":
    main()
