"""Files that tests make for themselves: small pictures, sounds and tables, in the shape a user would have them."""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
import tempfile
import wave
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image
from tests.reports import reports

settings.register_profile("triptych", deadline=None)  # no test asserts a time: machines are busy
settings.load_profile("triptych")

WORDS = {"low": "a deep dark tone", "high": "a bright sharp whistle"}


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory):
    """Samples are made in a folder of the test run unless the user shares one."""
    os.environ.setdefault("TRIPTYCH_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def forked(tmp_path_factory):
    """Programs in processes of their own, forked from one that has imported all of triptych: see tests/forked.py."""
    from tests.forked import Server

    mine = tmp_path_factory.getbasetemp()
    server = Server(mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine)
    yield server
    server.end()


@pytest.fixture(scope="session")
def real_weights():
    """A function: a name of shared/weights/get.py -> its folder, made once and kept for later runs; skips where it cannot be had."""
    kept = Path(os.environ.get("TRIPTYCH_TEST_WEIGHTS", Path(tempfile.gettempdir()) / "triptych-test-weights"))
    script = Path(__file__).parents[2] / "shared/weights/get.py"

    def get(name: str) -> Path:
        if not (kept / name).exists():
            if not script.exists():
                pytest.skip(f"no real weights: {script} is not there")
            done = subprocess.run([sys.executable, str(script), str(kept), name], capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"no real weights: {(done.stderr.strip() or 'nothing is said').splitlines()[-1]}")
        return kept / name

    return get


def write_picture(path: Path, label: str, seed: int, size: int = 16) -> None:
    """A noisy picture, dark for low and bright for high."""
    noise = np.random.default_rng(seed).integers(0, 80, (size, size, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((noise + (150 if label == "high" else 10)).astype(np.uint8)).save(path)


def write_tone(path: Path, label: str, seed: int, rate: int = 8000) -> None:
    """A quarter of a second, 200 Hz for low and 1,600 Hz for high, of varied loudness and length."""
    draw = random.Random(seed)
    time = np.arange(int(rate * draw.uniform(0.15, 0.3))) / rate
    tone = draw.uniform(0.2, 0.9) * np.sin(2 * np.pi * (1600 if label == "high" else 200) * draw.uniform(0.9, 1.1) * time)
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((tone * 32767).astype("<i2").tobytes())


def write_table(folder: Path, rows: int = 40, holes: bool = True) -> Path:
    """table.csv with columns image, audio, text, label, tags, number, speaker, side; every third row lacks an input."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for index in range(rows):
        label = ("low", "high")[index % 2]
        image, audio = f"pictures/{index}.png", f"sounds/{index}.wav"
        write_picture(folder / image, label, index)
        write_tone(folder / audio, label, index)
        cells = {"image": image, "audio": audio, "text": f"{WORDS[label]}, number {index}"}
        if holes and index % 3 == 0:
            cells[("image", "audio", "text")[index // 3 % 3]] = ""
        tags = "|".join(tag for tag, given in (("even", index % 4 == 0), (label, True)) if given)
        side = ("test", "validation", "train", "train", "train")[index // 2 % 5]
        lines.append(
            {
                **cells,
                "label": label,
                "tags": tags,
                "number": index * 0.5 + (50 if label == "high" else 0),
                "speaker": f"s{index % 7}",
                "side": side,
            }
        )
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return folder / "table.csv"


TINY = """
name: tiny
data: {source: table.csv, split: {column: side}}
inputs:
  image: {prepare: {size: 16}, encoder: {kind: cnn, widths: [4, 8], width: 8}}
  audio: {prepare: {rate: 8000, bins: 16}, encoder: {kind: cnn, widths: [4, 8], width: 8}}
  text: {prepare: {vocabulary: 300}, encoder: {kind: gru, width: 8, depth: 1}}
tasks:
  match: {kind: contrast, between: [image, audio, text], positives: label, width: 8}
  label: {kind: classify, target: label}
fusion: {kind: joint, width: 8}
stages:
  - {train: [all], epochs: 2, lr: 1.0e-2}
training: {batch_size: 12, threads: 1}
report: {rows: 2}
"""


@pytest.fixture(scope="session")
def tiny_table(tmp_path_factory) -> Path:
    """A table of 40 rows with pictures, tones, texts and targets; some rows lack an input."""
    return write_table(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_recipe(tiny_table) -> Path:
    """A recipe over `tiny_table` that trains in about a second."""
    path = tiny_table.parent / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def tiny_run(tiny_recipe, tmp_path_factory):
    """A finished run of `tiny_recipe` with its report."""
    import triptych

    with reports():
        return triptych.train(tiny_recipe, out=tmp_path_factory.mktemp("runs") / "tiny", quiet=True)


@pytest.fixture(scope="session")
def charts_in_words():
    """Inside of it, no chart is drawn."""
    return partial(reports, charts=False)


@pytest.fixture(scope="module")
def no_charts():
    """For `pytestmark = pytest.mark.usefixtures("no_charts")`: where reports are written beside what is tested."""
    with reports(charts=False):
        yield


@pytest.fixture(scope="module")
def no_reports():
    """As `no_charts`, where nobody looks at the reports: trainings write blank ones."""
    with reports(charts=False, pages=False):
        yield


def write_film_file(
    path: Path,
    *,
    frames: int = 24,
    rate: int = 8,
    size: tuple[int, int] = (32, 24),
    codec: str = "",
    sound: str = "",
    sound_rate: int = 16000,
    levels=None,
    stamps=None,
    gop: int = 6,
) -> Path:
    """A film whose frame k is grey of brightness `levels(k)`, at `stamps[k]` / `rate` seconds; `sound` names the codec of a rising tone."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    codec = codec or ("libvpx" if path.suffix == ".webm" else "mpeg4")
    with av.open(str(path), "w") as file:
        track = None
        if frames:
            stream = file.add_stream(codec, rate=rate)
            (stream.width, stream.height), stream.pix_fmt, stream.gop_size = size, "yuv420p", gop
            stream.bit_rate = 1_000_000
            stream.codec_context.thread_count = 1
        if sound:
            track = file.add_stream(sound, rate=sound_rate)
            track.layout = "mono"
        for number in range(frames):
            level = levels(number) if levels else 20 + 8 * number % 200
            picture = np.full((size[1], size[0], 3), level, np.uint8) if np.isscalar(level) else level
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = stamps[number] if stamps else number
            file.mux(stream.encode(frame))
        if frames:
            file.mux(stream.encode())
        if track is not None:
            time = np.arange(int(sound_rate * max(frames, rate) / rate)) / sound_rate
            tone = (0.4 * np.sin(2 * np.pi * (200 + 60 * time) * time)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(tone[None], format="flt", layout="mono")
            frame.sample_rate, frame.pts = sound_rate, 0
            file.mux(track.encode(frame))
            file.mux(track.encode())
    return path


@pytest.fixture(scope="session")
def write_film():
    """`write_film_file`, for tests anywhere."""
    return write_film_file


@pytest.fixture(scope="session")
def write_sound():
    """A WAV of 0.2 seconds at 8 kHz."""

    def write(path: Path, seconds: float = 0.2, rate: int = 8000) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        time = np.arange(int(rate * seconds)) / rate
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, rate, 0, "NONE", ""))
            file.writeframes((0.5 * 32767 * np.sin(2 * np.pi * (300 + 40 * time) * time)).astype("<i2").tobytes())
        return path

    return write


def write_text_model(folder: Path, words: list[str], seed: int = 0) -> Path:
    """A tiny T5 with random weights and a tokenizer of these words, as `save_pretrained` writes them."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    known = dict.fromkeys(["<pad>", "</s>", "<unk>", *words])
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(known)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>").save_pretrained(folder)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
        config = T5Config(vocab_size=len(known), decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, **sizes)
        T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def text_model():
    """`write_text_model`."""
    pytest.importorskip("transformers")
    return write_text_model


def write_gguf_file(model: Any, words: list[str], path: Path, kind: str = "F32") -> Path:
    """A Llama as llama.cpp's own converter writes one, with a tokenizer of whole words."""
    import gguf

    config, out = model.config, gguf.GGUFWriter(path, "llama")
    out.add_block_count(config.num_hidden_layers)
    out.add_context_length(config.max_position_embeddings)
    out.add_embedding_length(config.hidden_size)
    out.add_feed_forward_length(config.intermediate_size)
    out.add_head_count(config.num_attention_heads)
    out.add_head_count_kv(config.num_key_value_heads)
    out.add_layer_norm_rms_eps(config.rms_norm_eps)
    out.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    out.add_rope_freq_base(10_000.0)
    out.add_vocab_size(config.vocab_size)
    pieces = ["<unk>", "<s>", "</s>", "<pad>", *(f"\u2581{word}" for word in words)]
    pieces += [f"<x{n}>" for n in range(config.vocab_size - len(pieces))]
    out.add_tokenizer_model("llama")
    out.add_token_list(pieces)
    out.add_token_scores([-float(n) for n in range(len(pieces))])
    out.add_token_types([2, 3, 3, 3, *[1] * (len(pieces) - 4)])
    for name, number in (("unk", 0), ("bos", 1), ("eos", 2), ("pad", 3)):
        getattr(out, f"add_{name}_token_id")(number)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        array = tensor.numpy().astype(np.float32)
        if count := next((n for part, n in heads.items() if part in name), 0):  # llama.cpp turns pairs next to each other
            array = array.reshape(count, 2, -1, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
        as_kind = gguf.GGMLQuantizationType[kind if array.ndim == 2 and array.shape[1] % 32 == 0 else "F32"]
        out.add_tensor(names.get_name(name, (".weight", ".bias")), gguf.quants.quantize(array, as_kind), raw_dtype=as_kind)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path


@pytest.fixture(scope="session")
def write_gguf():
    """`write_gguf_file`."""
    pytest.importorskip("gguf")
    return write_gguf_file
