from __future__ import annotations

import json
import shutil

import pytest

from triptych.base.errors import InputError
from triptych.contract.cells import Span
from triptych.data.layouts import howto100m, layout


def test_rows(miniature, read):
    root = miniature("howto100m")
    rows, rejects = read("howto100m", root)
    assert list(rows) == ["nVbIUDjzWY4-0", "nVbIUDjzWY4-1", "CTPAZ2euJ2Q-0"] and not rejects
    assert rows["nVbIUDjzWY4-1"] == {
        "video": Span(root / "videos/nVbIUDjzWY4.mp4", 0.5, 1.0),
        "text": 'über {braces} "and" [quotes]',
        "video_id": "nVbIUDjzWY4",
        "category_1": "Cars & Other Vehicles",
        "category_2": "Motorcycles",
        "rank": 27,
        "task_id": "52907",
    }
    assert "category_2" not in rows["CTPAZ2euJ2Q-0"] and rows["CTPAZ2euJ2Q-0"]["video"].source.suffix == ".webm"


def test_the_videos_are_videos(miniature):
    av = pytest.importorskip("av")
    for file in (miniature("howto100m") / "videos").iterdir():
        with av.open(str(file)) as opened:
            assert len(list(opened.decode(video=0))) == 8


def test_the_raw_captions_where_there_are_no_others(miniature, read):
    root = miniature("howto100m")
    (root / "caption.json").rename(root / "raw_caption.json")
    assert len(read("howto100m", root)[0]) == 3


@pytest.mark.parametrize(
    ("gone", "part"),
    [("HowTo100M_v1.csv", "the table of videos"), ("caption.json", "the file of captions"), ("videos", "a folder of videos")],
)
def test_missing_parts(miniature, gone, part):
    root = miniature("howto100m")
    shutil.rmtree(root / gone) if (root / gone).is_dir() else (root / gone).unlink()
    with pytest.raises(InputError, match=f"HowTo100M: {part} is missing") as caught:
        layout("howto100m").read(root)
    assert caught.value.where.startswith(str(root / gone))


def test_another_header(miniature):
    root = miniature("howto100m")
    (root / "HowTo100M_v1.csv").write_text("video,category_1,category_2,rank,task_id\n")
    with pytest.raises(InputError, match="no column 'video_id'") as caught:
        layout("howto100m").read(root)
    assert caught.value.known == ["video_id,category_1,category_2,rank,task_id (expected)"]


def test_rejects(miniature, read):
    root = miniature("howto100m")
    with (root / "HowTo100M_v1.csv").open("a") as file:
        file.write("silent,A,B,1,2\nCTPAZ2euJ2Q,A,B,2,3\nnofile,A,B,1,2\nuneven,A,B,1,2\nempty,A,B,1,2\nshort,A\n")
    one = '{"start": [0], "end": [1], "text": ["x"]}'
    odd = '{"start": [0, 5, "a", 1], "end": [1, 4, 6, 2], "text": [NaN, "backwards", "no time", " "]}'
    members = f'"nofile": {one}, "uneven": {{"start": [0], "end": [], "text": []}}, "unlisted": {one}, "number": 17,'
    added = f'{members} "empty": {{"start": [], "end": [], "text": []}}, "nVbIUDjzWY4": {one}, "odd": {odd}'
    (root / "caption.json").write_text(f"{(root / 'caption.json').read_text()[:-1]}, {added} }}\n")
    with (root / "HowTo100M_v1.csv").open("a") as file:
        file.write("odd,A,B,1,2\n")
    (root / "videos/odd.mp4").write_bytes(b"x")
    rows, rejects = read("howto100m", root)
    reasons = dict(rejects)
    assert len(rows) == 3 and len(rejects) == len(reasons) == 13 and rows["CTPAZ2euJ2Q-0"]["rank"] == 1
    says = {
        "HowTo100M_v1.csv line 9": "2 cells where 5",
        "CTPAZ2euJ2Q": "lists it before",
        "silent": "has no captions of it",
        "nofile-0": "no video file is called nofile",
        "uneven": "three lists of one length",
        "number": "three lists of one length",
        "unlisted-0": "HowTo100M_v1.csv has no video unlisted",
        "empty": "has no captions of it",
        "nVbIUDjzWY4": "captions twice",
        "odd-0": "text is nan",
        "odd-1": "from 5 to 4 seconds",
        "odd-2": "from 'a' to 6 seconds",
        "odd-3": "text is ' '",
    }
    assert set(says) == set(reasons) and all(part in reasons[each] for each, part in says.items())


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_large_object_is_read_in_pieces_of_any_size(tmp_path, monkeypatch, chunk, indent):
    monkeypatch.setattr(howto100m, "CHUNK", chunk)
    found = {f"v{number}": {"start": [number, 1.5e3], "text": ['a "quote", {', "é\\"], "end": []} for number in range(5)} | {
        "n": 123,
        "e": {},
    }
    path = tmp_path / "caption.json"
    path.write_text(json.dumps(found, indent=indent))
    assert dict(howto100m.json_items(path)) == found


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"a": {"start": [1', '{"a": {}, ', '{"a" {}}', '{"a": {} "b": nonsense}', "null", "{17: {}}"]
)
def test_captions_that_are_cut_short_or_no_json(miniature, make, content):
    root = miniature("howto100m")
    make.text(root / "caption.json", content)
    with pytest.raises(InputError, match="download and unpack it again") as caught:
        list(layout("howto100m").read(root).rows())
    assert caught.value.where == str(root / "caption.json")


@pytest.mark.slow
def test_it_trains_on_frames_sound_and_captions(miniature, make, tmp_path, write_film):
    """From the publisher's layout to a run: each caption's piece of its video, frames and sound."""
    import triptych
    from triptych.run.opening import open_table
    from triptych.run.progress import Voice
    from triptych.run.recipe import read as read_recipe

    root = miniature("howto100m")
    captions = {}
    for number in range(6):
        name = f"video{number:06d}"
        with (root / "HowTo100M_v1.csv").open("a") as file:
            file.write(f"{name},{('Cars', 'Food')[number % 2]},Thing,{number + 1},{number}\n")
        sound = "" if number == 5 else "aac"
        write_film(root / f"videos/{name}.mp4", frames=16, levels=lambda k, n=number: 20 * n + 5 * k, sound=sound)
        starts = [0.0, 0.5, 1.25, 1.9]
        texts = [f"now {word} part {number}" for word in ("cut", "turn", "glue", "stop")]
        captions[name] = {"start": starts, "end": [0.5, 1.25, 1.75, 9.0], "text": texts}
    captions |= json.loads((root / "caption.json").read_text())
    (root / "caption.json").write_text(json.dumps(captions))
    recipe = tmp_path / "howto.yaml"
    recipe.write_text(f"""
data: {{source: {json.dumps(str(root))}, split: {{group: video_id, validation: 0.2, test: 0.3}}, max_rejected: 0.4}}
inputs:
  video: {{prepare: {{rate: 8, size: 16}}, encoder: {{kind: gru, widths: [4], width: 8}}}}
  sound: {{modality: audio, column: video, prepare: {{rate: 8000, bins: 16}}, encoder: {{kind: cnn, widths: [4], width: 8}}}}
  text: {{prepare: {{vocabulary: 300}}, encoder: {{kind: gru, width: 8, depth: 1}}}}
tasks: {{match: {{kind: contrast, between: [video, sound, text], width: 8}}}}
stages: [{{train: [all], epochs: 1}}]
training: {{threads: 1}}
""")
    table = open_table(read_recipe(str(recipe)), Voice(quiet=True))
    assert [reject.id for reject in table.rejects] == [f"video{n:06d}-3" for n in range(6)]
    assert all("the span 1.9-9 s lies outside of the recording" in reject.reason for reject in table.rejects)
    row = next(row for row in table.rows if row.id == "video000001-1")
    assert row.cells["video"] == row.cells["video as audio"] == Span(root / "videos/video000001.mp4", 0.5, 1.25)
    assert sum(table.has("video as audio")) == 15 and len(table.rows) == 21
    run = triptych.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.scores and (tmp_path / "run" / "report.html").exists()
