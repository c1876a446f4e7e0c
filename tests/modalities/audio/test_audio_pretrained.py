"""Tiny random models of the real architectures, written by save_pretrained: ours must give what they give."""

from __future__ import annotations

import copy
import itertools
import json

import numpy as np
import pytest
import torch
import transformers as t
from transformers import AutoFeatureExtractor

from triptych.base.errors import InputError
from triptych.base.settings import parse
from triptych.contract.tasks import Ctc
from triptych.contract.values import Fused
from triptych.layers.ctc import greedy, padded
from triptych.modalities import rooms
from triptych.model.heads import Ctc as CtcHead
from triptych.objective.losses import terms

ROOM = rooms()["audio"]
SPEECH = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 3, 3),
    "conv_stride": (5, 2, 2),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
TEXT_HALF = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
RATES = {"clap": 4800, "clap-fused": 4800}


def speech(kind, norm, stable, **more):
    words = {**SPEECH, "feat_extract_norm": norm, "do_stable_layer_norm": stable, "conv_bias": norm == "layer", **more}
    return getattr(t, f"{kind}Model")(getattr(t, f"{kind}Config")(**words))


def clap(fused):
    sizes = {"num_mel_bins": 64, "spec_size": 256, "patch_size": 16, "patch_stride": (16, 16)}
    sizes = sizes if fused else {"num_mel_bins": 8, "spec_size": 32, "patch_size": 4, "patch_stride": (4, 4)}
    audio = {
        **sizes,
        "patch_embeds_hidden_size": 8,
        "hidden_size": 16,
        "depths": [2, 2],
        "num_attention_heads": [2, 2],
        "window_size": 4,
        "enable_fusion": fused,
    }
    whole = t.ClapModel(t.ClapConfig(text_config=TEXT_HALF, audio_config=audio, projection_dim=12))
    extractor = t.ClapFeatureExtractor(
        feature_size=audio["num_mel_bins"],
        sampling_rate=4800,
        hop_length=48,
        max_length_s=1,
        fft_window_size=256 if fused else 128,
        frequency_min=0,
        frequency_max=1400,
        truncation="fusion" if fused else "rand_trunc",
    )
    return whole, extractor


def made(name):
    """(model as saved, its feature extractor)."""
    if name.startswith("clap"):
        return clap(name == "clap-fused")
    if name == "whisper":
        sizes = {"d_model": 16, "encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 24, "max_source_positions": 100}
        others = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 16, "vocab_size": 20, "num_mel_bins": 8}
        tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3}
        return t.WhisperForConditionalGeneration(t.WhisperConfig(**sizes, **others, **tokens)), t.WhisperFeatureExtractor(8, chunk_length=2)
    if name == "ast":
        config = t.ASTConfig(
            hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24, max_length=48, num_mel_bins=24, patch_size=8
        )
        return t.ASTForAudioClassification(config), t.ASTFeatureExtractor(num_mel_bins=24, max_length=48)
    base = {
        "wav2vec2": lambda: speech("Wav2Vec2", "group", False),
        "wav2vec2-stable": lambda: speech("Wav2Vec2", "layer", True),
        "wav2vec2-ctc": lambda: t.Wav2Vec2ForCTC(t.Wav2Vec2Config(**SPEECH, vocab_size=20)),
        "hubert": lambda: speech("Hubert", "group", False, feat_proj_layer_norm=False),
        "hubert-stable": lambda: speech("Hubert", "layer", True),
    }[name]()
    return base, t.Wav2Vec2FeatureExtractor(return_attention_mask="stable" in name)


def own(name, base, extractor, waves):
    """Tokens and vector of each wave, by transformers alone and one at a time."""
    rate = RATES.get(name, 16_000)
    for wave in waves:
        given = extractor([wave], sampling_rate=rate, return_tensors="pt")
        if name.startswith("clap"):
            given["is_longer"] = torch.tensor([[len(wave) > 4800]])
            out = base.audio_model(**given)
            tokens = base.audio_projection(out.last_hidden_state.flatten(2).transpose(1, 2))
            pooled = base.audio_projection(out.pooler_output)[0]
            torch.testing.assert_close(torch.nn.functional.normalize(pooled, dim=0), base.get_audio_features(**given).pooler_output[0])
            yield tokens[0], pooled
        elif name == "whisper":
            tokens = base.model.encoder(given["input_features"]).last_hidden_state[0]
            heard = -(-(1 + (len(wave) + 200) // 160) // 2)
            yield tokens[:heard], tokens[:heard].mean(0)
        elif name == "ast":
            out = base.audio_spectrogram_transformer(given["input_values"])
            yield out.last_hidden_state[0], out.pooler_output[0]
        else:
            tokens = getattr(base, "wav2vec2", base)(given["input_values"]).last_hidden_state[0]
            yield tokens, tokens.mean(0)


def shaken(model):
    """Random weights, and statistics of norms, of a size that makes every piece count."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, tensor in model.state_dict(keep_vars=True).items():
            if tensor.is_floating_point():
                noise = (
                    torch.rand_like(tensor) + 0.5 if "var" in name or "logit" in name or "original0" in name else torch.randn_like(tensor)
                )
                tensor.copy_(noise if tensor.ndim < 1 or "original0" in name or "var" in name else noise * 0.3)
    return model.eval()


def waves(name, longest=None):
    """Sounds of several lengths, in float32, at the rate of the base."""
    rate, noise = RATES.get(name, 16_000), np.random.default_rng(0)
    longest = longest or (0.48 if name == "ast" else 1.0)
    made = []
    for seconds in (0.31, 0.03, longest, 0.45):
        time = np.arange(round(seconds * rate)) / rate
        tone = np.sin(2 * np.pi * (300 + 500 * time) * time) * np.exp(-2 * time)
        made.append((0.5 * tone + 0.05 * noise.standard_normal(len(time))).astype(np.float32))
    return made


NAMES = ["clap", "clap-fused", "wav2vec2", "wav2vec2-stable", "wav2vec2-ctc", "hubert", "hubert-stable", "whisper", "ast"]


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """A base's folder, the model itself, and its extractor; each made once."""
    held = {}

    def get(name):
        if name not in held:
            folder = tmp_path_factory.mktemp(name)
            model, extractor = made(name)
            shaken(model).save_pretrained(folder)
            extractor.save_pretrained(folder)
            held[name] = folder, model, extractor
        return held[name]

    return get


def opened(folder, prepare=None, **words):
    tree = {"modality": "audio", "prepare": prepare or {}, "encoder": {"kind": "pretrained", "name": str(folder), **words}}
    settings = parse(ROOM.Input, tree, "here")
    preparation = ROOM.preparation(settings)
    preparation.fit([])
    return ROOM.encoder(settings, preparation.facts()), preparation


def test_a_text_is_heard_as_the_base_with_its_head_hears_it(twin):
    """Logits, loss and best path of `Wav2Vec2ForCTC` on our encoder and head; the head's norm is put before its own product."""
    folder, base, extractor = twin("wav2vec2-ctc")
    tower, preparation = opened(folder)
    settings = Ctc(target="said")
    torch.manual_seed(3)
    head = CtcHead(settings, width=4, symbols=list("abcdefghijklmnopqrs"), input="sound", sequence=16, frame=0.02).eval()
    head.dense[-1].load_state_dict(base.lm_head.state_dict())
    whole = copy.deepcopy(base)
    whole.lm_head = torch.nn.Sequential(head.norm, base.lm_head)
    sounds, texts = [waves("wav2vec2")[n] for n in (0, 2, 3)], [[3, 1, 4, 4, 1], [5, 9, 2, 6], [5, 3, 5]]
    with torch.no_grad():
        made = tower(packed_of(preparation, sounds, 16_000))
        nothing = made.pooled_BD.new_zeros(3, 4)
        told = head(Fused(nothing[:, None], made.mask_BT[:, :1], nothing, {}, sequences={"sound": (made.tokens_BTD, made.mask_BT)}))
        given = [extractor([sound], sampling_rate=16_000, return_tensors="pt")["input_values"] for sound in sounds]
        theirs = [whole(one, labels=torch.tensor([text])) for one, text in zip(given, texts, strict=True)]
    assert whole.config.pad_token_id == 0 and whole.config.ctc_loss_reduction == "sum"
    for row, (one, frames) in enumerate(zip(theirs, told["frames_B"].tolist(), strict=True)):
        torch.testing.assert_close(told["logits_BTC"][row, :frames], one.logits[0], atol=1e-5, rtol=1e-5)
    rows_B = torch.ones(3, dtype=torch.bool)
    loss_P = terms(told, padded(texts), rows_B, settings, {})[""].loss_P
    expected = torch.stack([one.loss / len(text) for one, text in zip(theirs, texts, strict=True)])
    torch.testing.assert_close(loss_P, expected, atol=1e-4, rtol=1e-5)
    for row, one in zip(greedy(told["logits_BTC"], told["frames_B"]).tolist(), theirs, strict=True):
        best = [int(key) for key, _ in itertools.groupby(one.logits[0].argmax(1).tolist()) if key]
        assert [symbol for symbol in row if symbol >= 0] == best


def packed_of(preparation, sounds, rate):
    return preparation.collate(preparation.prepare([ROOM.read((wave, rate)) for wave in sounds]))


@pytest.mark.parametrize("name", NAMES)
class TestTwins:
    def test_ours_are_its_own(self, name, twin):
        """Each recording gives, in a batch with others, what it gives alone."""
        folder, base, extractor = twin(name)
        tower, preparation = opened(folder, {"fill": True} if name == "whisper" else None)
        sounds = waves(name)
        with torch.no_grad():
            ours = tower(packed_of(preparation, sounds, RATES.get(name, 16_000)))
            theirs = list(own(name, base, extractor, sounds))
        for row, (tokens, pooled) in enumerate(theirs):
            torch.testing.assert_close(ours.tokens_BTD[row][ours.mask_BT[row]], tokens, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(ours.pooled_BD[row], pooled, atol=1e-5, rtol=1e-5)
        assert ours.pooled_BD.shape[1] == tower.width == ours.tokens_BTD.shape[2]
        if name.startswith("clap"):
            assert tower.facts["scale"] == pytest.approx(float(base.logit_scale_a.detach().exp()), rel=1e-6)

    def test_half_the_bits_give_nearly_the_same(self, name, twin):
        """With frozen weights in bf16 as with weights cast at each step; afterwards all is as it was."""
        tower, preparation = opened(twin(name)[0])
        packed = packed_of(preparation, waves(name), RATES.get(name, 16_000))
        with torch.no_grad():
            whole = tower(packed).pooled_BD
            with tower.halved(), torch.autocast("cpu", torch.bfloat16):
                cut = tower.cut(packed, 1)
                half = tower(cut).pooled_BD.float()
            assert torch.equal(tower(packed).pooled_BD, whole)
        assert all(tensor.dtype == torch.bfloat16 for name, tensor in cut.tensors.items() if name.startswith("block."))
        assert torch.nn.functional.cosine_similarity(half, whole).min() > 1 - 1e-4

    @pytest.mark.parametrize("prepare", [{}, {"windows": 3, "seconds": 0.2}, {"fill": True}])
    def test_a_cut_goes_on_to_the_same(self, name, prepare, twin):
        if "fill" in prepare and name != "whisper":
            pytest.skip("there is no choice")
        tower, preparation = opened(twin(name)[0], prepare)
        packed = packed_of(preparation, waves(name), RATES.get(name, 16_000))
        there = tower.facts["blocks"]
        with torch.no_grad():
            whole = tower(packed)
            for last in range(there + 1):
                cut = tower.cut(packed, last)
                assert all(len(tensor) == 4 for tensor in cut.tensors.values())
                again = tower(cut)
                torch.testing.assert_close(again.pooled_BD, whole.pooled_BD, atol=1e-5, rtol=1e-5)
                torch.testing.assert_close(again.tokens_BTD, whole.tokens_BTD, atol=1e-5, rtol=1e-5)
        with pytest.raises(InputError, match=f"has {there}"):
            tower.cut(packed, 99)

    def test_blocks_cover_it_and_its_size_is_known_before(self, name, twin):
        tower, _ = opened(twin(name)[0])
        assert not tower.made
        known = tower.size()
        held = [id(p) for block in tower.blocks() for p in block.parameters()]
        assert len(held) == len(set(held)) and {id(p) for p in tower.parameters()} == set(held)
        assert sum(p.numel() for p in tower.parameters()) == known and len(tower.blocks()) == tower.facts["blocks"]

    def test_windows_are_as_each_alone(self, name, twin):
        """Tokens one behind the other, the mean of the vectors; a short recording has one window among rows that have more."""
        rate = RATES.get(name, 16_000)
        folder, _, _ = twin(name)
        tower, preparation = opened(folder, {"windows": 3, "seconds": 0.2})
        single, alone = opened(folder, {"seconds": 0.2})
        sounds = waves(name)
        with torch.no_grad():
            ours = tower(packed_of(preparation, sounds, rate))
            for row, sound in enumerate(sounds):
                size = round(0.2 * rate)
                count = min(3, -(-len(sound) // size))
                starts = [0] if count == 1 else np.linspace(0, len(sound) - size, count).round().astype(int)
                parts = [single(packed_of(alone, [sound[start : start + size]], rate)) for start in starts]
                mean = torch.stack([part.pooled_BD[0] for part in parts]).mean(0)
                torch.testing.assert_close(ours.pooled_BD[row], mean, atol=1e-5, rtol=1e-5)
                tokens = torch.cat([part.tokens_BTD[0][part.mask_BT[0]] for part in parts])
                torch.testing.assert_close(ours.tokens_BTD[row][ours.mask_BT[row]], tokens, atol=1e-5, rtol=1e-5)


class TestFeatures:
    """Equal to 1e-4 to what transformers computes."""

    @pytest.mark.parametrize("padding", ["repeatpad", "repeat", "pad"])
    @pytest.mark.parametrize("name", ["clap", "clap-fused"])
    def test_clap(self, name, padding, twin, tmp_path, monkeypatch):
        """Longer than a piece too, where the original's dice fall in the middle."""
        folder, _, extractor = twin(name)
        base = copied(folder, tmp_path, padding=padding)
        _, preparation = opened(base, {"seconds": 3} if name == "clap-fused" else None)
        sounds = waves(name, longest=2.3)
        monkeypatch.setattr(np.random, "choice", lambda places: places[len(places) // 2])
        monkeypatch.setattr(np.random, "randint", lambda low, high: (high - 1) // 2)
        theirs = AutoFeatureExtractor.from_pretrained(base)(sounds, sampling_rate=4800, return_tensors="pt")
        packed = packed_of(preparation, sounds, 4800)
        torch.testing.assert_close(packed.tensors["features"], theirs["input_features"].float(), atol=1e-4, rtol=1e-4)
        if name == "clap-fused":
            assert packed.tensors["longer"].tolist() == theirs["is_longer"][:, 0].tolist() == [False, False, True, False]

    def test_whisper(self, twin):
        folder, _, extractor = twin("whisper")
        sounds = waves("whisper", longest=1.9)
        theirs = extractor(sounds, sampling_rate=16_000, return_tensors="pt")["input_features"]
        whole = packed_of(opened(folder, {"fill": True})[1], sounds, 16_000)
        torch.testing.assert_close(whole.tensors["features"].transpose(1, 2), theirs, atol=1e-4, rtol=1e-4)
        short = packed_of(opened(folder)[1], sounds, 16_000)
        for ours, mask, row in zip(short.tensors["features"], short.mask_PT, theirs, strict=True):
            torch.testing.assert_close(ours[mask], row.T[: int(mask.sum())], atol=1e-4, rtol=1e-4)

    @pytest.mark.parametrize("normalize", [True, False])
    def test_samples(self, normalize, twin, tmp_path):
        base = copied(twin("wav2vec2")[0], tmp_path, do_normalize=normalize, return_attention_mask=True)
        sounds = waves("wav2vec2")
        theirs = AutoFeatureExtractor.from_pretrained(base)(sounds, sampling_rate=16_000, padding=True, return_tensors="pt")
        ours = packed_of(opened(base)[1], sounds, 16_000)
        torch.testing.assert_close(ours.tensors["samples"], theirs["input_values"], atol=1e-4, rtol=1e-4)
        assert torch.equal(ours.mask_PT, theirs["attention_mask"].bool())

    @pytest.mark.parametrize("normalize", [True, False])
    def test_kaldi(self, normalize, twin, tmp_path):
        base = copied(twin("ast")[0], tmp_path, do_normalize=normalize)
        sounds = waves("ast")
        theirs = AutoFeatureExtractor.from_pretrained(base)(sounds, sampling_rate=16_000, return_tensors="pt")["input_values"]
        ours = packed_of(opened(base)[1], sounds, 16_000)
        torch.testing.assert_close(ours.tensors["features"], theirs.float(), atol=1e-4, rtol=1e-4)


def copied(folder, tmp_path, **changed):
    import shutil

    shutil.copytree(folder, tmp_path / "base")
    path = tmp_path / "base" / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    return tmp_path / "base"


class TestWrong:
    @pytest.mark.parametrize(
        ("prepare", "encoder", "said"),
        [
            ({"rate": 8000}, "./base", "prepare.rate clashes with encoder ./base, whose own feature extractor"),
            ({"windows": 3}, "cnn", "prepare.windows is for pretrained encoders, and cnn is none"),
            ({"fill": True}, "transformer", "prepare.fill is for pretrained encoders"),
        ],
    )
    def test_words_that_clash(self, prepare, encoder, said):
        with pytest.raises(InputError, match=said):
            parse(ROOM.Input, {"modality": "audio", "prepare": prepare, "encoder": encoder}, "here")

    @pytest.mark.parametrize(
        ("name", "prepare", "said"),
        [
            ("whisper", {"seconds": 31}, "seconds 31 clashes .* hears at most 2 s at once"),
            ("clap", {"seconds": 2}, "hears at most 1 s at once"),
            ("clap", {"fill": True}, "only Whisper's can hear a recording filled up or not"),
        ],
    )
    def test_what_a_base_cannot_do(self, name, prepare, said, twin):
        with pytest.raises(InputError, match=said):
            opened(twin(name)[0], prepare)

    def test_an_encoder_of_texts(self, tmp_path):
        words = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
        t.BertModel(t.BertConfig(**words)).save_pretrained(tmp_path)
        with pytest.raises(InputError, match="is a bert model, and no audio tower is known in it"):
            opened(tmp_path)

    def test_no_feature_extractor(self, twin, tmp_path):
        base = copied(twin("ast")[0], tmp_path)
        (base / "preprocessor_config.json").unlink()
        with pytest.raises(InputError, match="feature extractor of the pretrained model cannot be read"):
            opened(base)

    def test_one_that_does_not_fit_its_model(self, twin, tmp_path):
        with pytest.raises(InputError, match="says truncation: fusion, and its config enable_fusion: false"):
            opened(copied(twin("clap")[0], tmp_path, truncation="fusion"))

    @pytest.mark.parametrize("content", ["{", '{"settings": {}}', '{"settings": {}, "processor": "Kaldi", "bins": 3}', "[]"])
    def test_a_damaged_run(self, content, tmp_path):
        (tmp_path / "prepare.json").write_text(content)
        settings = parse(ROOM.Input, {"modality": "audio", "encoder": "./gone"}, "here")
        with pytest.raises(InputError, match="preparation of sounds is damaged"):
            ROOM.preparation(settings).load(tmp_path)


def test_a_low_rate_is_said(twin):
    """The recording is resampled to what the base hears."""
    settings = parse(ROOM.Input, {"modality": "audio", "encoder": str(twin("hubert")[0])}, "here")
    tone = (0.5 * np.sin(np.arange(4000) / 8)).astype(np.float32)
    (fault,) = ROOM.examine(ROOM.read((tone, 8000)), settings.examined()).faults
    assert fault.code == "rate" and "made at 8,000 Hz and resampled to the 16,000" in fault.text and fault.severity == "warning"
    assert not ROOM.examine(ROOM.read((tone, 16_000)), settings.examined()).faults
    (piece,) = ROOM.preparation(settings).pieces(ROOM.read((tone, 8000)))
    assert len(piece) == 8000


@pytest.mark.parametrize("name", ["clap-fused", "wav2vec2", "whisper"])
@pytest.mark.parametrize("windows", [1, 2])
def test_kept_and_shown(name, windows, twin, tmp_path):
    """A preparation is the same from its folder alone, and what it makes can be seen."""
    _, preparation = opened(twin(name)[0], {"windows": windows, "seconds": 0.25})
    preparation.save(tmp_path)
    again = ROOM.preparation(parse(ROOM.Input, {"modality": "audio", "encoder": "./gone"}, "here"))
    again.load(tmp_path)
    one, two = (packed_of(held, waves(name), RATES.get(name, 16_000)) for held in (preparation, again))
    assert all(torch.equal(one.tensors[key], two.tensors[key]) for key in one.tensors)
    item = preparation.prepare([ROOM.read((waves(name)[0], RATES.get(name, 16_000)))])[0]
    assert "<img" in ROOM.seen(item, preparation)
