"""A decoder's training step: the loss over its vocabulary, and rows laid end to end, beside the plain ways.

    python -m benchmarks decoder                               sizes of SmolLM2-135M (random weights), float32
    python -m benchmarks decoder --places 1024 --blocks 3      some tenth of it

The loss: 4,096 places of width 576 over 49,152 entries, forward and backward, beside `cross_entropy` over whole logits. Peaks of
memory are of a process each, above the inputs (Linux). The rows: answers of 10 to 300 tokens, LoRA of rank 16 beside every
linear layer, forward and backward, laid end to end (`layers/rows.py`) and padded to the longest; the padded batch once with the
same loss over its real tokens, and once as `model(input_ids, labels=...)` of transformers does it. One thread, in turns,
processor seconds: they hold on a machine that does other things too. Generation: mixed rows (long and short questions; a picture, a
voice, or words alone) answered in one batch and one at a time, both with the kept keys and values of what was read.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

ENTRIES, WIDTH = 49_152, 576
RANK, SHORTEST, LONGEST = 16, 10, 300
WORDS, PICTURE, VOICE, ANSWER = (5, 60), 64, 100, 24
"""Of what is answered: words of a question, at least and at most; tokens of a picture, of a voice, of an answer."""
CHILD = """
import sys, torch
from benchmarks.decoder import losses

def memory(word):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(word)) / 1024

name, trained, places, entries = sys.argv[1], sys.argv[2] == "trained", int(sys.argv[3]), int(sys.argv[4])
losses(64, 64, trained)[name]()  # what torch takes once
step = losses(places, entries, trained)[name]
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak starts anew
before = memory("VmRSS")
step()
print(memory("VmHWM") - before)
"""


def losses(places: int, entries: int, trained: bool) -> dict[str, Callable[[], None]]:
    """One step of ours and one of the plain loss, over the same inputs."""
    from triptych.layers.vocabulary import vocabulary_loss

    torch.manual_seed(0)
    hidden_ND = torch.randn(places, WIDTH, requires_grad=True)
    weight_VD = (0.02 * torch.randn(entries, WIDTH)).requires_grad_(trained)
    target_N = torch.randint(entries, (places,))

    def ours() -> None:
        vocabulary_loss(hidden_ND, weight_VD, target_N).mean().backward()

    def plain() -> None:
        F.cross_entropy(hidden_ND @ weight_VD.T, target_N).backward()

    def clean(step: Callable[[], None]) -> Callable[[], None]:
        def cleaned() -> None:
            hidden_ND.grad = weight_VD.grad = None
            step()

        return cleaned

    return {"ours": clean(ours), "plain": clean(plain)}


def in_turns(steps: dict[str, Callable[[], None]], turns: int) -> dict[str, list[float]]:
    """Processor seconds of each, `turns` times in turn, the first turn not counted."""
    spent: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(turns + 1):
        for name, step in steps.items():
            began = time.process_time()
            step()
            if turn:
                spent[name].append(time.process_time() - began)
    return spent


def told(spent: dict[str, list[float]], reference: str) -> str:
    """The median of each, and of its ratio to the reference within a turn, with its range."""
    said = []
    for name, seconds in spent.items():
        ratios = [one / other for one, other in zip(seconds, spent[reference], strict=True)]
        shown = "" if name == reference else f" ({statistics.median(ratios):.2f} times, {min(ratios):.2f} to {max(ratios):.2f})"
        said.append(f"{name} {statistics.median(seconds):.2f} s{shown}")
    return ", ".join(said)


def vocabulary(places: int, turns: int) -> None:
    """Memory and time of the loss alone."""
    for which in ("frozen", "trained"):
        peaks = {}
        for name in ("ours", "plain"):
            command = [sys.executable, "-c", CHILD, name, which, str(places), str(ENTRIES)]
            peaks[name] = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        spent = in_turns(losses(places, ENTRIES, which == "trained"), turns)
        print(
            f"loss over {ENTRIES:,} entries, {places:,} places, {which} weight: peak {peaks['ours']:,.0f} MB,"
            f" plain {peaks['plain']:,.0f} MB; {told(spent, 'plain')}",
            flush=True,
        )


def decoder(layers: int) -> Any:
    """Of SmolLM2-135M's sizes but for the number of blocks, random weights, with low-rank additions."""
    import peft
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=ENTRIES, hidden_size=WIDTH, intermediate_size=1536, num_hidden_layers=layers, num_attention_heads=9,
        num_key_value_heads=3, tie_word_embeddings=True, max_position_embeddings=8192, rope_theta=100_000,
    )  # fmt: skip
    lora = peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft asks transformers by older names
        return peft.get_peft_model(transformers.LlamaForCausalLM(config), lora).train()


def ways(model: Any, lengths: list[int]) -> dict[str, Callable[[], None]]:
    """One step over the same rows: laid end to end, padded with the same loss, and padded as transformers does it."""
    from triptych.layers.rows import can_lay, laid, places
    from triptych.layers.vocabulary import vocabulary_loss

    assert can_lay(model)
    base = model.get_base_model()
    weight_VD = base.get_output_embeddings().weight
    rows = [torch.randint(ENTRIES, (length,)) for length in lengths]
    ids_RT = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask_RT = torch.arange(ids_RT.shape[1]) < torch.tensor(lengths)[:, None]
    target_N = torch.cat([row.roll(-1) for row in rows])  # the last one's is no real target, and costs the same

    def loss(hidden_ND: Tensor) -> None:
        vocabulary_loss(hidden_ND, weight_VD, target_N).mean().backward()

    def end_to_end() -> None:
        with laid(lengths):
            loss(base.model(torch.cat(rows)[None], position_ids=places(lengths), use_cache=False).last_hidden_state[0])

    def padded() -> None:
        loss(base.model(ids_RT, attention_mask=mask_RT, use_cache=False).last_hidden_state[mask_RT])

    def plain() -> None:
        base(ids_RT, attention_mask=mask_RT, labels=ids_RT.masked_fill(~mask_RT, -100), use_cache=False).loss.backward()

    return {"end to end": end_to_end, "padded": padded, "transformers": plain}


def rows(count: int, layers: int, turns: int) -> None:
    """Tokens a second, of real ones, and the share of padding."""
    chosen = random.Random(0)
    lengths = [chosen.randint(SHORTEST, LONGEST) for _ in range(count)]
    spent = in_turns(ways(decoder(layers), lengths), turns)
    padding = 1 - sum(lengths) / (count * max(lengths))
    speeds = ", ".join(f"{name} {sum(lengths) / statistics.median(seconds):,.0f}" for name, seconds in spent.items())
    print(f"{count} rows of {min(lengths)} to {max(lengths)} tokens through {layers} blocks: {padding:.0%} of a padded batch is padding")
    print(f"real tokens a processor second: {speeds}; a step: {told(spent, 'padded')}", flush=True)


def generation(count: int, layers: int, turns: int) -> None:
    """Mixed rows answered in one batch, beside the same rows one at a time."""
    from triptych.contract.generator import IDS, LEARNT, SLOTS
    from triptych.contract.values import Fused, Packed
    from triptych.contract.writes import How
    from triptych.modalities.text.causal import SmallWriter
    from triptych.modalities.text.decoders import Small

    torch.manual_seed(0)
    settings = Small(layers=layers, width=WIDTH, heads=9, vocabulary=ENTRIES)
    writer = SmallWriter(settings, vocabulary=ENTRIES, stops=[0], pad=0, inputs=["image", "voice"]).eval()
    chosen = random.Random(0)
    lengths = [chosen.randint(*WORDS) for _ in range(count)]
    mask_PT = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids_PT = torch.randint(1, ENTRIES, mask_PT.shape) * mask_PT
    slot_PT = torch.full(mask_PT.shape, -1)
    slot_PT[:, 0] = torch.arange(count) % 3 - 1  # rows without an input, with a picture, with a voice
    asked = Packed({IDS: ids_PT, SLOTS: slot_PT, LEARNT: torch.zeros_like(mask_PT)}, mask_PT)
    prefix = {name: [[torch.randn(length, WIDTH)] for _ in range(count)] for name, length in (("image", PICTURE), ("voice", VOICE))}
    nothing = torch.zeros(count, 1, WIDTH)
    fused = Fused(nothing, torch.ones(count, 1, dtype=torch.bool), nothing[:, 0], {}, {}, prefix)
    written: dict[str, list[int]] = {}

    def together() -> None:
        written["together"] = list(map(len, writer.write(asked, fused, How(ANSWER))))

    def alone() -> None:
        found = []
        for row, length in enumerate(lengths):
            one = Packed({name: tensor[row : row + 1, :length] for name, tensor in asked.tensors.items()}, mask_PT[row : row + 1, :length])
            found += writer.write(one, fused.rows(torch.tensor([row])), How(ANSWER))
        written["alone"] = list(map(len, found))

    spent = in_turns({"together": together, "one at a time": alone}, turns)
    tokens = sum(written["together"])
    speeds = ", ".join(f"{name} {tokens / statistics.median(seconds):,.0f}" for name, seconds in spent.items())
    print(f"answers to {count} mixed rows, {ANSWER} tokens each, through {layers} blocks; written tokens a processor second: {speeds}")
    print(f"an answer to all: {told(spent, 'one at a time')}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--places", type=int, default=4096, help="places of which the loss alone is taken")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--blocks", type=int, default=30)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"float32, one thread; load {os.getloadavg()[0]:.1f}")
    vocabulary(args.places, args.turns)
    rows(args.rows, args.blocks, args.turns)
    generation(args.rows, args.blocks, args.turns)


if __name__ == "__main__":
    main()
