"""Published weights are fetched by name from a server on this machine that behaves, and from one that does not."""

import hashlib
import http.server
import shutil
import threading
import types

import jax
import numpy as np
import pytest

from cnnjax import models, weights
from cnnjax.config import entries
from cnnjax.weights import _fetching, published
from cnnjax.weights._fetching import FetchError
from tests.models.variants import filled


class Server(http.server.ThreadingHTTPServer):
    """Serves files by path; `cut` bytes of each answer at most, as often as `cuts` says."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.redirected, self.cut, self.cuts, self.asked = {}, {}, 0, 0, []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        begin = int(self.headers.get("Range", "bytes=0-")[6:].rstrip("-"))
        self.server.asked.append((self.path, begin))
        if self.path in self.server.redirected:
            where, tag = self.server.redirected[self.path]
            self.send_response(302)
            self.send_header("Location", where)
            self.send_header("X-Linked-ETag", tag)
            self.end_headers()
            return
        if self.path not in self.server.files:
            self.send_error(404)
            return
        data = self.server.files[self.path][begin:]
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.server.cut and self.server.cuts:
            self.server.cuts -= 1
            data = data[: self.server.cut]
            self.close_connection = True
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setattr(_fetching.time, "sleep", lambda seconds: None)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("CNNJAX_MIRROR", server.address)
    monkeypatch.setenv("CNNJAX_WEIGHTS", str(tmp_path / "kept"))
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def tiny(server, monkeypatch, tmp_path):
    """A small net's weights, published as those of lenet5: (net, variables, the file's bytes)."""
    net = models.lenet5(outputs=10)
    variables = filled(net, (28, 28, 1))
    weights.save(net, variables, tmp_path / "a.safetensors")
    data = (tmp_path / "a.safetensors").read_bytes()
    stem = f"lenet5-{hashlib.sha256(data).hexdigest()[:8]}"
    monkeypatch.setitem(published._FILES, "lenet5", (stem,))
    server.files[f"/{stem}.pth"] = data
    return net, variables, data


def kept(tmp_path):
    return sorted(path.name for path in (tmp_path / "kept").iterdir())


def quiet(text):
    raise AssertionError(text)


def test_weights_are_fetched_once_and_load(server, tiny, tmp_path, capfd):
    net, variables, data = tiny
    path = weights.pretrained("lenet5", note=quiet)
    assert path.read_bytes() == data
    assert weights.pretrained("lenet5", note=quiet) == path
    assert len(server.asked) == 1
    assert kept(tmp_path) == [path.name]
    assert capfd.readouterr().err.startswith(f"{path.name}: 0.2 of 0.2 MB, ")
    loaded = weights.load(net, jax.eval_shape(lambda: variables), path)
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded, variables))


def test_a_connection_that_is_cut_goes_on_where_it_was(server, tiny):
    server.cut, server.cuts = 100_000, 1
    told = []
    path = weights.pretrained("lenet5", note=told.append)
    assert path.read_bytes() == tiny[2]
    assert [begin for _, begin in server.asked] == [0, 100_000]
    assert told == [f"{path.name}: the connection was cut; going on from 0 MB"]


def test_what_was_fetched_of_a_file_is_kept_for_the_next_time(server, tiny, tmp_path):
    server.cut, server.cuts = 50_000, 3
    with pytest.raises(FetchError, match=r"the connection was cut at 0\.1 MB, 3 times\nthe same command goes on"):
        weights.pretrained("lenet5", note=lambda text: None)
    assert kept(tmp_path)[0].endswith(".part")
    assert weights.pretrained("lenet5", note=quiet).read_bytes() == tiny[2]
    assert server.asked[-1][1] == 150_000


def test_a_file_of_another_hash_is_not_kept(server, tiny, tmp_path):
    (name,) = server.files
    server.files[name] = tiny[2][:-1] + b"?"
    with pytest.raises(FetchError, match=r"has the SHA-256 \w{16}…, published is \w{8}…\nit was removed; try again"):
        weights.pretrained("lenet5", note=quiet)
    assert kept(tmp_path) == []


def test_a_file_that_was_put_there_is_held_against_the_hash_and_no_network_is_needed(server, tiny, tmp_path):
    (name,) = server.files
    (tmp_path / "kept").mkdir()
    placed = tmp_path / "kept" / name[1:]
    placed.write_bytes(tiny[2])
    assert weights.pretrained("lenet5", note=quiet) == placed
    assert server.asked == []
    placed.write_bytes(b"an error page")
    with pytest.raises(
        FetchError, match=r"kept/lenet5-\w+.pth has the SHA-256 .*\ndelete it, or put the file of http://"
    ):
        weights.pretrained("lenet5", note=quiet)


def test_without_a_network_one_line_says_where_to_put_the_file(monkeypatch, tiny, tmp_path):
    monkeypatch.setenv("CNNJAX_MIRROR", "http://127.0.0.1:9")
    place = tmp_path / "kept" / "lenet5-"
    said = rf"can't be reached: .*refused\nwithout a network, put that file at {place}\w+\.pth"
    with pytest.raises(FetchError, match=said):
        weights.pretrained("lenet5", note=quiet)


def test_what_the_server_has_not_is_said_with_its_answer(server, tiny):
    server.files.clear()
    with pytest.raises(FetchError, match=r"answers 404 Not Found\nwithout a network, put that file at "):
        weights.pretrained("lenet5", note=quiet)


def test_a_full_disk_is_said_before_anything_is_fetched(server, tiny, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=1000))
    with pytest.raises(FetchError, match=r"no space is left for .*\nfree some, or let CNNJAX_WEIGHTS name another"):
        weights.pretrained("lenet5", note=quiet)


def test_a_folder_that_cannot_be_made_is_named(server, tiny, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CNNJAX_WEIGHTS", str(tmp_path / "file"))
    with pytest.raises(FetchError, match=r"can't be written: .*; CNNJAX_WEIGHTS names the folder"):
        weights.pretrained("lenet5", note=quiet)


def test_weights_of_the_hub_have_the_hash_that_it_names(server, tiny, tmp_path):
    data = tiny[2]
    server.files["/blobs/1"] = data
    tag = f'"{hashlib.sha256(data).hexdigest()}"'
    server.redirected["/lenet5.a1_in1k/resolve/main/model.safetensors"] = ("/blobs/1", tag)
    path = weights.pretrained("lenet5", source="timm:lenet5.a1_in1k", note=quiet)
    assert path.name == "timm-lenet5.a1_in1k.safetensors"
    assert path.read_bytes() == data
    path.unlink()
    server.redirected["/lenet5.a1_in1k/resolve/main/model.safetensors"] = ("/blobs/1", f'"{"0" * 64}"')
    with pytest.raises(FetchError, match=r"published is 0{16}…"):
        weights.pretrained("lenet5", source="timm:lenet5.a1_in1k", note=quiet)
    server.redirected["/lenet5.a1_in1k/resolve/main/model.safetensors"] = ("/blobs/1", '"of no use"')
    with pytest.raises(FetchError, match="comes without a SHA-256, so it can't be checked"):
        weights.pretrained("lenet5", source="timm:lenet5.a1_in1k", note=quiet)


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("resnet5", "torchvision", "torchvision publishes no weights of 'resnet5'; nearest: resnet50"),
        ("resnet18", "torchvision:2", "torchvision publishes 1 recipe of resnet18, no second; say torchvision alone"),
        ("resnet18", "torchvisoin", "source is 'torchvisoin'; it must be torchvision, torchvision:1"),
    ],
)
def test_what_is_not_published_is_said(name, source, said):
    with pytest.raises(FetchError, match=said):
        weights.pretrained(name, source=source)


def test_every_published_name_is_an_entry_of_the_zoo_and_ends_in_its_hash():
    assert set(published._FILES) <= set(entries("models"))
    for files in published._FILES.values():
        for file in files:
            assert len(file.rpartition("-")[2]) == 8
            int(file.rpartition("-")[2], 16)


def test_published_weights_are_read_as_torchvision_reads_them():
    assert weights.reading("resnet50", "torchvision:1")[:2] == (256, 224)
    assert weights.reading("resnet50")[:2] == (232, 224)
    assert weights.reading("efficientnet_b1", "torchvision:1")[:2] == (256, 240)
    assert weights.reading("efficientnet_b1")[:2] == (255, 240)
    assert weights.reading("inception_v3") == (342, 299, (0.5,) * 3, (0.5,) * 3)
    assert weights.reading("resnet50", "timm:resnet50.a1_in1k")[:2] == (256, 224)
