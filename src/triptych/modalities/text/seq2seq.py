"""Language models of two halves: an encoder reads the question and the inputs, a decoder of its own writes the answer.

Of Whisper only the decoder is taken: what it looks at is what an input's encoder heard.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from triptych.contract.generator import IDS, LEARNT, answer_start, opened
from triptych.contract.values import Fused, Output, Packed
from triptych.contract.writes import How
from triptych.modalities.text.basewriter import BaseWriter
from triptych.modalities.text.writers import SKIP, Writer, until

_hidden: ContextVar[Tensor | None] = ContextVar("hidden", default=None)
"""Added to the scores of what a decoder looks at, (P, 1, 1, S): it hides padding."""


class ApartWriter(BaseWriter):
    """An encoder-decoder (T5, BART). A row's answer is what its `learnt` places hold; all before it is read by the encoder."""

    def __init__(self, settings: Any, **facts: Any) -> None:
        """`facts` are those of the base and of the script."""
        super().__init__(settings, **facts)
        self.width = int(facts["width"])

    def forward(self, asked: Packed, fused: Fused) -> Output:
        """See `Generator`."""
        seen_PSD, mask_PS = self.seen(opened(asked), fused)
        prompt, answers = list(self.facts["prompt"]), _answers(asked)
        begins = answers[0].new_tensor(prompt)
        ids_PT = pad_sequence([torch.cat([begins, ids[:-1]]) for ids in answers], batch_first=True, padding_value=self.facts["pad"])
        wanted = [torch.cat([ids.new_full((len(prompt) - 1,), SKIP), ids]) for ids in answers]
        target_PT = pad_sequence(wanted, batch_first=True, padding_value=SKIP)
        learnt_PT = target_PT != SKIP
        hidden_ND = self.decoded(ids_PT, seen_PSD, mask_PS)[learnt_PT]  # padding is on the right, where no earlier place looks
        return self.told(hidden_ND, target_PT[learnt_PT], learnt_PT.nonzero()[:, 0], len(answers))

    def words(self, ids_PT: Tensor) -> Tensor:
        """See `Writer`. Pegasus makes them larger only where it looks them up itself."""
        encoder = self.base.get_encoder()
        vectors_PTD: Tensor = encoder.get_input_embeddings()(ids_PT) * getattr(encoder, "embed_scale", 1.0)
        return vectors_PTD

    def seen(self, question: Packed, fused: Fused) -> tuple[Tensor, Tensor]:
        """What the decoder looks at of each row (P, S, D), and which of it is real."""
        vectors_PSD, mask_PS = _beside([vectors for vectors, _ in self.rows(question, fused)])
        made = self.base.get_encoder()(inputs_embeds=vectors_PSD, attention_mask=mask_PS.long())
        return made.last_hidden_state, mask_PS

    def decoded(self, ids_PT: Tensor, seen_PSD: Tensor, mask_PS: Tensor) -> Tensor:
        """What the decoder makes of each place."""
        made: Tensor = self.base.get_decoder()(
            input_ids=ids_PT, encoder_hidden_states=seen_PSD, encoder_attention_mask=mask_PS.long(), use_cache=False
        ).last_hidden_state
        return made

    def _head(self, hidden_ND: Tensor) -> tuple[Tensor, Tensor, Tensor | None, float | None]:
        """See `Writer`; BART adds a number to each entry."""
        hidden_ND, weight_VD, bias_V, softcap = super()._head(hidden_ND)
        added = getattr(self.base, "final_logits_bias", None)
        return hidden_ND, weight_VD, bias_V if added is None else added[0], softcap

    def _written(self, asked: Packed, fused: Fused, how: How, **more: Any) -> Tensor:
        """See `Writer`."""
        seen_PSD, mask_PS = self.seen(asked, fused)
        prompt = list(self.facts["prompt"])
        begins_PT = torch.tensor(prompt, device=seen_PSD.device).expand(len(seen_PSD), -1)
        room = self.facts["positions"] - len(prompt) if self.facts["positions"] else how.longest
        config = self._config(how._replace(longest=min(how.longest, room)))
        config.decoder_start_token_id = prompt[0]
        made_PT = self.searched(seen_PSD, mask_PS, decoder_input_ids=begins_PT, generation_config=config, **until(how, len(prompt)), **more)
        return made_PT[:, len(prompt) :]

    def searched(self, seen_PSD: Tensor, mask_PS: Tensor, **words: Any) -> Tensor:
        """What transformers' search finds, the prompt before it."""
        from transformers import GenerationMixin
        from transformers.modeling_outputs import BaseModelOutput

        given = BaseModelOutput(last_hidden_state=seen_PSD)
        made: Tensor = GenerationMixin.generate(self.base, encoder_outputs=given, attention_mask=mask_PS.long(), **words)
        return made


class HeardWriter(ApartWriter):
    """The decoder of Whisper (Radford et al. 2022), which looks at what an encoder heard. It reads no words."""

    def words(self, ids_PT: Tensor) -> Tensor:
        """See `Writer`: only places of inputs are read."""
        return Writer.words(self, ids_PT)

    def opened(self) -> nn.Module:
        """See `Held`. The original lets its decoder look at padding, as all recordings are of one length there."""
        base = super().opened()
        for block in self.pieces(base):
            block.register_forward_pre_hook(_hide, with_kwargs=True)
        return base

    def seen(self, question: Packed, fused: Fused) -> tuple[Tensor, Tensor]:
        """See `ApartWriter`. Where nothing was heard, one place of zeros is looked at: of none there is no mean."""
        rows = [vectors for vectors, _ in self.rows(question, fused)]
        return _beside([row if len(row) else row.new_zeros(1, self.width) for row in rows])

    def decoded(self, ids_PT: Tensor, seen_PSD: Tensor, mask_PS: Tensor) -> Tensor:
        """See `ApartWriter`."""
        with _hiding(mask_PS, seen_PSD.dtype):
            made: Tensor = self.base.get_decoder()(input_ids=ids_PT, encoder_hidden_states=seen_PSD, use_cache=False).last_hidden_state
        return made

    def searched(self, seen_PSD: Tensor, mask_PS: Tensor, **words: Any) -> Tensor:
        """See `ApartWriter`; not by the search of Whisper's own class, which cuts a long recording into pieces."""
        from transformers import GenerationMixin
        from transformers.modeling_outputs import BaseModelOutput

        with _hiding(mask_PS, seen_PSD.dtype):
            made: Tensor = GenerationMixin.generate(self.base, encoder_outputs=BaseModelOutput(last_hidden_state=seen_PSD), **words)
        return made


def _answers(asked: Packed) -> list[Tensor]:
    """The ids of each row's last answer."""
    pairs = zip(asked.tensors[IDS], asked.tensors[LEARNT], strict=True)
    return [ids[start:][learnt[start:]] for ids, learnt in pairs for start in (answer_start(learnt),)]


def _beside(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows (S, D) side by side, filled up on the right, and which places are real."""
    lengths = torch.tensor([len(row) for row in rows])
    mask_PS = torch.arange(int(lengths.max())) < lengths[:, None]
    return pad_sequence(rows, batch_first=True), mask_PS.to(rows[0].device)


@contextmanager
def _hiding(mask_PS: Tensor, dtype: torch.dtype) -> Iterator[None]:
    """Within it, decoders with hooks do not look at what is not real."""
    added = None
    if not bool(mask_PS.all()):
        added = torch.zeros(mask_PS.shape, dtype=dtype, device=mask_PS.device).masked_fill(~mask_PS, torch.finfo(dtype).min)[:, None, None]
    before = _hidden.set(added)
    try:
        yield
    finally:
        _hidden.reset(before)


def _hide(module: nn.Module, given: tuple[Any, ...], words: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Hand the mask to a block; a search with several beams has each row several times."""
    added = _hidden.get()
    if added is None:
        return given, words
    hidden = given[0] if given else words["hidden_states"]
    return given, {**words, "encoder_attention_mask": added.repeat_interleave(len(hidden) // len(added), 0)}
