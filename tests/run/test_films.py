"""Films as one column of two inputs, from files to answers: frames and sound, what is missing, what is broken, what is proposed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import triptych
from triptych.base.errors import Absent, BadValue, InputError
from triptych.contract.cells import Span
from triptych.data.build import Plan, build
from triptych.data.sources import open_source
from triptych.data.sources.tabled import read_source
from triptych.modalities import rooms
from triptych.run.inspect import told
from triptych.run.opening import open_table
from triptych.run.progress import Voice
from triptych.run.recipe import read
from triptych.use.opened import rows_of_files
from triptych.use.report import write_report
from triptych.use.start import propose

QUIET = Voice(quiet=True)
RECIPE = """
name: films
data: {source: SOURCE, split: {column: side}}
inputs:
  clip:
    {modality: video, column: film, prepare: {rate: 4, size: 16}, encoder: {kind: transformer, widths: [4], width: 8, heads: 2, depth: 1}}
  sound: {modality: audio, column: film, prepare: {rate: 8000, bins: 16}, encoder: {kind: cnn, widths: [4, 8], width: 8}}
  words: {modality: text, column: words, prepare: {vocabulary: 300}, encoder: {kind: gru, width: 8, depth: 1}}
tasks:
  label: {kind: classify, target: label}
  match: {kind: contrast, between: [clip, sound, words], positives: label, width: 8}
fusion: {kind: joint, width: 8}
stages: [{train: [all], epochs: 2, lr: 1.0e-2}]
training: {batch_size: 10, threads: 1}
report: {rows: 2}
"""
ENDINGS = ("mp4", "webm", "mkv", "mov", "avi")
SOUND = {"mp4": "aac", "webm": "libopus", "mkv": "libmp3lame", "mov": "pcm_s16le", "avi": "libmp3lame"}


def picture(index: int, frame: int) -> np.ndarray:
    """A bright bar that goes down or up over noise of its own."""
    noise = np.random.default_rng([index, frame]).integers(0, 80, (16, 24, 3)).astype(np.uint8)
    place = frame if index % 2 else 7 - frame
    noise[2 * place : 2 * place + 3] = 240
    return noise


def broken_sound(path: Path) -> None:
    """Every packet of the sound becomes noise; the pictures stay as they are."""
    import av

    content = bytearray(path.read_bytes())
    draw = np.random.default_rng(0)
    with av.open(str(path)) as file:
        places = [(packet.pos, packet.size) for packet in file.demux(audio=0) if packet.size]
    for place, size in places:
        content[place : place + size] = draw.integers(0, 256, size, dtype=np.uint8).tobytes()
    path.write_bytes(bytes(content))


@pytest.fixture(scope="module")
def films(tmp_path_factory, write_film) -> Path:
    """30 films of one second in five formats; every sixth is mute, one has a broken sound track, one is no film at all."""
    folder = tmp_path_factory.mktemp("films")
    rows = []
    for index in range(30):
        ending = ENDINGS[index % 5]
        path = folder / ("down" if index % 2 else "up") / f"{index}.{ending}"
        sound = "" if index % 6 == 5 else SOUND[ending]
        write_film(
            path,
            frames=8,
            size=(24, 16),
            levels=lambda k, i=index: picture(i, k),
            sound=sound,
            sound_rate=8000 if ending != "webm" else 48000,
        )
        side = ("test", "validation", "train", "train", "train")[index // 2 % 5]
        rows.append(
            {
                "film": path.relative_to(folder),
                "words": f"it goes {path.parent.name}, number {index}",
                "label": path.parent.name,
                "side": side,
            }
        )
    broken_sound(folder / "up" / "10.mp4")
    (folder / "down" / "7.mkv").write_bytes(b"no film")
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "films.yaml").write_text(RECIPE.replace("SOURCE", "table.csv"))
    return folder


@pytest.fixture(scope="module")
def run(films, tmp_path_factory):
    return triptych.train(films / "films.yaml", out=tmp_path_factory.mktemp("runs") / "films", quiet=True)


def absent(recipe, table) -> dict[str, tuple[int, str]]:
    return {finding.code: (finding.rows, finding.text) for finding in told(recipe, table) if finding.code in ("absent", "unreadable")}


def test_rows_are_kept_without_what_their_films_lack(films):
    recipe = read(str(films / "films.yaml"))
    table = open_table(recipe, QUIET)
    assert len(table.rows) == 29 and [reject.reason.split(":")[0] for reject in table.rejects] == ["film"]
    assert sum(table.has("film")) == 29 and sum(table.has("film as audio")) == 29 - 5 - 1
    assert all("film as audio" not in row.cells for row in table.rows if row.cells["film"].name in ("5.mp4", "11.webm", "10.mp4"))
    found = absent(recipe, table)
    assert found["absent"][0] == 5 and "no sound in the file, only video" in found["absent"][1]
    assert found["unreadable"][0] == 1 and "film as audio" in found["unreadable"][1]


def test_films_without_any_sound_are_named_with_the_reason(films):
    """Five of them, of which nothing can be learnt from sound."""
    mute = ["data.split={validation: 0.2, test: 0.2}", f"data.source={films / 'mute.csv'}"]
    lines = (films / "table.csv").read_text().splitlines()
    (films / "mute.csv").write_text("\n".join(lines[:1] + lines[6::6]) + "\n")
    with pytest.raises(InputError, match=r"input 'sound'; 5 rows, such as row-1, row-2, .*: there is no sound in the file, only video"):
        open_table(read(str(films / "films.yaml"), [*mute, "data.max_rejected=0.5"]), QUIET)


def test_it_trains_on_frames_sound_and_words(run, films):
    about = json.loads((run.folder.path / "run.json").read_text())
    assert about["status"] == "done" and about["rejected"] == 1
    assert any("clip" in str(score) and "sound" in str(score) for score in run.scores)
    page = write_report(run.folder).read_text()
    assert 'class="value video"' in page and 'class="value audio"' in page and "film as audio" in page


def test_a_file_is_given_to_every_input_that_reads_its_column(run, films):
    whole, mute = films / "up" / "12.mkv", films / "down" / "5.mp4"
    rows = list(rows_of_files(run, [str(whole), str(mute)]))
    assert rows[0] == {"clip": whole, "sound": whole}
    answers = run.predict_rows(rows)
    assert set(answers[0].row) == {"clip", "sound"} and set(answers[1].row) == {"clip"}
    alone = run.predict(clip=mute)
    assert alone["label"]["probabilities"]["up"] == pytest.approx(answers[1]["label"]["probabilities"]["up"], abs=1e-5)
    with pytest.raises(Absent):
        run.predict(sound=mute)
    with pytest.raises(BadValue):
        run.predict(clip=films / "down" / "7.mkv", sound=films / "down" / "7.mkv")
    piece = run.predict(clip=Span(whole, 0.25, 0.75), sound=Span(whole, 0.25, 0.75))
    assert piece["label"]["probabilities"] != answers[0]["label"]["probabilities"]


def test_a_table_on_the_disk_gives_the_same(films, tmp_path):
    """By reference, and by value: the same rows lack the same inputs."""
    recipe = read(str(films / "films.yaml"))
    before = open_table(recipe, QUIET)
    for name, copied in (("reference", False), ("value", True)):
        table = tmp_path / f"{name}.lance"
        built = build(open_source(films / "table.csv", rooms()), table, rooms(), Plan(copied=copied), QUIET)
        assert "film: there is no audio in the files of 5 of 29 rows, such as row-6, row-12, row-18, row-24, row-30" in built.findings
        after = open_table(read(str(films / "films.yaml"), source=str(table)), QUIET)
        for column in ("film", "film as audio"):
            assert after.has(column) == before.has(column)
        assert absent(recipe, after).keys() == absent(recipe, before).keys()


def test_columns_that_two_rooms_cannot_share(films):
    with pytest.raises(InputError, match="as two modalities, and no file is both video and image"):
        read(str(films / "films.yaml"), ["inputs.sound={modality: image, column: film}"])
    with pytest.raises(InputError, match="the answer stands in the question"):
        read(str(films / "films.yaml"), ["tasks.label.target=film"])
    with pytest.raises(InputError, match=r"data\.columns may not write 'film as audio'"):
        read(str(films / "films.yaml"), ["data.columns={film as audio: words}"])


def test_a_renamed_column_is_shared_too(films):
    recipe = read(
        str(films / "films.yaml"),
        ["data.columns={movie: film}", "inputs.clip.column=movie", "inputs.sound.column=movie"],
    )
    table = open_table(recipe, QUIET)
    assert sum(table.has("movie")) == 29 and sum(table.has("movie as audio")) == 23 and "film" not in table.columns


def test_init_proposes_frames_and_sound_that_train_as_they_stand(films, tmp_path):
    for part in ("up", "down"):
        (tmp_path / "clips" / part).mkdir(parents=True)
        for path in sorted((films / part).glob("*.mp4")):
            (tmp_path / "clips" / part / path.name).symlink_to(path)
    out = tmp_path / "mine.yaml"
    text = propose(tmp_path / "clips", out)
    out.write_text(text)
    recipe = read(str(out), ["stages.0.epochs=1", "training.threads=1"])
    assert {name: (words.modality, words.column) for name, words in recipe.inputs.items()} == {
        "video": ("video", None),
        "audio": ("audio", "video"),
    }
    assert recipe.tasks["label"].target == "label" and recipe.tasks["match"].between == ["video", "audio"]
    trained = triptych.train(out, out=tmp_path / "run", set=["stages.0.epochs=1", "training.threads=1"], quiet=True)
    assert trained.predict(video=next((tmp_path / "clips" / "up").iterdir()))["label"]["said"] in ("up", "down")
    from triptych.use.embed import embed_source

    assert embed_source(trained, tmp_path / "clips", tmp_path / "v.parquet", QUIET)["columns"] == [
        "id",
        "fused",
        "match.video",
        "match.audio",
    ]


def test_files_that_are_called_like_films_and_hold_sound_alone_are_sound(tmp_path, write_film):
    for number in range(6):
        write_film(tmp_path / "calls" / "ab"[number % 2] / f"{number}.webm", frames=0, sound="libopus", sound_rate=48000)
    assert read_source(tmp_path / "calls", rooms()).columns == ["audio", "label"]
    text = propose(tmp_path / "calls", tmp_path / "x.yaml")
    assert "audio: {prepare" in text and "video" not in text
    with (tmp_path / "calls.csv").open("w") as file:
        file.write("call,label\n" + "".join(f"calls/{'ab'[n % 2]}/{n}.webm,{'ab'[n % 2]}\n" for n in range(6)))
    assert "call: {modality: audio" in propose(tmp_path / "calls.csv", tmp_path / "x.yaml")


def test_silent_tracks_are_a_finding(tmp_path, write_film):
    """Tracks that are there and in which nothing is heard, beside films that have none, and damaged ones."""
    lines = []
    for number in range(20):
        sound = "pcm_s16le" if number % 4 else ""
        path = write_film(
            tmp_path / f"{number}.mov", frames=8, levels=lambda k, n=number: picture(n, k), size=(24, 16), sound=sound, sound_rate=8000
        )
        if number % 4 == 1:
            silence(path)
        lines.append(f"{path.name},{'ab'[number % 2]},{('train', 'train', 'train', 'validation', 'test')[number // 2 % 5]}")
    (tmp_path / "t.csv").write_text("film,label,side\n" + "\n".join(lines))
    (tmp_path / "r.yaml").write_text(RECIPE.replace("SOURCE", "t.csv").replace("clip, sound, words", "clip, sound"))
    tree = (tmp_path / "r.yaml").read_text().splitlines()
    (tmp_path / "r.yaml").write_text("\n".join(line for line in tree if not line.startswith("  words")))
    recipe = read(str(tmp_path / "r.yaml"))
    found = {(finding.code, finding.severity): finding for finding in told(recipe, open_table(recipe, QUIET))}
    assert found["silent", "warning"].rows == 5 and found["silent", "warning"].text.startswith("film as audio: nothing is heard")
    assert found["absent", "warning"].rows == 5 and found["gaps", "note"].rows == 5


def silence(path: Path) -> None:
    """Zeros in place of the samples."""
    import av

    content = bytearray(path.read_bytes())
    with av.open(str(path)) as file:
        for packet in file.demux(audio=0):
            if packet.size:
                content[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    path.write_bytes(bytes(content))
