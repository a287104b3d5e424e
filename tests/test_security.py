"""Attacks on what loads a model, on the page's server, and on the token."""

import asyncio
import base64
import http.server
import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from conftest import ROOT, run_ladnn, run_ladnn_alone
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

SLICE = ROOT / "space" / "examples" / "healthy.png"


class Strike:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (Path(self.canary),)


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "it ran"


@pytest.fixture
def pickled(canary, tmp_path):
    """A pickle that runs code where it is loaded without care."""
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps({"state_dict": Strike(canary)}))
    pickle.loads(path.read_bytes())
    assert canary.exists(), "the attack works"
    canary.unlink()
    return path


def test_pickled_weights_are_never_run(micro_folder, pickled, canary, phantom_slices, tmp_path):
    (micro_folder / "model.safetensors").unlink()
    pickled_model = str(micro_folder)
    (micro_folder / "pytorch_model.bin").write_bytes(pickled.read_bytes())
    train = ["train", "--dataset", phantom_slices, "--output_dir", tmp_path / "run", "--max_steps", "1"]
    train += ["--backbone", "test_efficientnet", "--image_size", "64"]
    for command in (
        ["predict", SLICE, "--model", pickled_model],
        ["predict", SLICE, "--model", pickled_model, "--engine", "torch"],
        ["evaluate", "--model", pickled_model, "--dataset", phantom_slices, "--output", tmp_path / "report"],
        ["export", "--format", "onnx", "--model", pickled_model, "--output", tmp_path / "export"],
        [*train, "--model", pickled_model],
        ["convert", pickled, "--output", tmp_path / "converted"],
        [*train, "--backbone_weights", pickled],
    ):
        result = run_ladnn(*command)
        assert result.returncode != 0, command
        assert result.stderr.strip().splitlines()[-1].startswith("ladnn"), command
        assert not canary.exists(), command


def test_code_that_comes_with_a_model_is_never_run_by_this_package(
    micro_folder, canary, phantom_slices, tmp_path
):
    evil = f"from pathlib import Path\nPath({str(canary)!r}).touch()\n"
    for name in ("modeling_evil.py", "handler.py", "configuration_evil.py", "__init__.py"):
        (micro_folder / name).write_text(evil)
    config = json.loads((micro_folder / "config.json").read_text())
    config["auto_map"] = {
        "AutoConfig": "configuration_evil.Evil",
        "AutoModelForImageClassification": "modeling_evil.Evil",
    }
    (micro_folder / "config.json").write_text(json.dumps(config))
    flags = ["--model", micro_folder, "--dataset", phantom_slices, "--split", "validation"]
    for command in (
        ["predict", SLICE, "--model", micro_folder],
        ["evaluate", *flags, "--output", tmp_path / "report"],
        ["export", "--format", "onnx", "--model", micro_folder, "--output", tmp_path / "export"],
    ):
        result = run_ladnn(*command)
        assert result.returncode == 0, result.stderr
        assert not canary.exists(), command


@pytest.fixture
def inside():
    """A server that a page could reach and its users could not, and the paths that were asked of it."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(SLICE.read_bytes())

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/x.png", asked
        server.shutdown()


@pytest.mark.browser
def test_the_server_fetches_no_address_for_a_client(page_url, inside):
    address, asked = inside
    port = address.rsplit(":", 1)[1]
    addresses = [address, f"http://localhost:{port}", f"http://[::ffff:127.0.0.1]:{port}", f"http://0:{port}"]
    meta = {"_type": "gradio.FileData"}
    with httpx.Client(base_url=f"{page_url}/gradio_api", timeout=30) as client:
        for url in addresses:
            for given in ({"path": url, "meta": meta}, {"path": "x.png", "url": url, "meta": meta}):
                for data in ([given], [[given]]):
                    name = "predict" if data == [given] else "predict_batch"
                    call = client.post(f"/call/{name}", json={"data": data})
                    said = (
                        client.get(f"/call/{name}/{call.json()['event_id']}").text if call.is_success else ""
                    )
                    assert "covid_probability" not in said
            client.get(f"/file={url}")

    async def by_an_agent():
        async with streamablehttp_client(f"{page_url}/gradio_api/mcp/") as (read, write, _):
            async with ClientSession(read, write) as session:
                await session.initialize()
                for url in addresses:
                    result = await session.call_tool("predict", {"image": url})
                    assert "covid_probability" not in str(result.content)

    with ThreadPoolExecutor() as pool:  # the browser's client holds this thread's event loop
        pool.submit(asyncio.run, by_an_agent()).result(60)
    assert asked == []


@pytest.mark.browser
def test_no_path_leads_to_a_file_of_the_server(page_url, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(SLICE.read_bytes())
    depth = "../" * 12
    targets = [str(secret), "/etc/passwd", f"{depth}etc/passwd", str(ROOT / "space" / "app.py"), "app.py"]
    targets += ["/proc/self/environ", "file:///etc/passwd", "..%2f" * 12 + "etc%2fpasswd"]
    with httpx.Client(base_url=f"{page_url}/gradio_api", timeout=30) as client:
        for target in targets:
            for route in ("/file=", "/file/", "/static/", "/assets/", "/custom_component/x/y/"):
                answer = client.get(f"{route}{target}")
                assert answer.status_code >= 400, (route, target)
            given = {"path": target, "meta": {"_type": "gradio.FileData"}}
            call = client.post("/call/predict", json={"data": [given]})
            said = client.get(f"/call/predict/{call.json()['event_id']}").text if call.is_success else ""
            assert "covid_probability" not in said, target


@pytest.mark.browser
def test_an_upload_lands_in_the_caches_folder_whatever_it_is_called(page_url, tmp_path):
    name = f"{'../' * 12}{tmp_path.relative_to('/')}/planted.png"
    with httpx.Client(base_url=f"{page_url}/gradio_api", timeout=30) as client:
        answer = client.post("/upload", files=[("files", (name, SLICE.read_bytes()))])
    assert not (tmp_path / "planted.png").exists()
    assert answer.status_code >= 400 or ".." not in answer.json()[0]


@pytest.mark.browser
def test_a_file_beyond_the_limit_is_refused_by_the_server(page_url):
    with httpx.Client(base_url=f"{page_url}/gradio_api", timeout=60) as client:
        answer = client.post("/upload", files=[("files", ("big.png", bytes(51 << 20)))])
    assert answer.status_code == 413, answer.text


def test_the_token_is_nowhere_but_in_the_environment(hub, micro_folder, phantom_slices, tmp_path):
    """Neither said nor written nor among the arguments of a process, whether the push succeeds or fails."""
    token = hub.write_token
    environment = hub.environment(tmp_path / "home") | {"HOME": str(tmp_path / "home")}
    commands = (
        ["push", micro_folder, "tester/ladnn"],
        ["push", micro_folder, "someone/ladnn"],  # refused: it belongs to someone else
        ["data", "push", phantom_slices, "tester/slices"],
        ["predict", SLICE, "--no-gate", "--model", "tester/ladnn@main"],
        ["predict", SLICE, "--model", "someone/ladnn@main"],
    )
    for command in commands:
        result = run_ladnn_alone(*command, cwd=tmp_path, env=environment)
        assert (result.returncode == 0) == ("tester" in command[-1]), result.stderr
        assert token not in result.stdout + result.stderr, command
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".safetensors" for path in written), "the cache was searched"
    secrets = (token.encode(), base64.b64encode(token.encode()))
    assert not [path for path in written if any(secret in path.read_bytes() for secret in secrets)]
    for kind, name in (("model", "tester/ladnn"), ("dataset", "tester/slices")):
        files = hub.files(kind, name)
        assert files and not [path for path, content in files.items() if token.encode() in content]
