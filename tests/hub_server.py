"""A small Hugging Face Hub on 127.0.0.1, on which the real clients try push and pull.

It keeps its state in memory. The clients read HF_ENDPOINT once, when they are imported, so they run in
processes of their own:

    with Hub() as hub:
        run_python(code, env=hub.environment(tmp_path))
        assert "README.md" in hub.files("dataset", "tester/slices")
"""

import base64
import contextlib
import hashlib
import json
import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

import yaml

USER = "tester"
LFS_SUFFIXES = (".bin", ".gif", ".jpeg", ".jpg", ".onnx", ".parquet", ".png", ".safetensors", ".tif", ".webp")
LFS_SIZE = 1_000_000
SPACE_SDKS = ("docker", "gradio", "static", "streamlit")

# Method, path, the method of `Hub` that answers, whether it takes the token that writes. {path} is any number
# of segments, {revision} is one ("refs%2Fpr%2F1"). Who knows where an LFS object goes may put it there.
ROUTES = [
    ("GET", "/api/whoami-v2", "_whoami", False),
    ("POST", "/api/validate-yaml", "_validate_yaml", False),
    ("POST", "/api/repos/create", "_create_repo", True),
    ("DELETE", "/api/repos/delete", "_delete_repo", True),
    ("GET", "/api/{repo}", "_info", False),
    ("GET", "/api/{repo}/revision/{revision}", "_info", False),
    ("GET", "/api/{repo}/tree/{revision}", "_tree", False),
    ("GET", "/api/{repo}/tree/{revision}/{path}", "_tree", False),
    ("POST", "/api/{repo}/paths-info/{revision}", "_paths_info", False),
    ("GET", "/api/{repo}/refs", "_refs", False),
    ("POST", "/api/{repo}/tag/{revision}", "_create_tag", True),
    ("POST", "/api/{repo}/branch/{branch}", "_create_branch", True),
    ("POST", "/api/{repo}/discussions", "_create_discussion", True),
    ("GET", "/api/{repo}/discussions/{number}", "_discussion", False),
    ("POST", "/api/{repo}/variables", "_set_variable", True),
    ("POST", "/api/{repo}/preupload/{revision}", "_preupload", True),
    ("POST", "/api/{repo}/commit/{revision}", "_commit", True),
    ("POST", "/{page}.git/info/lfs/objects/batch", "_lfs_batch", True),
    ("PUT", "/lfs-objects/{ticket}", "_lfs_put", False),
    ("POST", "/lfs-objects/{ticket}/verify", "_lfs_verify", True),
    ("GET", "/{page}/resolve/{revision}/{path}", "_resolve", False),
]
PLACEHOLDERS = {
    "repo": r"(?P<kind>models|datasets|spaces)/(?P<repo_id>[^/]+/[^/]+)",
    "page": r"(?:(?P<kind>datasets|spaces)/)?(?P<repo_id>[^/]+/[^/]+)",
    "path": r"(?P<path>.+)",
}


@dataclass(frozen=True)
class Blob:
    """A file's content, and whether it came by LFS."""

    content: bytes
    is_lfs: bool = False

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def oid(self) -> str:
        """What git calls the file, which for LFS is a pointer to its content."""
        stored = self.pointer if self.is_lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    @property
    def pointer(self) -> bytes:
        size = len(self.content)
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {size}\n".encode()

    @property
    def etag(self) -> str:
        return self.sha256 if self.is_lfs else self.oid

    def lfs(self, name_of_sha256: str) -> dict[str, dict]:
        """What a listing adds for LFS; a tree calls the SHA-256 otherwise than the siblings."""
        lfs = {name_of_sha256: self.sha256, "size": len(self.content), "pointerSize": len(self.pointer)}
        return {"lfs": lfs} if self.is_lfs else {}


@dataclass(frozen=True)
class Commit:
    """A commit with all files of its tree."""

    oid: str
    parent: "Commit | None"
    title: str
    date: str
    files: dict[str, Blob]

    def below(self, path: str) -> dict[str, Blob]:
        """A file, or the files of a folder."""
        return {name: blob for name, blob in self.files.items() if f"{name}/".startswith(f"{path}/")}

    def entries(self, expand: bool) -> dict[str, dict]:
        """What a tree lists, by path: the files and their folders, and when each last changed."""
        folders = {str(folder) for path in self.files for folder in PurePosixPath(path).parents} - {"."}
        entries: dict[str, dict] = {}
        for path in sorted(folders | set(self.files)):
            if blob := self.files.get(path):
                entry = {"type": "file", "oid": blob.oid, "size": len(blob.content), **blob.lfs("oid")}
            else:
                oid = _sha1([(name, blob.oid) for name, blob in self.below(path).items()])
                entry = {"type": "directory", "oid": oid, "size": 0}
            if expand:
                last = self
                while last.parent and last.parent.below(path) == self.below(path):
                    last = last.parent
                entry["lastCommit"] = {"id": last.oid, "title": last.title, "date": last.date}
            entries[path] = {"path": path, **entry}
        return entries


@dataclass
class Repo:
    """A repository. Its references point to commits by their full names, as "refs/heads/main"."""

    type: str
    id: str
    private: bool
    sdk: str | None
    refs: dict[str, Commit] = field(default_factory=dict)
    by_oid: dict[str, Commit] = field(default_factory=dict)
    lfs_objects: dict[str, bytes] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    discussions: list[dict] = field(default_factory=list)

    @property
    def page(self) -> str:
        return self.id if self.type == "model" else f"{self.type}s/{self.id}"

    def ref(self, revision: str) -> str | None:
        """The full name of a branch, a tag or a pull request."""
        names = (f"refs/heads/{revision}", f"refs/tags/{revision}", revision)
        return next((name for name in names if name in self.refs), None)

    def find(self, revision: str) -> Commit:
        """The commit of a reference, or with this oid."""
        commit = self.refs.get(self.ref(revision) or "") or self.by_oid.get(revision)
        if commit is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def commit(self, ref: str, title: str, files: dict[str, Blob]) -> Commit:
        """Puts a commit on top of a reference."""
        oid = _sha1([self.page, len(self.by_oid), title, sorted(files)])
        self.refs[ref] = self.by_oid[oid] = Commit(oid, self.refs.get(ref), title, _now(), files)
        return self.refs[ref]

    def open_discussion(self, title: str, status: str, base: Commit | None) -> dict:
        """Opens a discussion or, with a commit to start from, a pull request."""
        number = len(self.discussions) + 1
        discussion = {"num": number, "title": title, "status": status, "createdAt": _now(), "events": []}
        discussion |= {"author": {"name": USER}, "repo": {"name": self.id, "type": self.type}}
        discussion |= {"isPullRequest": base is not None}
        if base is not None:
            discussion |= {"changes": {"base": "refs/heads/main"}, "filesWithConflicts": [], "diff": ""}
            self.refs[f"refs/pr/{number}"] = base
        self.discussions.append(discussion)
        return discussion


@dataclass
class Answer:
    """Bytes are sent as they are, anything else as JSON."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """An answer in the form of the Hub's errors, by which the client chooses its exception class."""

    def __init__(self, status: int, message: str, code: str | None = None, **headers: str):
        headers = headers | {"X-Error-Message": message.encode("ascii", "replace").decode()}
        headers |= {"X-Error-Code": code} if code else {}
        self.answer = Answer({"error": message}, status, headers)


@dataclass
class Fault:
    """What befalls the next requests: a status or, without one, a broken connection."""

    method: str | None
    path: re.Pattern[str]
    times: int
    status: int | None = None
    in_answer: bool = False
    after: int = 0
    then: Callable[[], None] = lambda: None


class Hub:
    """The server; entering its context starts it.

    Attributes:
        url: Its address.
        write_token: A token of the user "tester" that writes.
        read_token: A token of the same user that only reads.
        requests: The method and the path, with its query, of each request so far.
        repos: The repositories, by type and name.
    """

    write_token = "hf_testerWhoWritesAndReads"
    read_token = "hf_testerWhoOnlyReads"

    def __init__(self, page_size: int = 1000):
        self.requests: list[tuple[str, str]] = []
        self.repos: dict[tuple[str, str], Repo] = {}
        self._page_size = page_size
        self._faults: list[Fault] = []
        self._tickets: dict[str, tuple[Repo, str]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> "Hub":
        handler = type("Connection", (_Connection,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True  # else closing waits for connections that clients keep open
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self, folder: str | Path, token: str | None = None) -> dict[str, str]:
        """What a process needs in its environment to take this for the Hub.

        Args:
            folder: Where its caches go; nothing of the user's own is read or written.
            token: The token that writes unless given; "" for a stranger.
        """
        home = Path(folder) / "hf_home"
        return {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": self.write_token if token is None else token,
            "HUGGING_FACE_HUB_TOKEN": "",
            "HF_TOKEN_PATH": str(home / "token"),
            "HF_HOME": str(home),
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_DATASETS_CACHE": str(home / "datasets"),
            "HF_HUB_DISABLE_XET": "1",  # Xet needs a server of its own; without it the client uploads by LFS
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_OFFLINE": "0",
            "HF_DATASETS_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def files(self, repo_type: str, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        """The content of all files of a revision, by path."""
        files = self.repos[repo_type, repo_id].find(revision).files
        return {path: blob.content for path, blob in files.items()}

    def commits(self, repo_type: str, repo_id: str, revision: str = "main") -> list[Commit]:
        """The commits of a revision, the last one first; the Hub itself made the oldest."""
        commits = [self.repos[repo_type, repo_id].find(revision)]
        while commits[-1].parent:
            commits.append(commits[-1].parent)
        return commits

    def create(self, repo_type: str, repo_id: str, *, private: bool, sdk: str | None = None) -> Repo:
        """Makes a repository as the Hub does, of anybody's."""
        repo = self.repos[repo_type, repo_id] = Repo(repo_type, repo_id, private, sdk)
        attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES)
        repo.commit("refs/heads/main", "initial commit", {".gitattributes": Blob(attributes.encode())})
        return repo

    def is_private(self, repo_type: str, repo_id: str) -> bool:
        """Whether strangers are told that the repository is not there."""
        return self.repos[repo_type, repo_id].private

    def fail_next(self, method: str, path_pattern: str, status: int = 503, times: int = 1) -> None:
        """Answers the next requests whose path has the pattern with an error, and does nothing else."""
        self._faults.append(Fault(method, re.compile(path_pattern), times, status))

    def drop_next(self, method: str, path_pattern: str, times: int = 1, in_answer: bool = False) -> None:
        """Breaks the connection in the middle of the next requests' bodies.

        With `in_answer`, and always with GET, the request is carried out and its answer broken.
        """
        in_answer = in_answer or method == "GET"
        self._faults.append(Fault(method, re.compile(path_pattern), times, in_answer=in_answer))

    def drop_at(self, number: int, in_answer: bool = False, then: Callable[[], None] = lambda: None) -> None:
        """Breaks the connection at the request with this number from now on, the next being 0.

        Other faults are forgotten. With `in_answer` the request is carried out first.

        Args:
            number: How many requests are left alone.
            in_answer: As for `drop_next`.
            then: Called when it is broken.
        """
        self._faults = [Fault(None, re.compile(""), 1, in_answer=in_answer, after=number, then=then)]

    def forgive(self) -> None:
        """Forgets the faults that are still to come."""
        self._faults = []

    def take_fault(self, method: str, path: str) -> Fault | None:
        """The fault that befalls a request, which is one less to come."""
        with self._lock:
            for fault in self._faults:
                if not (fault.times and fault.method in (method, None) and fault.path.search(path)):
                    continue
                if not fault.after:
                    fault.times -= 1
                    return fault
                fault.after -= 1
        return None

    def answer(self, request: "_Connection") -> Answer:
        """Answers one request at a time, so that no other changes what it sees."""
        with self._lock:
            try:
                answer = self._dispatch(request)
            except Refusal as refusal:
                return refusal.answer
        return answer if isinstance(answer, Answer) else Answer(answer)

    def _dispatch(self, request: "_Connection") -> Any:
        roles = {None: None, f"Bearer {self.write_token}": "write", f"Bearer {self.read_token}": "read"}
        authorization = request.headers.get("Authorization")
        if authorization not in roles:
            # By these words the client tells a wrong token from a repository that is not there.
            raise Refusal(401, "Invalid credentials in Authorization header")
        request.role = roles[authorization]
        path, method = request.path.partition("?")[0], request.command.replace("HEAD", "GET")
        for route_method, template, handler, writes in ROUTES:
            if method == route_method and (match := _pattern(template).fullmatch(path)):
                values: dict[str, Any] = {k: unquote(v) for k, v in match.groupdict().items() if v}
                if "repo_id" in values:
                    repo_type = values.pop("kind", "models").removesuffix("s")
                    values["repo"] = self._repo(request, repo_type, values.pop("repo_id"))
                if writes and request.role is None:
                    raise Refusal(401, "Invalid username or password.")
                if writes and request.role != "write":
                    raise Refusal(403, "Forbidden: this takes a token that writes")
                if writes and _is_of_another(values.get("repo"), request):
                    raise Refusal(403, "Forbidden: you have no rights there")
                return getattr(self, handler)(request, **values)
        raise Refusal(404, f"This small Hub has no {method} {path}")

    def _repo(self, request: "_Connection", repo_type: str, repo_id: str) -> Repo:
        repo = self.repos.get((repo_type, repo_id))
        is_own = request.role is not None and repo_id.startswith(f"{USER}/")
        if repo is None or (repo.private and not is_own):
            # The Hub gives strangers no code; the client does without it only where the address is https.
            raise Refusal(404 if request.role else 401, "Repository not found", "RepoNotFound")
        return repo

    def _whoami(self, request: "_Connection") -> dict:
        if request.role is None:
            raise Refusal(401, "Invalid username or password.")
        return {"type": "user", "name": USER, "orgs": [], "auth": {"accessToken": {"role": request.role}}}

    def _validate_yaml(self, request: "_Connection") -> Answer:
        # The Hub only warns where there is no metadata; what we push always has some.
        asked, error = request.json(), None
        try:
            card = _front_matter(asked["content"])
            if not card:
                error = "empty or missing yaml metadata in repo card"
            elif asked["repoType"] == "space" and card.get("sdk") not in SPACE_SDKS:
                error = f'"sdk" must be one of {", ".join(SPACE_SDKS)}'
        except yaml.YAMLError as yaml_error:
            error = str(yaml_error)
        errors = [{"message": error}] if error else []
        return Answer({"errors": errors, "warnings": []}, 400 if errors else 200)

    def _create_repo(self, request: "_Connection") -> Answer:
        asked = request.json()
        repo_type, owner = asked.get("type") or "model", asked.get("organization") or USER
        if owner != USER:
            raise Refusal(403, f"You have no rights in the namespace {owner}")
        private = asked.get("visibility") == "private"
        repo_id = f"{owner}/{asked['name']}"
        if (repo_type, repo_id) in self.repos:
            page = self.repos[repo_type, repo_id].page
            return Answer({"error": f"You already created {repo_id}", "url": f"{self.url}/{page}"}, 409)
        repo = self.create(repo_type, repo_id, private=private, sdk=asked.get("sdk"))
        return Answer({"url": f"{self.url}/{repo.page}"})

    def _delete_repo(self, request: "_Connection") -> dict:
        asked = request.json()
        repo_id = f"{asked.get('organization') or USER}/{asked['name']}"
        repo = self._repo(request, asked.get("type") or "model", repo_id)
        del self.repos[repo.type, repo.id]
        return {}

    def _info(self, request: "_Connection", repo: Repo, revision: str = "main") -> dict:
        commit, card = repo.find(revision), {}
        siblings: list[dict] = [{"rfilename": path} for path in commit.files]
        if request.query.get("blobs") == "true":
            for sibling, blob in zip(siblings, commit.files.values(), strict=True):
                sibling |= {"size": len(blob.content), "blobId": blob.oid, **blob.lfs("sha256")}
        if readme := commit.files.get("README.md"):
            with contextlib.suppress(yaml.YAMLError, UnicodeDecodeError):
                card = _front_matter(readme.content.decode())
        info = {"id": repo.id, "sha": commit.oid, "private": repo.private, "siblings": siblings}
        info |= {"cardData": card or None, "tags": card.get("tags", [])}
        return info | ({"sdk": repo.sdk} if repo.type == "space" else {})

    def _tree(self, request: "_Connection", repo: Repo, revision: str, path: str = "") -> Answer:
        query = request.query
        expand, recursive = query.get("expand") == "true", query.get("recursive") == "true"
        entries = repo.find(revision).entries(expand)
        if path and entries.get(path, {}).get("type") != "directory":
            raise Refusal(404, f"{path} does not exist on {revision}", "EntryNotFound")
        prefix = f"{path}/" if path else ""
        names = [name for name in entries if name.startswith(prefix)]
        listed = [entries[name] for name in names if recursive or "/" not in name.removeprefix(prefix)]
        start = int(query.get("cursor", 0))
        end = start + (min(50, self._page_size) if expand else self._page_size)
        url = f"{self.url}{request.path.partition('?')[0]}?{urlencode({**query, 'cursor': end})}"
        headers = {"Link": f'<{url}>; rel="next"'} if end < len(listed) else {}
        return Answer(listed[start:end], headers=headers)

    def _paths_info(self, request: "_Connection", repo: Repo, revision: str) -> list[dict]:
        form = parse_qs(request.body.decode())
        entries = repo.find(revision).entries(form.get("expand") == ["true"])
        return [entries[path] for path in form.get("paths", []) if path in entries]

    def _refs(self, request: "_Connection", repo: Repo) -> dict:
        kinds = {"branches": "refs/heads/", "tags": "refs/tags/", "converts": "refs/convert/"}
        if "include_prs" in request.query:
            kinds["pullRequests"] = "refs/pr/"
        refs = [(ref, {"ref": ref, "targetCommit": commit.oid}) for ref, commit in repo.refs.items()]
        return {
            kind: [{"name": ref.removeprefix(start), **info} for ref, info in refs if ref.startswith(start)]
            for kind, start in kinds.items()
        }

    def _create_tag(self, request: "_Connection", repo: Repo, revision: str) -> dict:
        return self._create_ref(repo, f"refs/tags/{request.json()['tag']}", revision)

    def _create_branch(self, request: "_Connection", repo: Repo, branch: str) -> dict:
        return self._create_ref(repo, f"refs/heads/{branch}", request.json().get("startingPoint") or "main")

    def _create_ref(self, repo: Repo, ref: str, revision: str) -> dict:
        if ref in repo.refs:
            raise Refusal(409, f"Reference {ref} exists already")
        repo.refs[ref] = repo.find(revision)
        return {}

    def _set_variable(self, request: "_Connection", repo: Repo) -> dict:
        asked = request.json()
        repo.variables[asked["key"]] = asked["value"]
        return {key: {"value": value} for key, value in repo.variables.items()}

    def _create_discussion(self, request: "_Connection", repo: Repo) -> dict:
        asked = request.json()
        base = repo.find("main") if asked.get("pullRequest") else None
        return repo.open_discussion(asked["title"], "draft" if base else "open", base)

    def _discussion(self, request: "_Connection", repo: Repo, number: str) -> dict:
        for discussion in repo.discussions:
            if str(discussion["num"]) == number:
                return discussion
        raise Refusal(404, f"There is no discussion {number}")

    def _preupload(self, request: "_Connection", repo: Repo, revision: str) -> dict:
        there, files = repo.find(revision).files, []
        for file in request.json()["files"]:
            path = file["path"]
            is_lfs = path.lower().endswith(LFS_SUFFIXES) or file["size"] > LFS_SIZE
            oid = there[path].etag if path in there else None
            mode = "lfs" if is_lfs else "regular"
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return {"files": files}

    def _commit(self, request: "_Connection", repo: Repo, revision: str) -> dict:
        base, ref, url = repo.find(revision), repo.ref(revision), f"{self.url}/{repo.page}"
        header, *operations = [json.loads(line) for line in request.body.splitlines()]
        title = header["value"]["summary"]
        if not base.oid.startswith(header["value"].get("parentCommit", "")):
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        files = dict(base.files)
        for operation in operations:
            self._apply(operation["key"], operation["value"], files, repo.lfs_objects)
        pull_request = None
        if request.query.get("create_pr") == "1":
            number = repo.open_discussion(title, "open", base)["num"]
            ref, pull_request = f"refs/pr/{number}", f"{url}/discussions/{number}"
        if ref is None or ref.startswith("refs/tags/"):
            raise Refusal(400, f"{revision} is not a branch to commit to")
        oid = repo.commit(ref, title, files).oid
        return {"commitUrl": f"{url}/commit/{oid}", "commitOid": oid, "pullRequestUrl": pull_request}

    def _apply(self, kind: str, value: dict, files: dict[str, Blob], lfs_objects: dict[str, bytes]) -> None:
        path = value["path"]
        if kind == "file":
            files[path] = Blob(base64.b64decode(value["content"]))
        elif kind == "lfsFile":
            if value["oid"] not in lfs_objects:
                raise Refusal(400, f"{path} points to an LFS object that was not uploaded")
            files[path] = Blob(lfs_objects[value["oid"]], is_lfs=True)
        elif kind in ("deletedFile", "deletedFolder"):
            folder = f"{path.rstrip('/')}/" if kind == "deletedFolder" else None
            gone = [name for name in files if (name.startswith(folder) if folder else name == path)]
            if not gone:
                raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")
            for name in gone:
                del files[name]
        else:
            raise Refusal(400, f"There is no operation {kind}")

    def _lfs_batch(self, request: "_Connection", repo: Repo) -> dict:
        objects = [{"oid": asked["oid"], "size": asked["size"]} for asked in request.json()["objects"]]
        for lfs_object in objects:
            if lfs_object["oid"] not in repo.lfs_objects:
                ticket = secrets.token_hex(8)
                self._tickets[ticket] = repo, lfs_object["oid"]
                href = f"{self.url}/lfs-objects/{ticket}"
                lfs_object["actions"] = {"upload": {"href": href}, "verify": {"href": f"{href}/verify"}}
        return {"objects": objects}

    def _lfs_put(self, request: "_Connection", ticket: str) -> dict:
        repo, oid = self._tickets[ticket]
        if hashlib.sha256(request.body).hexdigest() != oid:
            raise Refusal(400, f"The content is not that of {oid}")
        repo.lfs_objects[oid] = request.body
        return {}

    def _lfs_verify(self, request: "_Connection", ticket: str) -> dict:
        repo, oid = self._tickets[ticket]
        if len(repo.lfs_objects.get(oid, b"")) != request.json()["size"]:
            raise Refusal(404, f"Object {oid} is not there")
        return {}

    def _resolve(self, request: "_Connection", repo: Repo, revision: str, path: str) -> Answer:
        commit = repo.find(revision)
        headers = {"X-Repo-Commit": commit.oid}
        if path not in commit.files:
            raise Refusal(404, "Entry not found", "EntryNotFound", **headers)
        blob = commit.files[path]
        size = len(blob.content)
        headers |= {"ETag": f'"{blob.etag}"', "Accept-Ranges": "bytes"}
        if blob.is_lfs:
            headers |= {"X-Linked-Etag": f'"{blob.etag}"', "X-Linked-Size": str(size)}
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
        if wanted is None or not any(wanted.groups()):
            return Answer(blob.content, headers=headers)
        first, last = wanted.groups()
        start = int(first) if first else max(size - int(last), 0)
        stop = min(int(last) + 1, size) if first and last else size
        if start >= stop:
            raise Refusal(416, "Range Not Satisfiable", **{"Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return Answer(blob.content[start:stop], 206, headers)


class _Connection(BaseHTTPRequestHandler):
    """Reads a client's requests and writes the hub's answers."""

    hub: Hub
    query: dict[str, str]
    body: bytes
    role: str | None
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else an answer with a body can take 40 ms

    def do_GET(self) -> None:
        self.hub.requests.append((self.command, self.path))
        fault = self.hub.take_fault(self.command, self.path)
        length = int(self.headers.get("Content-Length", 0))
        self.query = {name: values[-1] for name, values in parse_qs(self.path.partition("?")[2]).items()}
        with contextlib.suppress(ConnectionError):  # of a client that leaves early
            if fault and not fault.status and not fault.in_answer:
                self.rfile.read(length // 2)
                fault.then()
                self.close_connection = True
                return
            self.body = self.rfile.read(length)
            if fault and fault.status:
                self._send(Answer({"error": "This failure was asked for"}, fault.status))
                return
            answer = self.hub.answer(self)
            if fault:
                fault.then()
            self._send(answer, half=fault is not None)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def json(self) -> Any:
        return json.loads(self.body)

    def _send(self, answer: Answer, half: bool = False) -> None:
        is_file = isinstance(answer.body, bytes)
        body = answer.body if is_file else json.dumps(answer.body, default=str).encode()
        self.send_response(answer.status)
        headers = {"Content-Type": "application/octet-stream" if is_file else "application/json"}
        for name, value in (headers | {"Content-Length": str(len(body))} | answer.headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if half else body)
        self.close_connection = self.close_connection or half

    def log_message(self, *_: object) -> None:
        pass  # `Hub.requests` is the log


def _is_of_another(repo: Repo | None, request: _Connection) -> bool:
    """Whether a repository is not the user's; there one may open a pull request and do nothing else."""
    if repo is None or repo.id.startswith(f"{USER}/"):
        return False
    by_pull_request = request.query.get("create_pr") == "1" or re.search(
        "/info/lfs/|/discussions", request.path
    )
    return not by_pull_request


@cache
def _pattern(template: str) -> re.Pattern[str]:
    template = template.replace(".", r"\.")
    return re.compile(re.sub(r"{(\w+)}", lambda m: PLACEHOLDERS.get(m[1], rf"(?P<{m[1]}>[^/]+)"), template))


def _front_matter(card: str) -> dict:
    """The metadata at the head of a card; empty where there is none."""
    match = re.match(r"\s*---\r?\n(.*?)\r?\n---(?:\r?\n|$)", card, re.DOTALL)
    metadata = yaml.safe_load(match[1]) if match else None
    return metadata if isinstance(metadata, dict) else {}


def _sha1(value: Any) -> str:
    return hashlib.sha1(json.dumps(value).encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
