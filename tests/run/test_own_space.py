"""What a dual encoder knows untouched: rows beside sentences in the space that its two halves share."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors

import triptych
from triptych.base.errors import InputError
from triptych.use.evaluate import evaluate
from triptych.use.report import write_report

WORDS = ["[PAD]", "[UNK]", "[BOS]", "[EOS]", "a", "picture", "of", "red", "green", "thing", "in", "the", "dark"]
PATCHES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "image_size": 16, "patch_size": 8}
TEXT = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 16,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A tiny random CLIP, complete: both halves, processor, tokenizer."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    config = transformers.CLIPConfig(
        text_config={**TEXT, "projection_dim": 12}, vision_config={**PATCHES, "projection_dim": 12}, projection_dim=12
    )
    model = transformers.CLIPModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    size = {"shortest_edge": 16}
    transformers.CLIPImageProcessorPil(size=size, crop_size={"height": 16, "width": 16}).save_pretrained(folder)
    held = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    held.pre_tokenizer = pre_tokenizers.Whitespace()
    held.post_processor = processors.TemplateProcessing(single="[BOS] $A [EOS]", special_tokens=[("[BOS]", 2), ("[EOS]", 3)])
    words = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "[BOS]", "eos_token": "[EOS]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=held, model_max_length=16, **words).save_pretrained(folder)
    return folder


@pytest.fixture
def recipe(clip, tmp_path, monkeypatch):
    """Twenty-four red or green pictures, with a caption each."""
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    noise = np.random.default_rng(0)
    with (tmp_path / "table.csv").open("w") as file:
        out = csv.writer(file)
        out.writerow(["image", "text", "label", "side"])
        for n in range(24):
            red = n % 2 == 0
            level = noise.integers(0, 200, (16, 16, 3), np.uint8)
            level[..., 0 if red else 1] += 55
            Image.fromarray(level).save(tmp_path / f"{n}.png")
            out.writerow([f"{n}.png", f"a {'red' if red else 'green'} thing {'in the dark' if n % 3 else ''}", "red" if red else "green",
                          ["train", "train", "validation", "test"][n // 2 % 4]])  # fmt: skip
    path = tmp_path / "recipe.yaml"
    path.write_text(f"""
data: {{source: table.csv, split: {{column: side}}}}
inputs:
  image: {{encoder: {clip}}}
tasks:
  label: {{kind: classify, target: label, prompt: "a picture of a {{label}} thing"}}
approach: {{kind: last, epochs: 1, base_epochs: 1, base_lr: 1.0e-2}}
training: {{batch_size: 6, threads: 1}}
""")
    return path


def theirs(clip, tmp_path, sentences):
    """Probabilities that transformers itself gives to the test pictures."""
    model = transformers.CLIPModel.from_pretrained(clip).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(clip, backend="pil")
    tokenizer = transformers.AutoTokenizer.from_pretrained(clip)
    with (tmp_path / "table.csv").open() as file:
        test = [row for row in csv.DictReader(file) if row["side"] == "test"]
    pixels = processor([Image.open(tmp_path / row["image"]) for row in test], return_tensors="pt")
    with torch.no_grad():
        out = model(**tokenizer(sentences, padding=True, return_tensors="pt"), **pixels)
    return test, out


def test_prompts_say_what_transformers_says(recipe, clip, tmp_path):
    labels = ["green", "red"]
    test, out = theirs(clip, tmp_path, [f"a picture of a {label} thing" for label in labels])
    guess = [labels[n] for n in out.logits_per_image.argmax(1)]
    right = np.mean([row["label"] == said for row, said in zip(test, guess, strict=True)])
    found = evaluate(str(recipe), untouched=True, out=tmp_path / "evaluated")
    assert found.value("label.accuracy by prompts") == pytest.approx(right)
    assert "label, by prompts" in (tmp_path / "evaluated" / "evaluation.html").read_text()
    assert found.told["baselines"]["label"]["zero-shot by prompts"]["accuracy"] == pytest.approx(right)


def test_the_probabilities_are_those_of_transformers(recipe, clip, tmp_path):
    from triptych.run.building import build
    from triptych.run.fit import measured_on
    from triptych.run.opening import open_table
    from triptych.run.progress import Voice
    from triptych.run.recipe import read

    quiet, checked = Voice(quiet=True), read(recipe)
    bench = build(checked, open_table(checked, quiet), quiet)
    measured = measured_on(bench, quiet, "")
    _, out = theirs(clip, tmp_path, [f"a picture of a {label} thing" for label in ("green", "red")])
    torch.testing.assert_close(measured.prompted["label"], out.logits_per_image.softmax(1), atol=1e-4, rtol=1e-4)


def test_of_several_wordings_the_mean_is_taken(recipe, clip, tmp_path):
    labels, wordings = ["green", "red"], ["a picture of a {label} thing", "the {label}", "{label} in the dark"]
    out = [theirs(clip, tmp_path, [wording.replace("{label}", label) for label in labels])[1] for wording in wordings]
    prompts = torch.nn.functional.normalize(torch.stack([one.text_embeds for one in out]).mean(0), dim=-1)
    expected = (out[0].logits_per_image / (out[0].image_embeds @ out[0].text_embeds.T)).mean() * out[0].image_embeds @ prompts.T
    told = ", ".join(f'"{wording}"' for wording in wordings)
    (tmp_path / "several.yaml").write_text(recipe.read_text().replace('"a picture of a {label} thing"', f"[{told}]"))
    found = evaluate(str(tmp_path / "several.yaml"), untouched=True, out=tmp_path / "evaluated")
    truth = [row["label"] for row in theirs(clip, tmp_path, labels)[0]]
    assert found.value("label.accuracy by prompts") == pytest.approx(
        np.mean([labels[n] == t for n, t in zip(expected.argmax(1), truth, strict=True)])
    )


def test_a_tuned_run_is_told_by_prompts_before_and_after(recipe, tmp_path):
    run = triptych.train(recipe, out=tmp_path / "run", quiet=True)
    rows = [row for row in run.scores if row["of"] == "by prompts" and row["metric"] == "accuracy"]
    assert len(rows) == 1 and {"untouched", "trained"} <= rows[0].keys()
    matrix = run.folder.read("details.json")["confusion"]["label"]
    right = sum(matrix["untouched, by prompts"][n][n] for n in range(2)) / sum(map(sum, matrix["untouched, by prompts"]))
    assert right == pytest.approx(rows[0]["untouched"])
    page = write_report(run.folder).read_text()
    assert page.index("label, untouched, by prompts") < page.index("label, trained"), "what prompts knew beside what was learnt"
    again = evaluate(str(tmp_path / "run"), out=tmp_path / "again")  # from the run folder alone
    assert again.value("label.accuracy by prompts") == pytest.approx(rows[0]["trained"])


def test_contrast_in_the_own_space_begins_as_the_base(recipe, clip, tmp_path):
    lines = f"""
  text: {{encoder: {clip}}}
tasks:
  match: {{kind: contrast, between: [image, text], space: own}}
stages:
  - {{train: [match], epochs: 1, lr: 1.0e-9}}
training: {{batch_size: 6, threads: 1}}
"""
    recipe.write_text(recipe.read_text().split("tasks:")[0].rstrip() + lines)
    run = triptych.train(recipe, out=tmp_path / "run", quiet=True)
    with (tmp_path / "table.csv").open() as file:
        texts = [row["text"] for row in csv.DictReader(file) if row["side"] == "test"]
    _, out = theirs(clip, tmp_path, texts)
    rows = run.gallery
    for column, embeds in (("image", out.image_embeds), ("text", out.text_embeds)):
        torch.testing.assert_close(torch.tensor(rows[f"match.{column}"]), embeds, atol=1e-4, rtol=1e-4)
    scale = float(run.model.parts()["match"].log_scale.detach().exp())
    assert scale == pytest.approx(float(transformers.CLIPModel.from_pretrained(clip).logit_scale.detach().exp()), rel=1e-4)


def test_a_slip_is_answered(recipe, tiny_base, tmp_path):
    with pytest.raises(InputError, match="space of its own"):
        triptych.train(
            recipe,
            set=[
                f"inputs.text={{encoder: {tiny_base}}}",
                "tasks.match={kind: contrast, between: [image, text], space: own}",
                "fusion=joint",
            ],
            out=tmp_path / "one",
            quiet=True,
        )
    other = transformers.ViTModel(transformers.ViTConfig(**PATCHES))
    other.save_pretrained(tmp_path / "vit")
    transformers.ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(tmp_path / "vit")
    with pytest.raises(InputError, match="shares a space with sentences"):
        triptych.train(recipe, set=[f"inputs.image.encoder={tmp_path / 'vit'}"], out=tmp_path / "two", quiet=True)


def test_what_was_forgotten_is_told_between_untouched_and_tuned(recipe, clip, tmp_path):
    change = "forgetting={source: table.csv, target: label, prompt: 'a picture of a {label} thing', shares: [0.5]}"
    run = triptych.train(recipe, set=[change, "approach.base_lr=0.1", "approach.base_epochs=3"], out=tmp_path / "run", quiet=True)
    told = run.folder.read("forgetting.json")
    assert [point["share"] for point in told["points"]] == [0.0, 0.5, 1.0] and told["tuned"] == ["image"]
    with (tmp_path / "table.csv").open() as file:
        everything = list(csv.DictReader(file))
    model = transformers.CLIPModel.from_pretrained(clip).eval()
    pixels = transformers.AutoImageProcessor.from_pretrained(clip, backend="pil")(
        [Image.open(tmp_path / row["image"]) for row in everything], return_tensors="pt"
    )
    words = transformers.AutoTokenizer.from_pretrained(clip)(
        [f"a picture of a {label} thing" for label in ("green", "red")], padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        guess = [("green", "red")[n] for n in model(**words, **pixels).logits_per_image.argmax(1)]
    right = np.mean([row["label"] == one for row, one in zip(everything, guess, strict=True)])
    assert told["points"][0]["kept"] == pytest.approx(right)
    scores = {row["name"] if "name" in row else f"{row['task']}.{row['metric']}": row for row in run.scores if row["of"] == ""}
    assert told["points"][-1]["label.accuracy"] == pytest.approx(scores["label.accuracy"]["trained"])
    assert "Forgetting" in write_report(run.folder).read_text()
    again = triptych.open_run(tmp_path / "run")
    assert again.predict(image=tmp_path / "0.png") == run.predict(image=tmp_path / "0.png"), "the weights are back where they were"


@pytest.mark.parametrize(
    "words, says",
    [
        ("{source: table.csv, target: nothing, prompt: 'a {label}'}", "nothing"),
        ("{source: gone.csv, target: label, prompt: 'a {label}'}", "gone.csv"),
        ("{source: table.csv, between: [image, label]}", "shares no space"),
    ],
)
def test_a_task_that_cannot_be_measured_is_said_before_anything_is_trained(recipe, tmp_path, monkeypatch, words, says):
    from triptych.run.lit import Lit

    monkeypatch.setattr(Lit, "training_step", lambda self, batch, index: pytest.fail("it was trained"))
    with pytest.raises(InputError, match=says):
        triptych.train(recipe, set=[f"forgetting={words}"], out=tmp_path / "run", quiet=True)


def test_retrieval_can_be_the_task_that_is_kept(recipe, clip, tmp_path):
    changes = [f"inputs.text={{encoder: {clip}}}", "forgetting={source: table.csv, between: [image, text]}", "tasks.label.prompt=null"]
    run = triptych.train(recipe, set=[*changes, "stages=null", "approach=head"], out=tmp_path / "run", quiet=True)
    told = run.folder.read("forgetting.json")
    assert told["tuned"] == [] and len(told["points"]) == 1 and 0 <= told["points"][0]["kept"] <= 1


@pytest.mark.parametrize("words", ["{source: table.csv}", "{source: table.csv, prompt: nothing}", "{source: table.csv, between: [image]}"])
def test_a_task_to_keep_that_says_too_little_is_refused(recipe, words):
    from triptych.run.recipe import read

    with pytest.raises(InputError, match=r"forgetting|prompt"):
        read(recipe, [f"forgetting={words}"])
