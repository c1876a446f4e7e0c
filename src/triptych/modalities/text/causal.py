"""Causal language models: one network reads the question and goes on with the answer. From scratch, or pretrained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from triptych.contract.values import Fused, Output, Packed
from triptych.contract.writes import How
from triptych.layers.gated import Looks, looking
from triptych.layers.rows import can_lay, laid, places
from triptych.layers.tower import quiet
from triptych.modalities.text.bases import CAUSAL, grouped
from triptych.modalities.text.basewriter import BaseWriter
from triptych.modalities.text.decoders import Small
from triptych.modalities.text.writers import SKIP, Writer, until

BEYOND = 1024
"""Places for an answer, after what a model from scratch reads."""


class Causal(Writer):
    """A causal language model as a `Generator`."""

    def prepared(self, width: int, blocks: int) -> None:
        """What every writer has besides its base: gated layers, where the inputs do not stand between the words."""
        self.width = width
        self.looks: Looks | None = None
        if (context := self.facts.get("looks")) is not None:
            heads = next(n for n in (8, 4, 2, 1) if width % n == 0)
            self.looks = Looks(blocks, width, context, heads, every=min(self.settings.look_every, blocks))
        self._lays: bool | None = None
        self._installed = False

    def fresh(self) -> list[nn.Module]:
        """The gated layers: nobody has trained them."""
        return [] if self.looks is None else [self.looks]

    def forward(self, asked: Packed, fused: Fused) -> Output:
        """See `Generator`."""
        rows = self.rows(asked, fused)
        # What stands at a place is foretold at the one before.
        next_N = torch.cat([F.pad(target[1:], (0, 1), value=SKIP) for _, target in rows])
        asked_N, of_L = next_N != SKIP, torch.arange(len(rows), device=next_N.device)
        of_N = of_L.repeat_interleave(of_L.new_tensor([len(target) for _, target in rows]))[asked_N]
        with self._looking(fused):
            hidden_ND = self._through([vectors for vectors, _ in rows])[asked_N]
        target_N = next_N[asked_N]
        return self.told(hidden_ND, target_N, of_N, len(rows))

    def _through(self, rows: list[Tensor]) -> Tensor:
        """Rows (T, D) to what the network makes of each place, all end to end (N, D); nothing is computed for padding, where it can be."""
        trunk, lengths = self.base.base_model, [len(row) for row in rows]
        if self.lays:
            with laid(lengths):
                made = trunk(inputs_embeds=torch.cat(rows)[None], position_ids=places(lengths, rows[0].device), use_cache=False)
            return made.last_hidden_state[0]
        mask_PT = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).to(rows[0].device)
        vectors_PTD = pad_sequence(rows, batch_first=True)
        made = trunk(inputs_embeds=vectors_PTD, attention_mask=mask_PT.long(), use_cache=False)
        return made.last_hidden_state[mask_PT]

    @property
    def lays(self) -> bool:
        """Whether rows may lie end to end in this architecture; asked once, for it is tried."""
        if self._lays is None:
            self._lays = can_lay(self.base)
        return self._lays

    def _looking(self, fused: Fused) -> Any:
        """Where inputs do not stand between the words: the context that gated layers look at."""
        if self.looks is None:
            return nullcontext()
        if not self._installed:
            self.looks.install(self.base)
            self._installed = True
        return looking(fused.tokens_BTD, fused.mask_BT)

    def _written(self, asked: Packed, fused: Fused, how: How, **more: Any) -> Tensor:
        """See `Writer`. Rows are padded on the left, so that all answers begin at one place."""
        most, spare = self._room(how.longest)
        rows = [vectors for vectors, _ in self.rows(asked, fused, spare)]
        longest = max(map(len, rows))
        vectors_PTD = torch.stack([F.pad(row, (0, 0, longest - len(row), 0)) for row in rows])
        mask_PT = torch.stack([F.pad(row.new_ones(len(row), dtype=torch.long), (longest - len(row), 0)) for row in rows])
        with self._looking(fused):
            made_PT: Tensor = self.base.generate(
                inputs_embeds=vectors_PTD,
                attention_mask=mask_PT,
                generation_config=self._config(how._replace(longest=most)),
                **until(how),
                **more,
            )
        return made_PT


class SmallWriter(Causal):
    """A language model from scratch."""

    Settings = Small

    def __init__(self, settings: Small, *, vocabulary: int, stops: list[int], pad: int, inputs: list[str], **given: Any) -> None:
        """`vocabulary` ids are known."""
        from transformers import LlamaConfig, LlamaForCausalLM

        told = {
            "vocabulary": vocabulary,
            "stops": stops,
            "pad": pad,
            "inputs": inputs,
            "context": settings.context,
            "positions": settings.context + BEYOND,
            "width": settings.width,
            "looks": given.get("looks"),
        }
        super().__init__(settings, **told)
        config = LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=settings.width,
            intermediate_size=_tidy(8 * settings.width / 3),
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            num_key_value_heads=settings.heads,
            max_position_embeddings=settings.context + BEYOND,
            attention_dropout=settings.dropout,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=stops[0],
            pad_token_id=pad,
        )
        with quiet():
            self.base = LlamaForCausalLM(config)
        self.prepared(settings.width, settings.layers)

    def blocks(self) -> list[nn.Module]:
        """The transformer's blocks; the vocabulary goes with the first, the last norm with the last."""
        parts = grouped(self.base, CAUSAL)
        return parts if self.looks is None else [*parts[:-1], nn.ModuleList([parts[-1], self.looks])]

    def kept(self) -> dict[str, Tensor]:
        """All tensors, the tied one once."""
        return {name: tensor for name, tensor in self.state_dict().items() if name != "base.lm_head.weight"}

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """See `Part`."""
        found = self.load_state_dict(dict(tensors), strict=False)
        if found.unexpected_keys or set(found.missing_keys) - {"base.lm_head.weight"}:
            raise RuntimeError(f"missing: {', '.join(found.missing_keys)}; unexpected: {', '.join(found.unexpected_keys)}")


class CausalWriter(BaseWriter, Causal):
    """A pretrained causal language model."""

    def __init__(self, settings: Any, **facts: Any) -> None:
        """`facts` are those of the base and of the script."""
        super().__init__(settings, **facts)
        self.prepared(int(facts["width"]), int(facts["blocks"]))


def _tidy(number: float) -> int:
    return 16 * math.ceil(number / 16)
