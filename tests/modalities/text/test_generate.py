"""Decoders that write: against transformers' own loss and search, rows together against rows alone, and rows that are too long."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from triptych.base.errors import BadValue, InputError
from triptych.base.settings import parse
from triptych.contract.generator import IDS, LEARNT, SLOTS, opened, side_by_side
from triptych.contract.tasks import Generate
from triptych.contract.values import Fused
from triptych.contract.writes import How
from triptych.layers.adapter import MARK
from triptych.modalities.text import MODALITY
from triptych.modalities.text.decoders import Base, Small

WIDTH = 32
TEXT = "a the is what red blue green dog cat here who runs sleeps today and of it so on"
WORDS = ["<pad>", "<s>", "</s>", "<unk>", "\n", *TEXT.split()]
INPUTS = {"picture": "image", "voice": "audio"}
TASK = Generate(target="answer", template="{picture} what is {thing} {voice}")


def write_base(folder, kind, seed=0):
    torch.manual_seed(seed)
    held = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    held.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.Split(" ", "removed")])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=held, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    made = {
        "llama": lambda: transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=len(WORDS),
                hidden_size=WIDTH,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=64,
                initializer_range=0.5,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=2,
            )
        ),
        "gpt2": lambda: transformers.GPT2LMHeadModel(
            transformers.GPT2Config(
                vocab_size=len(WORDS),
                n_embd=WIDTH,
                n_layer=2,
                n_head=4,
                n_positions=24,
                initializer_range=0.3,
                bos_token_id=1,
                eos_token_id=2,
            )
        ),
    }[kind]()
    made.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("decoders")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIPTYCH_CACHE", str(root / "cache"))
        yield {kind: write_base(root / kind, kind) for kind in ("llama", "gpt2")}


def writer(folder, looks=None, **words):
    script = MODALITY.script(Base(name=str(folder), **words), INPUTS)
    script.fit([])
    torch.manual_seed(1)
    made = MODALITY.generator(Base(name=str(folder), **words), {**script.facts(), "inputs": list(INPUTS), "looks": looks})
    return script, made.eval()


@pytest.fixture(scope="module")
def llama(folders):
    return writer(folders["llama"])


ROWS = [
    ({"thing": "the red dog", "answer": "it runs today"}, {"picture": 1, "voice": 1}),
    ({"thing": "it", "answer": "a cat"}, {"voice": 1}),
    ({"thing": "on the green cat and the blue dog here", "answer": "sleeps"}, {}),
    ({"thing": "here", "answer": "red and blue and green"}, {"picture": 2}),
]


def fused(rows, steps=3, seed=0):
    """Each row's values, of different lengths."""
    draw, numbers = torch.Generator().manual_seed(seed), itertools.count(steps)
    prefix = {
        name: [[torch.randn(next(numbers) % 4 + 1, WIDTH, generator=draw) for _ in range(has.get(name, 0))] for _, has in rows]
        for name in INPUTS
    }
    context = torch.randn(len(rows), 2, WIDTH, generator=draw)
    there = torch.tensor([[name in has for name in INPUTS] for _, has in rows])
    return Fused(context, there, context.mean(1), {}, {}, prefix)


def asked(script, rows, task=TASK, answers=True):
    return script.collate([script.item(task, {k: v for k, v in cells.items() if answers or k != "answer"}, has) for cells, has in rows])


def alone(whole, row):
    length = int(whole.mask_PT[row].sum())
    part = whole.part(row, row + 1)
    return type(part)({name: tensor[:, :length] for name, tensor in part.tensors.items()}, part.mask_PT[:, :length])


def test_the_loss_is_that_of_transformers(llama, folders):
    script, made = llama
    task = Generate(target="answer", template="what is {thing}")
    packed = asked(script, ROWS[:3], task)
    plain = transformers.LlamaForCausalLM.from_pretrained(folders["llama"])
    labels = packed.tensors[IDS].masked_fill(~packed.tensors[LEARNT], -100)
    expected = plain(input_ids=packed.tensors[IDS], attention_mask=packed.mask_PT.long(), labels=labels).loss
    told = made(packed, fused(ROWS[:3]))
    assert told["count_B"].tolist() == packed.tensors[LEARNT].sum(1).tolist()
    torch.testing.assert_close(told["nll_B"].sum() / told["count_B"].sum(), expected, atol=1e-5, rtol=0)


def test_values_stand_at_their_slots(llama, folders):
    """By hand: words' vectors up to a slot, the value's own sequence, and so on; two values of one input in their places."""
    script, made = llama
    plain = transformers.LlamaForCausalLM.from_pretrained(folders["llama"])
    packed, seen = asked(script, ROWS), fused(ROWS)
    told = made(packed, seen)
    for row in range(len(ROWS)):
        one = alone(packed, row)
        words, labels, found, used = plain.get_input_embeddings()(one.tensors[IDS][0]), [], [], []
        for place, slot in enumerate(one.tensors[SLOTS][0].tolist()):
            value = words[place : place + 1]
            if slot >= 0:
                item, name = slot // 2, list(INPUTS)[slot % 2]
                value = seen.prefix[name][row][item]
                used.append((name, item))
            found.append(value)
            labels += [-100] * len(value) if slot >= 0 or not one.tensors[LEARNT][0, place] else [int(one.tensors[IDS][0, place])]
        assert sorted(used) == sorted((name, item) for name, count in ROWS[row][1].items() for item in range(count))
        expected = plain(inputs_embeds=torch.cat(found)[None], labels=torch.tensor([labels])).loss
        torch.testing.assert_close(told["nll_B"][row] / told["count_B"][row], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "small", "gated"])
@pytest.mark.parametrize("lays", [True, False])
def test_rows_together_are_rows_alone(kind, lays, folders):
    script, made = small() if kind == "small" else writer(folders["llama" if kind == "gated" else kind], WIDTH if kind == "gated" else None)
    made.eval()
    if kind == "gated":
        with torch.no_grad():
            for layer in made.looks.layers:
                layer.gate_attend.fill_(0.7)
                layer.gate_feed.fill_(0.3)
    made.ready()
    if lays:
        assert made.lays
    made._lays = lays
    packed, seen = asked(script, ROWS), fused(ROWS)
    together = made(packed, seen)
    questions = opened(packed)
    said = made.write(questions, seen, How(6))
    for row in range(len(ROWS)):
        of_row = seen.rows(torch.tensor([row]))
        one = made(alone(packed, row), of_row)
        for name, tensor in one.tensors.items():
            torch.testing.assert_close(together[name][row : row + 1], tensor, atol=1e-4, rtol=1e-5)
        assert made.write(alone(questions, row), of_row, How(6)) == [said[row]]
        assert list(made.stream(alone(questions, row), of_row, How(6))) == said[row]
    assert len({tuple(ids) for ids in said}) > 1


def small(**words):
    settings = Small(layers=2, width=WIDTH, heads=4, vocabulary=300, context=64, **words)
    script = MODALITY.script(settings, INPUTS)
    script.fit((TASK, cells) for cells, _ in ROWS)
    torch.manual_seed(0)
    made = MODALITY.generator(settings, {**script.facts(), "inputs": list(INPUTS), "looks": None})
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(8 if parameter.ndim > 1 else 1)  # else every answer is much the same
    return script, made


def test_a_question_is_the_beginning_of_its_row(llama):
    """What is learnt and what is asked later begin alike, id by id."""
    script, _ = llama
    cut, made = opened(asked(script, ROWS)), asked(script, ROWS, answers=False)
    for name in (IDS, SLOTS):
        torch.testing.assert_close(cut.tensors[name].masked_fill(~cut.mask_PT, 0), made.tensors[name].masked_fill(~made.mask_PT, 0))
    assert not cut.tensors[LEARNT].any()


def test_several_tasks_side_by_side_are_each_alone(llama):
    script, made = llama
    other = Generate(target="answer", template="who is {thing}")
    first, second, seen = asked(script, ROWS[:2]), asked(script, ROWS[2:], other), fused(ROWS)
    whole = made(side_by_side([first, second]), seen)
    apart = [made(first, seen.rows(torch.tensor([0, 1]))), made(second, seen.rows(torch.tensor([2, 3])))]
    torch.testing.assert_close(whole["nll_B"], torch.cat([one["nll_B"] for one in apart]))


def test_the_likeliest_answers_are_those_of_transformers(llama, folders):
    script, made = llama
    task = Generate(target="answer", template="what is {thing}")
    packed = asked(script, ROWS[:1], task, answers=False)
    plain = transformers.LlamaForCausalLM.from_pretrained(folders["llama"])
    ids = packed.tensors[IDS]
    for words, ours in (({}, How(9)), ({"num_beams": 3}, How(9, beams=3))):
        settings = transformers.GenerationConfig(max_new_tokens=9, do_sample=False, pad_token_id=0, eos_token_id=2, **words)
        expected = plain.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)[0, ids.shape[1] :].tolist()
        end = expected.index(2) if 2 in expected else len(expected)
        assert made.write(packed, fused(ROWS[:1]), ours) == [expected[:end]]


def test_drawn_answers_are_the_same_again_and_leave_the_random_state(llama):
    script, made = llama
    packed, seen = asked(script, ROWS, answers=False), fused(ROWS)
    before = torch.get_rng_state()
    drawn = [made.write(packed, seen, How(8, temperature=2.0, top_p=0.9, seed=seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert torch.equal(before, torch.get_rng_state())


def test_an_answer_is_no_longer_than_asked_and_ends_at_a_word(llama):
    script, made = llama
    packed, seen = asked(script, ROWS, answers=False), fused(ROWS)
    free = made.write(packed, seen, How(10))
    assert max(map(len, free)) <= 10
    assert [ids[:4] for ids in free] == made.write(packed, seen, How(4))
    long = max(free, key=len)
    word = script.text(long[2:3])
    ended = made.write(packed, seen, How(10, ended=lambda ids: word in script.text(ids).split()))
    for ids, whole in zip(ended, free, strict=True):
        first = script.text(ids).split().index(word) if word in script.text(ids).split() else None
        assert script.text(ids).split()[:first] == script.text(whole).split()[:first] if first is not None else ids == whole
    assert word in script.text(ended[free.index(long)])


# rows that are too long


def test_a_long_row_loses_words_and_never_a_value(folders):
    script, made = writer(folders["llama"], context=24)
    row = [({"thing": "a " * 12 + "dog", "answer": "it runs"}, {"picture": 1, "voice": 1})]
    seen = fused(row)
    seen.prefix["picture"][0] = [torch.randn(9, WIDTH)]
    packed = asked(script, row)
    (vectors, targets) = made.rows(packed, seen)[0]
    assert len(vectors) == 24
    assert int((targets != -1).sum()) == int(packed.tensors[LEARNT].sum())
    for value in (seen.prefix["picture"][0][0], seen.prefix["voice"][0][0]):
        assert any(torch.equal(vectors[n : n + len(value)], value) for n in range(len(vectors)))
    torch.testing.assert_close(made(packed, seen)["count_B"], packed.tensors[LEARNT].sum(1).float())


def test_words_between_a_value_and_the_answer_are_cut_too(folders):
    """The last words of a question and its answer are one stretch of text."""
    script, made = writer(folders["llama"], context=20)
    task = Generate(target="answer", template="{picture} {thing}")
    row = [({"thing": "a " * 10 + "dog", "answer": "it runs"}, {"picture": 1})]
    seen = fused(row)
    seen.prefix["picture"][0] = [torch.randn(12, WIDTH)]
    ((vectors, targets),) = made.rows(asked(script, row, task), seen)
    assert len(vectors) == 20
    assert targets[targets >= 0].tolist() == [WORDS.index("it"), WORDS.index("runs"), 2]


def test_values_that_are_too_long_are_an_error_with_both_counts(folders):
    script, made = writer(folders["llama"], context=16)
    row = [({"thing": "dog", "answer": "it runs"}, {"picture": 1})]
    seen = fused(row)
    seen.prefix["picture"][0] = [torch.randn(15, WIDTH)]
    with pytest.raises(InputError, match=r"inputs are 15 tokens and its words \d+, and the decoder has room for 16") as problem:
        made(asked(script, row), seen)
    assert "resampler" in problem.value.fix


def test_an_answer_has_places_where_the_base_has_no_more(folders):
    """GPT-2 knows 24 places: a question that fills them makes room for its answer."""
    script, made = writer(folders["gpt2"])
    packed = asked(script, [({"thing": "a dog " * 20}, {})], answers=False)
    assert packed.tensors[IDS].shape[1] >= 20
    assert len(made.write(packed, fused([({}, {})]), How(64))[0]) <= 12
    with pytest.raises(BadValue):
        asked(script, [({"thing": "it", "answer": "a dog " * 30}, {})])


# what is learnt


def test_gated_layers_change_nothing_at_first(folders):
    script, plain = writer(folders["llama"])
    _, looking = writer(folders["llama"], looks=WIDTH)
    packed = asked(script, ROWS[2:3])
    torch.testing.assert_close(looking(packed, fused(ROWS[2:3]))["nll_B"], plain(packed, fused(ROWS[2:3]))["nll_B"])
    learnt = {name for name in looking.kept()}
    assert learnt
    assert all(name.startswith("looks.") for name in learnt)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft's own
def test_low_rank_additions_alone_learn_and_open_elsewhere(folders, tmp_path):
    peft = pytest.importorskip("peft")
    script, made = writer(folders["llama"], lora={"rank": 2})
    made.ready()
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(MARK in name)
    packed, seen = asked(script, ROWS), fused(ROWS)
    made.train()
    optimizer = torch.optim.SGD([p for p in made.parameters() if p.requires_grad], lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        made(packed, seen)["nll_B"].sum().backward()
        optimizer.step()
    made.eval()
    made.save(tmp_path / "decoder")
    plain = transformers.LlamaForCausalLM.from_pretrained(folders["llama"])
    fresh = plain.state_dict()
    frozen = {n.removeprefix("base."): p for n, p in made.named_parameters() if MARK not in n}
    assert all(torch.equal(p, fresh[n.replace(".base_layer", "")]) for n, p in frozen.items() if n.replace(".base_layer", "") in fresh)
    elsewhere = peft.PeftModel.from_pretrained(plain, tmp_path / "decoder" / "adapter").eval()
    task = Generate(target="answer", template="what is {thing}")
    one = asked(script, ROWS[:1], task)
    labels = one.tensors[IDS].masked_fill(~one.tensors[LEARNT], -100)
    told = made(one, fused(ROWS[:1]))
    torch.testing.assert_close(told["nll_B"][0] / told["count_B"][0], elsewhere(input_ids=one.tensors[IDS], labels=labels).loss)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_frozen_weights_are_halved_while_a_stage_trains_and_whole_again(kind, folders):
    script, made = writer(folders[kind], lora={"rank": 2})
    made.ready()
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(MARK in name)
    made.train()
    made.eval()  # without dropout
    packed, seen = asked(script, ROWS[:1]), fused(ROWS[:1])
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}

    def gradients():
        made.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            made(packed, seen)["nll_B"].sum().backward()
        return {name: p.grad.clone() for name, p in made.named_parameters() if p.requires_grad}

    expected = gradients()
    with made.lean():
        halved = {name for name, p in made.named_parameters() if p.dtype == torch.bfloat16}
        found = gradients()
    assert halved
    assert all(name.endswith("base_layer.weight") for name in halved - {"base.lm_head.weight"})
    assert all(torch.equal(found[name], expected[name]) for name in expected)  # autocast rounds the same weights
    after = made.state_dict()
    assert all(torch.equal(after[name], tensor) and after[name].dtype == tensor.dtype for name, tensor in before.items())


def test_a_weight_that_was_trained_is_never_halved(folders):
    _, made = writer(folders["llama"])
    made.ready()
    made.requires_grad_(False)
    last = made.blocks()[-1]
    last.requires_grad_(True)
    made.train()
    last.requires_grad_(False)  # the next stage leaves it alone
    with torch.no_grad():
        next(last.parameters()).mul_(2)
    before = [p.clone() for p in last.parameters()]
    with made.lean():
        assert all(p.dtype == torch.float32 for p in last.parameters())
        assert any(p.dtype == torch.bfloat16 for p in made.blocks()[0].parameters())
    assert all(torch.equal(p, old) for p, old in zip(last.parameters(), before, strict=True))


def test_gradients_reach_the_values_and_rows_are_learnt_apart(llama):
    script, made = llama
    packed, seen = asked(script, ROWS), fused(ROWS)
    values = [value.requires_grad_() for rows in seen.prefix.values() for row in rows for value in row]
    made(packed, seen)["nll_B"][0].backward()
    (own,) = seen.prefix["picture"][0]
    assert own.grad.abs().sum() > 0
    others = [v for v in values if all(v is not x for x in (own, seen.prefix["voice"][0][0]))]
    assert others
    assert all(v.grad is None or not v.grad.any() for v in others)


# the script


@pytest.mark.parametrize("kind", ["small", "pretrained"])
def test_a_script_is_the_same_after_it_was_saved(kind, folders, tmp_path, llama):
    script = small()[0] if kind == "small" else llama[0]
    script.save(tmp_path)
    again = MODALITY.script(script.decoder, INPUTS)
    again.load(tmp_path)
    assert again.facts() == script.facts()
    first, second = asked(script, ROWS), asked(again, ROWS)
    assert all(torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors)
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).get_vocab_size() == script.facts()["vocabulary"]
    (tmp_path / "script.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        MODALITY.script(script.decoder, INPUTS).load(tmp_path)
    (tmp_path / "script.json").write_text(json.dumps([]))
    with pytest.raises(InputError, match="damaged"):
        MODALITY.script(script.decoder, INPUTS).load(tmp_path)
    (tmp_path / "script.json").unlink()
    with pytest.raises(InputError, match="missing"):
        MODALITY.script(script.decoder, INPUTS).load(tmp_path)


def test_a_script_without_words_to_learn_from_says_so():
    settings = Small(layers=1, width=16, heads=2, vocabulary=300)
    with pytest.raises(InputError, match="text"):
        MODALITY.script(settings, INPUTS).fit([])
    with pytest.raises(InputError, match="no vocabulary"):
        MODALITY.script(settings, INPUTS).chat  # noqa: B018


def test_a_vocabulary_from_scratch_writes_any_text():
    script, _ = small()
    for text in ("it runs today", "Größe, 3 €!", "日本"):
        assert script.text(script.answer(text)) == text


def test_an_answer_by_itself_is_as_in_its_row(llama):
    """The choices of a task are put where answers stand."""
    for script in (llama[0], small()[0]):
        for cells, has in ROWS:
            item = script.item(TASK, cells, has)
            assert item["ids"][item["learnt"]].tolist() == script.answer(cells["answer"])


def test_an_encoder_is_no_decoder(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    config = transformers.ViTConfig(image_size=16, patch_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    transformers.ViTModel(config).save_pretrained(tmp_path / "vit")
    write_base(tmp_path / "words", "gpt2")
    for path in (tmp_path / "words").glob("token*"):
        path.rename(tmp_path / "vit" / path.name)
    script = MODALITY.script(Base(name=str(tmp_path / "vit")), INPUTS)
    with pytest.raises(InputError, match="vit model, which writes no text") as problem:
        script.fit([])
    assert "llama" in problem.value.known


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"target": "a"}, "lacks template"),
        ({"template": "a"}, "lacks target"),
        ({"target": "a", "template": "b", "messages": "c"}, "whole conversations"),
        ({"target": "a", "template": "b", "scores": ["blue"]}, "bleu"),
        ({"target": "a", "template": "b", "top_p": 0.9}, "temperature"),
        ({"target": "a", "template": "b", "choices": ["x"]}, "choices"),
        ({"target": "a", "template": "b", "longest": 0}, "longest"),
    ],
)
def test_tasks_that_make_no_sense_are_refused(words, said):
    with pytest.raises(InputError, match=said):
        parse(Generate, {"kind": "generate", **words}, "recipe.yaml")
