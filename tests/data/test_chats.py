"""Conversations with files in them, from JSON lines to rows, tables and batches."""

from __future__ import annotations

import base64
import io
import json
import wave

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st
from PIL import Image

from triptych.base.errors import BadValue, InputError
from triptych.contract.cells import Blob, Several, Span
from triptych.contract.values import Encoded, Packed
from triptych.data.build import SILENT, Plan, build
from triptych.data.check import screen
from triptych.data.facts import Facts
from triptych.data.inputs import InputColumn
from triptych.data.locate import locate
from triptych.data.rows import Reject
from triptych.data.several import counted, packed_several, unpacked_several
from triptych.data.sources import open_source
from triptych.data.sources.tabled import read_source
from triptych.data.stored import read_stored
from triptych.modalities import rooms
from triptych.modalities.text.messages import check_counts, read_messages


def png(shade: int) -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(held, "PNG")
    return held.getvalue()


def wav() -> bytes:
    held = io.BytesIO()
    with wave.open(held, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes((np.sin(np.arange(4000) / 5) * 9000).astype("<i2").tobytes())
    return held.getvalue()


def url(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def picture(where: str) -> dict:
    return {"type": "image_url", "image_url": {"url": where}}


def asked(*parts, answer: str = "A dot.") -> list[dict]:
    return [{"role": "user", "content": list(parts)}, {"role": "assistant", "content": answer}]


SAYS = {"type": "text", "text": "What is it?"}
SOUND = {"type": "input_audio", "input_audio": {"data": base64.b64encode(wav()).decode(), "format": "wav"}}


@pytest.fixture
def chats(tmp_path):
    for name, shade in (("a", 50), ("b", 150)):
        (tmp_path / f"{name}.png").write_bytes(png(shade))
    lines = [
        {"messages": asked(SAYS, picture(url(png(10))))},
        {"messages": asked(picture(url(png(20))), SAYS, picture("a.png"), SOUND)},
        {"messages": asked(SAYS, picture("b.png"))},
        {"messages": [{"role": "user", "content": "Nothing to see?"}, {"role": "assistant", "content": "No."}]},
        {"messages": asked(*(picture(url(png(shade))) for shade in (1, 2, 3)), SAYS)},
    ]
    return written(tmp_path / "chats.jsonl", lines)


def written(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_files_inside_of_messages_become_cells_and_their_places_stay(chats):
    rows = list(open_source(chats, rooms()).rows())
    assert [counted(row.cells.get("image")) for row in rows] == [1, 2, 1, 0, 3]
    assert rows[0].cells["image"] == png(10) and rows[0].cells["image"].name == "image.png"
    assert rows[1].cells["image"] == Several((Blob(png(20)), "a.png"))
    assert rows[1].cells["audio"] == wav() and rows[1].cells["audio"].name == "audio.wav"
    assert rows[2].cells["image"] == "b.png" and set(rows[3].cells) == {"messages"}
    for row in rows:
        assert "base64" not in row.cells["messages"]
        turns = read_messages(row.cells["messages"], row.id)
        check_counts(turns, {name: counted(row.cells.get(name)) for name in ("image", "audio")}, row.id)
        with pytest.raises(BadValue, match="names"):
            check_counts(turns, {"image": 7}, row.id)


@pytest.mark.parametrize("copied", [False, True])
def test_a_table_on_the_disk_gives_the_same_pictures(chats, tmp_path, copied):
    built = build(open_source(chats, rooms()), tmp_path / "t.lance", rooms(), Plan(copied=copied, workers=0), SILENT)
    assert {column.name: column.kind for column in built.columns} == {"messages": "text", "image": "media", "audio": "media"}
    table = locate(read_stored(tmp_path / "t.lance"), {"image": rooms()["image"]})
    shades = [shades_of(row.cells.get("image")) for row in table.rows]
    assert shades == [[10], [20, 50], [150], [], [1, 2, 3]]
    assert [counted(cell) for cell in table.rows.cells("image")] == [1, 2, 1, 0, 3]
    assert table.rows[1].cells["audio"] == wav()
    if copied:
        assert all(isinstance(item, Blob) for item in table.rows[1].cells["image"].items)


def shades_of(cell) -> list[int]:
    items = cell.items if isinstance(cell, Several) else [] if cell is None else [cell]
    return [rooms()["image"].read(item).getpixel((0, 0))[0] for item in items]


def test_llava_and_sharegpt_keep_their_files_in_fields_beside(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.png").write_bytes(png(9))
    said = [{"from": "human", "value": "<image><image> Same?"}, {"from": "gpt", "value": "Yes."}]
    lines = [{"id": "x", "images": ["a.png", "b.png"], "conversations": said}, {"id": "y", "images": ["a.png"], "conversations": said}]
    path = written(tmp_path / "c.jsonl", lines)
    table = locate(read_source(path, rooms()), {"images": rooms()["image"]})
    assert table.rows[0].cells["images"] == Several((tmp_path / "a.png", tmp_path / "b.png"))
    assert table.rows[1].cells["images"] == tmp_path / "a.png"
    built = build(open_source(path, rooms()), tmp_path / "t.lance", rooms(), Plan(workers=0), SILENT)
    assert {column.name: column.kind for column in built.columns} == {"images": "media", "conversations": "text"}
    assert shades_of(read_stored(tmp_path / "t.lance").rows[0].cells["images"]) == [9, 9]


def test_lists_of_files_in_parquet_are_cells_of_several(tmp_path):
    (tmp_path / "a.png").write_bytes(png(9))
    kind = pa.list_(pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    files = [{"bytes": png(7), "path": "x.png"}, {"bytes": None, "path": "a.png"}]
    pq.write_table(pa.table({"images": pa.array([files, files[:1], [], None], kind), "n": [1, 2, 3, 4]}), tmp_path / "t.parquet")
    table = locate(read_source(tmp_path / "t.parquet", rooms()), {"images": rooms()["image"]})
    assert [shades_of(row.cells.get("images")) for row in table.rows] == [[7, 9], [7], [], []] and not table.findings


WRONG = [
    (picture("data:image/png;base64,####"), "message 1: the image is no base64"),
    (picture("data:image/png;base64," + base64.b64encode(png(1)).decode()[:-3]), "the image is no base64"),
    (picture("data:image/png;base64,"), "the image is empty"),
    (picture("data:nonsense"), "breaks off"),
    (picture("https://example.com/a.png"), "is an address, and nothing is fetched"),
    ({"type": "input_audio", "input_audio": {"data": "a", "format": "wav"}}, "the audio is no base64"),
]


@pytest.mark.parametrize("part,said", WRONG)
def test_a_file_that_cannot_be_taken_out_costs_its_row(tmp_path, part, said):
    path = written(tmp_path / "c.jsonl", [{"messages": asked(SAYS, part)}, {"messages": asked(SAYS)}])
    first, second = open_source(path, rooms()).rows()
    assert isinstance(first, Reject) and said in first.reason and not isinstance(second, Reject)


def test_a_field_of_the_same_name_beside_the_messages_costs_the_row(tmp_path):
    (row,) = open_source(written(tmp_path / "c.jsonl", [{"image": "a.png", "messages": asked(SAYS, picture("b.png"))}]), rooms()).rows()
    assert "messages hold image, and a field 'image' stands beside them" in row.reason


@pytest.mark.parametrize(
    "bad,said",
    [
        (url(png(1)[:40]), "2 of 2: "),
        (url(wav(), "audio/wav"), "2 of 2: "),
        ("gone.png", "2 of 2: "),
    ],
)
def test_one_of_several_that_cannot_be_read_costs_the_row_and_is_named(tmp_path, bad, said):
    lines = [{"messages": asked(SAYS, picture(url(png(1))), picture(where))} for where in (url(png(2)), bad)]
    path = written(tmp_path / "c.jsonl", lines)
    table = locate(read_source(path, rooms()), {"image": rooms()["image"]})
    kept = screen(table, {"image": rooms()["image"]}, 0.5)
    assert [reject.id for reject in kept.rejects] == ["row-2"] and said in kept.rejects[0].reason
    built = build(open_source(path, rooms()), tmp_path / "t.lance", rooms(), Plan(workers=0, max_rejected=0.5), SILENT)
    if "wav" not in bad:  # a sound is fine as a file; that it is no picture is known where it is an input
        assert built.rejected == 1 and said in built.rejects.read_text()


def test_rows_that_share_one_of_several_files_are_no_copies(tmp_path):
    pairs = [[1, 2], [1, 3], [1, 2], [1]]
    lines = [{"messages": asked(SAYS, *(picture(url(png(shade))) for shade in pair))} for pair in pairs]
    room = rooms()["image"]
    facts = Facts({"image": (room, room.Input(prepare={"size": 8}, encoder={"kind": "cnn"}, modality="image").examined())})
    screen(locate(read_source(written(tmp_path / "c.jsonl", lines), rooms()), {"image": room}), {"image": room}, 0, facts=facts)
    content = facts.columns["image"].content
    assert content[0] == content[2] and len(set(content)) == 3


def test_an_address_in_a_list_is_not_fetched(tmp_path):
    (tmp_path / "a.png").write_bytes(png(1))
    path = written(tmp_path / "c.jsonl", [{"images": ["a.png", "https://x.org/b.png"]}, {"images": ["a.png", "a.png"]}])
    kept = screen(locate(read_source(path, rooms()), {"images": rooms()["image"]}), {"images": rooms()["image"]}, 0.5)
    assert "https://x.org/b.png is an address, and nothing is fetched" in kept.rejects[0].reason


PARTS = st.tuples(st.text(max_size=9), st.none() | st.binary(max_size=9), st.none() | st.floats(0, 9), st.none() | st.floats(0, 9))


@given(st.lists(PARTS, min_size=2, max_size=5))
def test_a_cell_of_several_comes_back_as_it_was(parts):
    name, content = packed_several(parts)
    assert list(unpacked_several(name, content, lambda *told: told).items) == parts and counted(name) == len(parts)


WORDS = ["role", "content", "type", "image_url", "url", "input_audio", "data", "image", "audio"]


def nested(inner):
    said = inner | st.sampled_from(["image_url", "input_audio", "data:,x", "user"])
    return st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), said, max_size=4)


ANY = st.recursive(st.none() | st.integers() | st.text(max_size=5), nested, max_leaves=10)


@trials(max_examples=60)
@given(ANY)
def test_whatever_stands_in_a_line_is_a_row_or_an_error_of_it(value):
    room = rooms()["text"]
    try:
        fields = room.taken_apart({"messages": value})
    except ValueError:
        return
    assert set(fields) - {"messages"} <= {"image", "audio", "video"}


def test_a_span_among_several():
    assert str(Several((Blob(b"x", "a.png"), Span(Blob(b"", "b.wav"), 1, 2)))) == "a.png, b.wav 1-2 s"


def column(chats, keep=10**6):
    room = rooms()["image"]
    settings = room.Input(prepare={"size": 8}, encoder={"kind": "cnn"}, modality="image")
    held = InputColumn(room, room.preparation(settings), "image", locate(read_source(chats, rooms()), {"image": room}), keep)
    held.fit(range(5))
    return held, settings


@pytest.mark.parametrize("keep", [0, 10**6])
def test_batches_hold_all_items_row_by_row_and_encode_as_one_after_the_other(chats, keep):
    held, settings = column(chats, keep)
    torch.manual_seed(0)
    encoder = held.room.encoder(settings, held.preparation.facts()).eval()
    for _ in range(2):  # the second time from what was kept
        packed, present = held.pack([4, 3, 1, 0])
        assert packed.counts_P.tolist() == [3, 2, 1] and present.tolist() == [True, False, True, True]
        with torch.no_grad():
            made = encoder(packed).together(packed.counts_P)
            alone = [encoder(held.pack([row])[0].part(0, 1)).together(held.pack([row])[0].counts_P) for row in (4, 1, 0)]
            single = encoder(Packed(packed.tensors, packed.mask_PT))
        for row, (one, first) in enumerate(zip(alone, (0, 3, 5), strict=True)):
            count = int(packed.counts_P[row])
            length = int(one.mask_BT.sum())
            assert made.mask_BT[row].tolist() == [True] * length + [False] * (made.mask_BT.shape[1] - length)
            assert torch.allclose(made.tokens_BTD[row, :length], one.tokens_BTD[0, :length], atol=1e-5)
            assert torch.allclose(made.tokens_BTD[row, :length], single.tokens_BTD[first : first + count].flatten(0, 1), atol=1e-5)
            assert torch.allclose(made.pooled_BD[row], single.pooled_BD[first : first + count].mean(0), atol=1e-5)
    assert held.pack([0, 2])[0].counts_P is None
    part = packed.part(1, 3)
    assert part.counts_P.tolist() == [2, 1] and all(torch.equal(part.tensors[n], packed.tensors[n][3:]) for n in packed.tensors)


@trials(max_examples=20)
@given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=1, max_size=4))
def test_sequences_of_different_lengths_are_put_together_without_gaps(lengths):
    flat = [length for of_row in lengths for length in of_row]
    mask = torch.arange(4) < torch.tensor(flat)[:, None]
    tokens = torch.arange(len(flat) * 4.0).reshape(-1, 4, 1)
    made = Encoded(tokens, mask, tokens[:, 0]).together(torch.tensor([len(of_row) for of_row in lengths]))
    done = 0
    for row, of_row in enumerate(lengths):
        wanted = [float(4 * (done + item) + place) for item, length in enumerate(of_row) for place in range(length)]
        assert made.tokens_BTD[row, : len(wanted), 0].tolist() == wanted and made.mask_BT[row].tolist().count(True) == len(wanted)
        assert not made.mask_BT[row, len(wanted) :].any()
        assert made.pooled_BD[row, 0] == pytest.approx(float(tokens[done : done + len(of_row), 0, 0].mean()))
        done += len(of_row)


def test_what_takes_one_value_a_row_says_so(chats):
    from types import SimpleNamespace

    from triptych.run.variants import _refuse_several

    held, settings = column(chats)
    for augment, mixup in ((["mirror"], 0.0), ([], 0.4)):
        recipe = SimpleNamespace(inputs={"image": SimpleNamespace(augment=augment)}, training=SimpleNamespace(mixup=mixup))
        with pytest.raises(InputError, match="takes one value a row, and some rows have several of image"):
            _refuse_several(recipe, {"image": held})
