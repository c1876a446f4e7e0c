"""Vectors of files by pretrained encoders of common sizes (random weights), beside plain transformers in float32.

    python -m benchmarks.embedding                                      pictures, texts and clips
    python -m benchmarks.embedding --pictures 32 --texts 200 --clips 8  fewer of them

triptych's side is what a first run does: files are read and prepared in threads beside the encoder, rows of like length come
together, and vectors are kept on the disk. The reference reads the same files, calls the model's own processor and the model
in float32, in batches of 32: of texts as sentence-transformers does by default, longest first, and the mean over tokens.
Models are read before the clock starts. The share of the machine's peak is of a product of two square matrices of 2,048.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks import finetune
from benchmarks.memory import SYLLABLES, picture

BATCH = 32


class Kind(NamedTuple):
    """One sort of input: the room, the base, its cells, and how plain transformers makes vectors of them."""

    room: str
    base: Path
    cells: list[str]
    plain: Callable[[], torch.Tensor]
    prepare: dict[str, Any]
    pool: str = "auto"


def pictures(folder: Path, count: int) -> Kind:
    """ViT-B/16 over PNG files of 256 pixels."""
    import transformers
    from PIL import Image

    for number in range(count):
        (folder / f"{number}.png").write_bytes(picture(number, 256))
    transformers.ViTModel(transformers.ViTConfig()).save_pretrained(folder / "base")
    transformers.ViTImageProcessor().save_pretrained(folder / "base")
    model = transformers.ViTModel.from_pretrained(folder / "base").eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder / "base")
    names = [f"{number}.png" for number in range(count)]

    def plain() -> torch.Tensor:
        found = []
        for start in range(0, count, BATCH):
            shown = [Image.open(folder / name).convert("RGB") for name in names[start : start + BATCH]]
            found.append(model(**processor(shown, return_tensors="pt")).pooler_output)
        return torch.cat(found)

    return Kind("image", folder / "base", names, plain, {})


def texts(folder: Path, count: int) -> Kind:
    """A BERT of MiniLM's size over texts of 4 to 60 words, most of them short."""
    import transformers

    words = sorted({a + b for a in SYLLABLES for b in SYLLABLES})
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]), encoding="utf-8")
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    transformers.BertModel(transformers.BertConfig(vocab_size=30522, **sizes)).save_pretrained(folder / "base")
    transformers.BertTokenizerFast(str(vocabulary), model_max_length=256).save_pretrained(folder / "base")
    draw = random.Random(0)
    cells = [" ".join(draw.choices(words, k=4 + int(56 * draw.random() ** 2))) for _ in range(count)]
    model = transformers.BertModel.from_pretrained(folder / "base").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "base")

    def plain() -> torch.Tensor:
        order = sorted(range(count), key=lambda place: -len(cells[place]))
        found: list[Any] = [None] * count
        for start in range(0, count, BATCH):
            here = order[start : start + BATCH]
            tokens = tokenizer([cells[place] for place in here], padding=True, truncation=True, return_tensors="pt")
            mask_PT1 = tokens["attention_mask"][..., None].float()
            mean_PD = (model(**tokens).last_hidden_state * mask_PT1).sum(1) / mask_PT1.sum(1)
            for place, vector_D in zip(here, mean_PD, strict=True):
                found[place] = vector_D
        return torch.stack(found)

    return Kind("text", folder / "base", cells, plain, {"max_tokens": 128}, "mean")


def clips(folder: Path, count: int) -> Kind:
    """The sound half of CLAP over clips of five seconds."""
    import soundfile
    import transformers

    finetune.make(folder, count)
    model = transformers.ClapAudioModelWithProjection.from_pretrained(folder / "base").eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder / "base")
    names = [f"clips/{number:04d}.wav" for number in range(count)]

    def plain() -> torch.Tensor:
        found = []
        for start in range(0, count, BATCH):
            heard = [soundfile.read(folder / name, dtype="float32")[0] for name in names[start : start + BATCH]]
            features = extractor(heard, sampling_rate=finetune.RATE, return_tensors="pt")["input_features"]
            found.append(model(input_features=features, is_longer=None).audio_embeds)
        return torch.cat(found)

    return Kind("audio", folder / "base", names, plain, {"seconds": finetune.SECONDS})


def ours(folder: Path, kind: Kind, precision: str) -> tuple[float, float, Any]:
    """Seconds by the clock and of the processor, and the bench with what is now remembered."""
    from triptych.run.building import build
    from triptych.run.memory import remember
    from triptych.run.opening import open_table
    from triptych.run.progress import Voice
    from triptych.run.recipe import read

    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["cell", "label", "side"], *([cell, row % 2, "train"] for row, cell in enumerate(kind.cells))])
    encoder = {"kind": "pretrained", "name": str(kind.base), "pool": kind.pool}
    tree = {
        "data": {"source": str(folder / "table.csv"), "split": {"column": "side"}},
        "inputs": {"cell": {"modality": kind.room, "prepare": kind.prepare, "encoder": encoder}},
        "tasks": {"label": {"kind": "classify", "target": "label"}},
        "fusion": {"kind": "single"},
        "stages": [{"train": ["fusion", "label"], "epochs": 1}],
        "training": {"precision": precision},
    }
    recipe, quiet = read(tree), Voice(quiet=True)
    bench = build(recipe, open_table(recipe, quiet), quiet)
    bench.model.encoders["cell"].ready()  # type: ignore[operator]
    clock, cpu = time.perf_counter(), time.process_time()
    remember(bench, 0, quiet)
    return time.perf_counter() - clock, time.process_time() - cpu, bench


def work(kind: Kind, bench: Any) -> float:
    """Floating-point operations of one row, as torch counts them over the first batch."""
    from torch.utils.flop_counter import FlopCounterMode

    packed, _ = bench.inputs["cell"].plain.pack(list(range(min(BATCH, len(kind.cells)))))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        bench.model.encoders["cell"](packed)
    return counter.get_total_flops() / min(BATCH, len(kind.cells))


def peak(dtype: torch.dtype, side: int = 2048, turns: int = 4) -> float:
    """Operations a second in the best of some products of two matrices."""
    one, other = torch.randn(side, side).to(dtype), torch.randn(side, side).to(dtype)
    best = float("inf")
    for _ in range(turns):
        began = time.perf_counter()
        one @ other
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best


@torch.no_grad()
def compare(name: str, folder: Path, kind: Kind, precision: str, peaks: dict[str, float]) -> None:
    """Ours and plain, once each, with what they give compared."""
    count = len(kind.cells)
    clock, cpu, bench = ours(folder, kind, precision)
    packed, _ = bench.inputs["cell"].pack(list(range(count)))
    began, spent = time.perf_counter(), time.process_time()
    theirs = kind.plain()
    their_clock, their_cpu = time.perf_counter() - began, time.process_time() - spent
    given = bench.model.encoders["cell"](packed).pooled_BD
    apart = float((1 - torch.nn.functional.cosine_similarity(given, theirs)).max())
    flops = work(kind, bench)
    shares = ", ".join(f"{flops * count / clock / most:.0%} of the {which} peak" for which, most in peaks.items())
    print(
        f"{name:<9} {count / clock:7.1f} a second, plain {count / their_clock:7.1f}: {their_clock / clock:.2f} times by the clock,"
        f" {their_cpu / cpu:.2f} of the processor; {shares}; vectors differ by {apart:.1e} at most (1 - cosine)",
        flush=True,
    )


def main() -> None:
    """Each sort of input in turn."""
    from triptych.base.runtime import Choices, choose_precision

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--texts", type=int, default=4000)
    parser.add_argument("--clips", type=int, default=64)
    args = parser.parse_args()
    choices = Choices()
    precision = choose_precision("auto", "cpu", 20_000_000, choices)
    peaks = {"float32": peak(torch.float32), "bf16": peak(torch.bfloat16)}
    told = ", ".join(f"{which} {most / 1e9:,.0f}" for which, most in peaks.items())
    print(f"triptych computes in {precision}: {choices.made[0].reason}; peaks in GFLOP/s: {told}; load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as place:
        os.environ["TRIPTYCH_CACHE"] = str(Path(place) / "cache")
        for make, count in ((pictures, args.pictures), (texts, args.texts), (clips, args.clips)):
            if count:
                (folder := Path(place) / make.__name__).mkdir()
                compare(make.__name__, folder, make(folder, count), precision, peaks)


if __name__ == "__main__":
    main()
