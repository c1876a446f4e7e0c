"""What is beyond a bound is refused with its name and a status, before it is decoded or computed."""

from __future__ import annotations

import base64
import io
import struct
import tracemalloc
import wave
import zlib

import pytest
from PIL import Image, PngImagePlugin

from triptych.base.errors import InputError
from triptych.web.checked import check_picture, check_sound
from triptych.web.limits import Limits
from triptych.web.problems import TooLarge


def png(width: int, height: int, pixels: bytes | None = None, *chunks: tuple[bytes, bytes]) -> bytes:
    """A grey PNG as it is told to be."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    held = b"".join(chunk(kind, body) for kind, body in chunks)
    rows = zlib.compress(b"\0" * (width + 1) * height) if pixels is None else pixels
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + held + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def sound(seconds: float = 0.1, channels: int = 1, rate: int = 8000) -> bytes:
    found = io.BytesIO()
    with wave.open(found, "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(b"\1\0" * int(seconds * rate) * channels)
    return found.getvalue()


def predict(client, status: int, says: str, **inputs) -> None:
    sent = {name: base64.b64encode(value).decode() if isinstance(value, bytes) else value for name, value in inputs.items()}
    told = client.post("/v1/predict", json={"inputs": sent})
    assert told.status_code == status and says in told.json()["error"]["message"], told.text


def test_options_come_before_the_environment_and_both_are_checked():
    assert Limits.read({"rows": "7", "pixels": None}, {"TRIPTYCH_ROWS": "9", "TRIPTYCH_PIXELS": "50"}).model_dump(
        include={"rows", "pixels"}
    ) == {
        "rows": 7,
        "pixels": 50,
    }
    with pytest.raises(InputError, match="TRIPTYCH_SECONDS"):
        Limits.read({}, {"TRIPTYCH_SECONDS": "many"})
    with pytest.raises(InputError, match="rows"):
        Limits.read({"rows": "0"}, {})
    with pytest.raises(InputError, match="unknown"):
        Limits.read({"row": "3"}, {})


def test_media_beyond_a_bound_are_refused_by_their_header(client, tiny_run):
    some = client({"tiny": tiny_run}, Limits(pixels=1000, seconds=2, channels=2, files=2, characters=50))
    predict(some, 413, "40 x 40 is 1,600 pixels", image=png(40, 40))
    predict(some, 413, "3 s long", audio=sound(3))
    predict(some, 413, "40 channels", audio=sound(0.1, 40))
    predict(some, 400, "at most 50 characters", text="x" * 51)
    assert some.post("/v1/predict", data={"text": "x" * 51}).status_code == 413
    assert some.post("/v1/predict", json={"inputs": {"image": ["aaaa"] * 3}}).status_code == 400
    assert some.post("/v1/predict", json={"inputs": {"image": ["aaaa"] * 2, "audio": "aaaa"}}).status_code == 413
    predict(some, 400, "damaged", image=png(30, 30, b"no pixels"))
    predict(some, 400, "no base64", image="seven")
    predict(some, 400, "not a picture", image=sound())
    predict(some, 400, "not a sound", audio=png(4, 4))


def test_a_header_that_promises_a_wall_of_pixels_is_believed(client, tiny_run):
    some, wall = client({"tiny": tiny_run}), png(60_000, 60_000, zlib.compress(b"\0"))
    told = some.post("/v1/predict", json={"inputs": {"image": base64.b64encode(wall).decode()}})
    assert told.status_code == 413 and "pixels" in told.json()["error"]["message"]


@pytest.mark.parametrize("kind", ["IDAT", "zTXt", "iTXt", "iCCP"])
def test_a_png_that_unpacks_to_more_than_it_says_is_refused_in_little_memory(kind):
    bomb = zlib.compress(b"\0" * 200_000_000, 9)
    before = {"zTXt": b"a\0\0", "iTXt": b"a\0\1\0\0\0", "iCCP": b"a\0\0"}.get(kind, b"")
    made = png(8, 8, bomb) if kind == "IDAT" else png(8, 8, None, (kind.encode(), before + bomb))
    tracemalloc.start()
    with pytest.raises(TooLarge, match="unpacks"):
        check_picture(made, Limits())
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_pictures_with_notes_and_of_many_kinds_are_let_through():
    notes = PngImagePlugin.PngInfo()
    notes.add_text("a", "words " * 100, zip=True)
    notes.add_itxt("b", "words " * 100, "de", "b", zip=True)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        found = io.BytesIO()
        Image.new(mode, (33, 17)).save(found, "PNG", pnginfo=notes)
        check_picture(found.getvalue(), Limits())
        with pytest.raises(TooLarge):  # it was looked at
            check_picture(found.getvalue(), Limits(pixels=33 * 17 - 1))
    interlaced = png(5, 5, zlib.compress(b"\0" * 60))
    check_picture(interlaced[:28] + b"\1" + interlaced[29:], Limits())


def test_sound_whose_header_does_not_say_is_counted(tmp_path):
    import av

    path = tmp_path / "long.aac"
    with av.open(str(path), "w", format="adts") as file:
        track = file.add_stream("aac", rate=16000)
        track.layout = "mono"
        for _ in range(60):
            import numpy as np

            frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 16000
            file.mux(track.encode(frame))
        file.mux(track.encode())
    with pytest.raises(TooLarge, match="s long"):
        check_sound(path.read_bytes(), Limits(seconds=20))
    check_sound(path.read_bytes(), Limits(seconds=90))


def test_bodies_are_bounded_however_they_come(client, tiny_run):
    some = client({"tiny": tiny_run}, Limits(body_bytes=5000, rows=3))
    declared = some.post("/v1/predict", content=b"{" + b" " * 6000)
    endless = some.post("/v1/predict", content=(b" " * 1000 for _ in range(50)), headers={"content-type": "application/json"})
    form = some.post("/v1/predict", files={"image": ("a.png", b"x" * 6000)})
    in_pieces = (b"--b\r\ncontent-disposition: form-data; name=image; filename=a\r\n\r\n", *[b"x" * 1000] * 50)
    chunked_form = some.post("/v1/predict", content=iter(in_pieces), headers={"content-type": "multipart/form-data; boundary=b"})
    assert [one.status_code for one in (declared, endless, form, chunked_form)] == [413] * 4
    assert declared.json()["error"]["type"] == "request_too_large"
    assert some.post("/v1/predict", json={"rows": [{"text": "a"}] * 4}).status_code == 400
    assert some.post("/v1/predict", json={"rows": [{"text": "a"}] * 3}).status_code == 200


def test_too_many_at_once_are_told_when_to_come_again(client, tiny_run):
    some = client({"tiny": tiny_run}, Limits(queue=2))
    told = some.post("/v1/predict", json={"rows": [{"text": "a"}] * 3})
    assert told.status_code == 503 and told.headers["retry-after"] == "1" and "2 rows wait" in told.json()["error"]["message"]


def test_a_request_that_takes_too_long_is_ended(client, tiny_run, monkeypatch):
    import time

    some = client({"tiny": tiny_run}, Limits(time=0.1))
    monkeypatch.setattr(type(tiny_run), "read_row", lambda self, row: time.sleep(0.4) or {})
    told = some.post("/v1/predict", json={"inputs": {"text": "a"}})
    assert told.status_code == 503 and "longer" in told.json()["error"]["message"]


def test_names_of_files_on_this_machine_are_no_values(client, tiny_run, tiny_table):
    some = client({"tiny": tiny_run})
    path = str(tiny_table.parent / "pictures/1.png")
    for value in (path, f"file://{path}", "../1.png", "/etc/passwd", "\\\\host\\share"):
        told = some.post("/v1/predict", json={"inputs": {"image": value}})
        assert told.status_code == 400, told.text
