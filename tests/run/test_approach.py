"""One word for how a pretrained model is tuned, and the stages that it stands for."""

from __future__ import annotations

import pytest
import torch
import transformers

import triptych
from triptych.base.errors import InputError
from triptych.layers.adapter import MARK
from triptych.run.lit import freeze_all_but, parameter_groups
from triptych.run.recipe import read


def with_approach(base_recipe, words: str):
    path = base_recipe(name="approach")
    path.write_text(path.read_text().split("stages:")[0] + f"approach: {words}\ntraining: {{batch_size: 8, threads: 1}}\n")
    return path


@pytest.mark.parametrize(
    "words, trained",
    [
        ("head", ["fusion label"]),
        ("last", ["fusion label", "fusion label text.last(1)"]),
        ("{kind: last, blocks: 2}", ["fusion label", "fusion label text.last(2)"]),
        ("{kind: gradual, blocks: 2}", ["fusion label", "fusion label text.last(1)", "fusion label text.last(2)"]),
        ("full", ["fusion label", "fusion label text"]),
        ("lora", ["fusion label", "fusion label text.lora"]),
        ("{kind: lora, blocks: 1}", ["fusion label", "fusion label text.lora.last(1)"]),
    ],
)
def test_an_approach_is_spelled_out_as_stages(base_recipe, words, trained):
    recipe = read(with_approach(base_recipe, words))
    assert [" ".join(stage.train) for stage in recipe.stages] == trained
    assert recipe.approach is None
    lora = recipe.inputs["text"].encoder.lora
    assert (lora is not None) == ("lora" in words)


def test_the_words_of_an_approach_reach_its_stages(base_recipe):
    words = "{kind: gradual, epochs: 4, lr: 2.0e-3, patience: 2, base_epochs: 5, base_lr: 7.0e-5, decay: 0.5, blocks: 1}"
    first, second = read(with_approach(base_recipe, words)).stages
    assert (first.epochs, first.lr, first.patience, first.decay) == (4, 2e-3, 2, 1.0)
    assert (second.epochs, second.lr["text"], second.patience, second.decay) == (5, 7e-5, 2, 0.5)
    assert second.lr["label"] == pytest.approx(2e-4)
    assert read(with_approach(base_recipe, "{kind: lora, rank: 3}")).inputs["text"].encoder.lora.rank == 3


def test_stages_of_an_approach_are_changed_like_any_other(base_recipe):
    """Whichever way round: the approach is chosen, and spelled out, before what is said of its stages."""
    changes = ["stages.1.epochs=7", "approach=gradual", "approach.lr=3.0e-3", "stages.0.lr=2.0e-3"]
    first, second, *_ = read(with_approach(base_recipe, "head"), changes).stages
    assert (first.lr, second.lr["label"], second.epochs) == (2e-3, pytest.approx(3e-4), 7)
    with pytest.raises(InputError, match="stages has no item '4'"):
        read(with_approach(base_recipe, "head"), ["stages.4.epochs=7"])


@pytest.mark.parametrize(
    "words, changes, said",
    [
        ("head", ["stages=[{epochs: 1}]"], "either an approach"),
        ("heads", [], "unknown approach"),
        ("{kind: head, blocks: 3}", [], "blocks"),
        ("head", ["inputs.text.encoder={kind: gru}"], "no input has one"),
        ("lora", ["inputs.text.encoder.lora={targets: [nothing]}"], "no linear layer"),
        ("{kind: last, blocks: 99}", [], "has 3 blocks"),
    ],
)
def test_a_slip_is_answered(base_recipe, tmp_path, words, changes, said):
    with pytest.raises(InputError) as problem:
        triptych.train(with_approach(base_recipe, words), set=changes, out=tmp_path / "run", quiet=True)
    assert said in str(problem.value), problem.value


def test_additions_need_a_pretrained_encoder(tiny_recipe):
    with pytest.raises(InputError, match=r"text\.lora adds to a pretrained encoder"):
        read(tiny_recipe, ["stages.0.train=[text.lora]"])


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft's own
def test_a_run_with_additions_is_opened_by_plain_peft(base_recipe, tmp_path):
    peft = pytest.importorskip("peft")
    run = triptych.train(
        with_approach(base_recipe, "{kind: lora, epochs: 1, base_epochs: 2, base_lr: 1.0e-2}"), out=tmp_path / "run", quiet=True
    )
    tower = run.model.encoders["text"]
    part = tmp_path / "run" / "model" / "encoders" / "text"
    plain = transformers.BertModel.from_pretrained(part / "base").eval()
    theirs = peft.PeftModel.from_pretrained(plain, part / "adapter").eval()
    room, preparation = run.inputs["text"]
    packed = preparation.collate(preparation.prepare(["a red dog runs", "a cat"]))
    ids, mask = packed.tensors["ids"], packed.mask_PT.long()
    with torch.no_grad():
        ours, with_adapter = tower(packed).tokens_BTD, theirs(input_ids=ids, attention_mask=mask).last_hidden_state
        untouched = transformers.BertModel.from_pretrained(part / "base").eval()(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(ours[packed.mask_PT], with_adapter[packed.mask_PT], atol=1e-5, rtol=1e-5)
    assert (ours - untouched)[packed.mask_PT].abs().max() > 1e-3, "the additions learnt something"
    assert {name for name in tower.kept() if MARK not in name} == set(), "nothing of the base is written again"
    again = triptych.open_run(tmp_path / "run")
    assert again.predict(text="a red dog") == run.predict(text="a red dog")


def test_a_stage_trains_its_additions_alone_and_rates_fall_with_depth(base_recipe, tmp_path):
    run = triptych.train(with_approach(base_recipe, "{kind: lora, epochs: 1, base_epochs: 1}"), out=tmp_path / "run", quiet=True)
    recipe = run.recipe
    stage = recipe.stages[1].model_copy(update={"decay": 0.5})
    freeze_all_but(run.model, stage)
    learning = {name for name, p in run.model.encoders["text"].named_parameters() if p.requires_grad}
    assert learning and all(MARK in name for name in learning)
    rates = {group["name"]: group["lr"] for group in parameter_groups(run.model, stage) if group["name"].startswith("text")}
    whole = stage.lr["text"]
    assert rates == {"text": whole, "text 1 blocks down": whole / 2, "text 2 blocks down": whole / 4}


def test_a_kill_between_stages_of_a_base_comes_to_the_same(base_recipe, tmp_path):
    """Stopped in the middle of the last stage, a run goes on to the weights it would have had."""
    from triptych.run.lit import Lit

    path = with_approach(base_recipe, "{kind: gradual, blocks: 2, epochs: 1, base_epochs: 2, base_lr: 1.0e-3}")
    whole = triptych.train(path, set=["training.save_seconds=0"], out=tmp_path / "whole", quiet=True)
    steps, step = [], Lit.training_step
    with pytest.MonkeyPatch.context() as patch:

        def stopped(self, batch, index):
            steps.append(index)
            if len(steps) == 11:
                raise KeyboardInterrupt
            return step(self, batch, index)

        patch.setattr(Lit, "training_step", stopped)
        with pytest.raises(KeyboardInterrupt):
            triptych.train(path, set=["training.save_seconds=0"], out=tmp_path / "run", quiet=True)
    run = triptych.resume(tmp_path / "run", quiet=True)
    ours, theirs = ({n: t for part in r.model.parts().values() for n, t in part.kept().items()} for r in (run, whole))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)
    assert run.scores == whole.scores
