"""Real weights: SmolLM2 answers what MobileNetV2 sees and Whisper's encoder hears, after a few steps of a projector and LoRA."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

import triptych

RECIPE = """
data: {{source: rows.jsonl, split: {{column: side}}}}
inputs:
  image: {{encoder: {mobilenet}}}
  voice: {{modality: audio, encoder: {whisper}}}
fusion: {{kind: prefix, projector: mlp, shorten: {{image: 49, voice: 8}}}}
decoder: {{kind: pretrained, name: {smollm2}, lora: {{rank: 4}}}}
tasks:
  answer:
    {{kind: generate, target: answer, template: "{{image}} {{voice}} {{question}}", system: Answer in a word., longest: 4, written: 4}}
stages:
  - {{train: [fusion], epochs: 1, lr: 1.0e-3}}
  - {{train: [fusion, decoder.lora], epochs: 2, lr: 1.0e-3}}
training: {{batch_size: 4}}
"""
COLOURS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 230)}


def rows(folder: Path, count: int = 16) -> None:
    """Pictures of one colour; of every third row a sound beside them, and of every fourth words alone."""
    draw = np.random.default_rng(0)
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number in range(count):
            answer = list(COLOURS)[number % 3]
            row = {"question": "what colour is it", "answer": answer, "side": "train" if number < count - 4 else "test"}
            if number % 4 == 3:
                row["question"] = f"say {answer}"
            else:
                pixels = np.array(COLOURS[answer]) + draw.integers(-20, 20, (48, 48, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
                row["image"] = f"{number}.png"
            if number % 3 == 1:
                soundfile.write(folder / f"{number}.wav", 0.1 * draw.standard_normal(8000).astype(np.float32), 16_000)
                row["voice"] = f"{number}.wav"
            file.write(json.dumps(row) + "\n")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_real_language_model_learns_to_say_what_a_real_eye_sees(real_weights, tmp_path):
    named = {"mobilenet": real_weights("mobilenet"), "whisper": real_weights("whisper-tiny"), "smollm2": real_weights("smollm2")}
    rows(tmp_path)
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(**named))
    run = triptych.train(tmp_path / "recipe.yaml", out=tmp_path / "run", quiet=True)
    score = {one["name"]: one for one in run.scores}["answer.perplexity"]
    assert score["trained"] < 0.5 * score["untouched"], score
    told = run.predict(image=tmp_path / "12.png", question="what colour is it").tasks["answer"]["said"]
    assert told and len(told) < 20  # a word, as it was taught, and no sentence; which one is no matter of so few rows
    learnt = run.folder.path / "model" / "decoder"
    assert (learnt / "adapter" / "adapter_model.safetensors").stat().st_size < 10_000_000  # the base lies beside it, as it was
