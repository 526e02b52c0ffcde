"""Downloads come from a server on loopback that is good, wrong, short or gone."""

import functools
import hashlib
import http.server
import socket
import threading

import numpy as np
import pytest
from PIL import Image

from watermark.data import sets
from watermark.lab.images import Images


@pytest.fixture
def served(tmp_path):
    """(URL, folder) of a file server that cuts off files named short-*."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def copyfile(self, source, outputfile):
            content = source.read()
            outputfile.write(content[: len(content) // 2] if "short" in self.path else content)

    folder = tmp_path / "served"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    thread.join()
    server.server_close()


def _source(url, folder, names):
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((50, 50), 7, np.uint8)).save(folder / name)
    return {"url": url, "files": {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names}}


def _files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) if folder.exists() else []


def test_download_keeps_good_files_and_takes_up_where_it_stopped(served, tmp_path):
    source = _source(*served, ["a.png", "sub/b 1.png"])
    sets.download(source, tmp_path / "set")
    assert _files(tmp_path / "set") == ["a.png", "sub/b 1.png"]
    (tmp_path / "set/a.png").unlink()
    (served[1] / "sub/b 1.png").unlink()  # no longer served, and not asked for again
    sets.download(source, tmp_path / "set")
    assert _files(tmp_path / "set") == ["a.png", "sub/b 1.png"]


def test_wrong_hash_is_refused(served, tmp_path):
    source = _source(*served, ["a.png"])
    source["files"]["a.png"] = "0" * 64
    with pytest.raises(sets.DataError, match="SHA-256"):
        sets.download(source, tmp_path / "set")
    assert _files(tmp_path / "set") == []


def test_truncated_download_is_refused_and_a_whole_file_stays(served, tmp_path):
    source = _source(*served, ["short-a.png"])
    with pytest.raises(sets.DataError):
        sets.download(source, tmp_path / "set")
    assert _files(tmp_path / "set") == []


def test_missing_file_and_dead_server(served, tmp_path):
    with pytest.raises(sets.DataError, match="404"):
        sets.download({"url": served[0], "files": {"none.png": "0" * 64}}, tmp_path / "set")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(sets.DataError, match="refused"):
            sets.download({"url": url, "files": {"a.png": "0" * 64}}, tmp_path / "set")
    assert _files(tmp_path / "set") == []


def test_no_network_and_no_data_names_three_ways(monkeypatch, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = {"set12": {"url": f"http://127.0.0.1:{closed.getsockname()[1]}", "files": {"01.png": "0" * 64}}}
        monkeypatch.setattr(sets, "sources", lambda: dead)
        monkeypatch.delenv("WATERMARK_DATA", raising=False)
        with pytest.raises(sets.DataError, match="(?s)WATERMARK_DATA=DIR.*network.*'sample'"):
            sets.images("set12", download_dir=tmp_path)


def test_div2k_is_read_locally_or_refused(tmp_path):
    with pytest.raises(sets.DataError, match="file by file"):
        sets.images("div2k", download_dir=tmp_path, data_dir=tmp_path)
    (tmp_path / "div2k").mkdir()
    Image.fromarray(np.zeros((5, 6, 3), np.uint8)).save(tmp_path / "div2k/0001.png")
    assert sets.images("div2k", tmp_path)["0001.png"].shape == (5, 6, 3)


def test_what_a_desktop_leaves_in_a_folder_is_no_image(tmp_path):
    (tmp_path / "div2k").mkdir()
    (tmp_path / "div2k" / ".DS_Store").write_bytes(b"no image")
    Image.fromarray(np.zeros((5, 6, 3), np.uint8)).save(tmp_path / "div2k/0001.png")
    assert list(sets.images("div2k", tmp_path)) == ["0001.png"]


def test_nothing_stands_in_for_a_set_that_is_there_in_part(tmp_path):
    """It was meant; only one that is not here at all has a stand-in."""
    (tmp_path / "set5").mkdir()
    images = Images(data_dir=str(tmp_path), download_dir=tmp_path / "none", log=lambda line: None)
    with pytest.raises(sets.DataError, match="lacks"):
        images.test_name("set5")
    (tmp_path / "div2k").mkdir()
    (tmp_path / "div2k" / "a.png").write_bytes(b"damaged")
    with pytest.raises(sets.DataError, match="cannot be read"):
        images.train_name("div2k")
    (tmp_path / "div2k" / "a.png").unlink()
    (tmp_path / "div2k").rmdir()
    assert images.train_name("div2k") == "sample_train"


def test_local_folder_must_be_whole_and_readable(tmp_path):
    (tmp_path / "set5").mkdir()
    with pytest.raises(sets.DataError, match="lacks"):
        sets.images("set5", tmp_path)
    (tmp_path / "bad.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(sets.DataError, match="cannot be read"):
        sets.read_image(tmp_path / "bad.png")


def test_kth_tips_is_halved(tmp_path):
    """Half to fine-tune on, half to test on, as in the paper; every texture is in both."""
    names = [f"{texture}/{i}.png" for texture in ("cork", "linen") for i in range(4)]
    files = {}
    for name in names:
        path = tmp_path / "kth_tips_grey" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), len(files), np.uint8)).save(path)
        files[name] = ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sets, "sources", lambda: {"kth_tips_grey": {"url": "", "files": files}})
        train, test = (sets.images(f"kth_tips_{half}", tmp_path) for half in ("train", "test"))
    assert [*train] == names[::2] and [*test] == names[1::2]


def test_sample_is_always_there():
    images = sets.images("sample")
    assert len(images) == 18
    assert all(image.dtype == np.uint8 and min(image.shape[:2]) >= 150 for image in images.values())
    assert set(sets.SAMPLE_TEST).isdisjoint(sets.SAMPLE_TRAIN)


def test_unknown_name_lists_the_choices():
    with pytest.raises(ValueError, match="set12"):
        sets.images("set13")


def test_real_sets_are_the_pinned_files(data_dir):
    from watermark.files import sha256

    for name, source in sets.sources().items():
        for file in list(source["files"])[:3]:
            assert sha256(data_dir / name / file) == source["files"][file], (name, file)
    assert len(sets.images("set12", data_dir)) == 12
    assert len(sets.images("291", data_dir)) == 291


def test_a_set_that_cannot_be_downloaded_is_not_promised(tmp_path, monkeypatch):
    monkeypatch.delenv("WATERMARK_DATA", raising=False)
    with pytest.raises(sets.DataError, match="Two ways to get it") as error:
        sets.images("div2k", download_dir=tmp_path)
    assert "network" not in str(error.value) and "--data_dir=DIR" in str(error.value)
