"""The command `ladnn push`: arguments and what is printed; what it does lives in the modules it calls."""

import argparse
import sys

from .command_parsers import add_command


def add_push(commands) -> None:
    """Add `push` to what `add_subparsers` gave."""
    push = add_command(
        commands,
        "push",
        _push,
        "push a model or the page to the Hub",
        "Push a model to the Hugging Face Hub, in one commit: weights, config, processor, their source, "
        "card, report, training metrics and an ONNX export, and no pickle. Each file is listed as new, "
        "changed, same or removed. With --space push the page instead. The repository is made, private, if "
        "it is not there.",
        "examples: ladnn push runs/bundled OWNER/ladnn --tag v1; "
        "ladnn push --space OWNER/ladnn-page --model OWNER/ladnn@v1",
    )
    push.add_argument(
        "folder",
        nargs="?",
        metavar="MODEL",
        help="a model folder, or OWNER/NAME@REVISION on the Hub (default: the bundled checkpoint)",
    )
    push.add_argument("repo_id", metavar="REPO_ID", help="the name on the Hub, OWNER/NAME")
    push.add_argument("--public", action="store_true", help="let everybody see it (default: private)")
    push.add_argument("--dry-run", action="store_true", help="list what would go, and send nothing")
    model = push.add_argument_group("of a model")
    where = model.add_mutually_exclusive_group()
    where.add_argument("--branch", help="push to this branch, which is made if it is not there")
    where.add_argument("--pull-request", action="store_true", help="open a pull request")
    model.add_argument("--tag", help="name the commit so, such as v1; a tag is never moved")
    space = push.add_argument_group("of the page")
    space.add_argument("--space", action="store_true", help="push the page to a Space")
    space.add_argument(
        "--model", metavar="OWNER/NAME@REVISION", help="the model on the Hub that answers there"
    )
    space.add_argument(
        "--collection", metavar="OWNER/NAME", help="a private data set that contributions go to"
    )


def _push(arguments: argparse.Namespace, _: list[str]) -> int:
    commit = _push_space(arguments) if arguments.space else _push_model(arguments)
    return say_commit(commit, arguments.repo_id)


def say_commit(commit, repo_id: str) -> int:
    """Print what a push changes, a file a line, and last where it went; the exit status."""
    for change in commit.changes:
        print(f"{change.state:8} {change.size:>13,} bytes  {change.path}")
    print(commit.url or f"{repo_id}: nothing sent.")
    return 0


def _push_model(arguments: argparse.Namespace):
    from .hub import check_push
    from .uploads import Place

    if arguments.model or arguments.collection:
        arguments.parser.error("--model and --collection go with --space")
    place = Place(arguments.branch, arguments.pull_request, arguments.tag)
    if not arguments.dry_run:  # before torch is imported, which takes seconds
        check_push(arguments.repo_id, "model", arguments.public)

    from transformers.utils import logging

    from .model_push import push_model

    logging.disable_progress_bar()  # of single shards, over in a blink
    commit, lacks = push_model(
        arguments.folder,
        arguments.repo_id,
        place=place,
        public=arguments.public,
        dry_run=arguments.dry_run,
    )
    for lack in lacks:
        print(f"ladnn: {lack}", file=sys.stderr)
    return commit


def _push_space(arguments: argparse.Namespace):
    from .space_push import push_space

    if arguments.folder or arguments.branch or arguments.pull_request or arguments.tag:
        arguments.parser.error("MODEL, --branch, --pull-request and --tag do not go with --space")
    commit = push_space(
        arguments.repo_id,
        model=arguments.model,
        collection=arguments.collection,
        public=arguments.public,
        dry_run=arguments.dry_run,
    )
    if arguments.model or arguments.collection:
        print(
            "ladnn: what is private on the Hub the Space reaches with a token; set it as the secret HF_TOKEN "
            "in the Space's settings.",
            file=sys.stderr,
        )
    return commit
