"""The commands `ladnn data contributions ...`: arguments and what is printed."""

import argparse
import json
from pathlib import Path

from .command_parsers import add_command


def add_contributions(commands) -> None:
    """Add `contributions` and its own commands to what `add_subparsers` gave."""
    contributions = commands.add_parser(
        "contributions",
        help="curate slices that people contributed",
        description="Curate the slices that people contributed on the page. Each waits until you accept or "
        "reject it. `ladnn data from-folder` reads FOLDER/accepted, where nothing is that still waits.",
        epilog="example: ladnn data contributions FOLDER list",
        allow_abbrev=False,
    )
    contributions.add_argument(
        "folder", type=Path, metavar="FOLDER", help="the folder in which the page keeps them"
    )
    own = contributions.add_subparsers(title="commands", metavar="COMMAND", required=True)

    listing = add_command(
        own,
        "list",
        _list,
        "list them",
        "List all contributions in the order in which they came. Look at a slice in FOLDER before you accept "
        "it: its image lies in waiting/ID.png.",
    )
    listing.add_argument(
        "--format", choices=("table", "json"), default="table", help="table, or one JSON object a line"
    )
    accept = add_command(
        own,
        "accept",
        _accept,
        "accept waiting slices",
        "Move waiting slices to FOLDER/accepted, all that are named or none. "
        "Then: ladnn data from-folder FOLDER/accepted --output DIR",
    )
    _add_ids(accept)
    reject = add_command(
        own,
        "reject",
        _reject,
        "reject slices",
        "Reject waiting or accepted slices, all that are named or none. Their images and texts are deleted, "
        "for good; the same slice is not taken again.",
    )
    _add_ids(reject)
    reject.add_argument("--reason", required=True, metavar="TEXT", help="why; the list keeps it")
    withdraw = add_command(
        own,
        "withdraw",
        _withdraw,
        "withdraw a slice for its contributor",
        "Delete the contribution that a receipt belongs to, as the contributor can on the page: its image, "
        "text and labels, accepted or not. The Hub's copy goes with the next sync.",
    )
    withdraw.add_argument("receipt", metavar="RECEIPT", help="the code that the contributor was given")
    sync = add_command(
        own,
        "sync",
        _sync,
        "sync with the Hub",
        "Bring FOLDER and a private data set of the Hub to the same state, with a token that writes: what "
        "others contributed or withdrew there comes here, what you accepted or rejected here goes there. "
        "FOLDER is made if it is not there, so that you can curate what a Space collects. The history of the "
        "repository keeps what was withdrawn until you squash it (HfApi.super_squash_history).",
        "example: ladnn data contributions FOLDER sync OWNER/contributions",
    )
    sync.add_argument("repo_id", metavar="REPO_ID", help="the data set's name on the Hub, OWNER/NAME")


def _add_ids(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="+", metavar="ID", help="as `list` prints them")


def _store(folder: Path):
    from .contribution_journal import FOLDERS, JOURNAL
    from .contributions import ContributionStore

    # In another folder a store would be made.
    if not any((folder / name).exists() for name in (JOURNAL, *FOLDERS.values())):
        raise ValueError(f"{folder}: expected a folder of contributions, found none; check the name.")
    return ContributionStore(folder)


def _list(arguments: argparse.Namespace, _: list[str]) -> int:
    write = {"table": _table_line, "json": _json_line}[arguments.format]
    for contribution in _store(arguments.folder).entries():
        print(write(contribution))
    return 0


def _table_line(contribution) -> str:
    lesions = [name for name, present in (contribution.lesions or {}).items() if present]
    said = " ".join((contribution.reason or contribution.report).split())[:60]
    synced = "synced" if contribution.synced else "pending"
    return (
        f"{contribution.id}  {contribution.status:9}  {contribution.day:10}  {contribution.label:8}  "
        f"{','.join(lesions) or '-':12}  {synced:7}  {said}"
    ).rstrip()


def _json_line(contribution) -> str:
    keys = ("id", "status", "label", "lesions", "report", "source", "day", "reason", "image", "synced")
    return json.dumps({key: getattr(contribution, key) for key in keys})


def _accept(arguments: argparse.Namespace, _: list[str]) -> int:
    _store(arguments.folder).accept(*arguments.ids)
    print(f"{arguments.folder / 'accepted'}: {len(arguments.ids)} accepted")
    return 0


def _reject(arguments: argparse.Namespace, _: list[str]) -> int:
    _store(arguments.folder).reject(*arguments.ids, reason=arguments.reason)
    print(f"{arguments.folder}: {len(arguments.ids)} rejected and deleted")
    return 0


def _withdraw(arguments: argparse.Namespace, _: list[str]) -> int:
    _store(arguments.folder).withdraw(arguments.receipt)
    print(f"{arguments.folder}: withdrawn and deleted")
    return 0


def _sync(arguments: argparse.Namespace, _: list[str]) -> int:
    from .contribution_sync import HubSync
    from .contributions import ContributionStore
    from .hub import check_push, check_repo_id

    check_repo_id(arguments.repo_id)
    check_push(arguments.repo_id, "dataset", public=False)
    sync = HubSync(ContributionStore(arguments.folder), arguments.repo_id)
    print(f"{arguments.repo_id}: {sync.sync_once()} sent, {sync.pending} pending")
    return 0
