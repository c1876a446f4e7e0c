"""Several encoded inputs -> one. Every fusion has one signature, so one word of the recipe chooses it.

    forward(encoded: {column: Encoded}, present: {column: bool_B}) -> Fused

`encoded` may lack a column that no row of the batch has; an absent input of a row never changes that row's answer.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from triptych.base.errors import InputError, unknown_word
from triptych.contract.part import Part
from triptych.contract.values import Encoded, Fused, vector
from triptych.layers.mlp import mlp
from triptych.layers.named import ByName
from triptych.layers.pool import AttentionPool, masked_mean
from triptych.layers.projectors import projector
from triptych.layers.transformer import CrossBlock
from triptych.model import settings as words

Present = Mapping[str, Tensor]


class FusionPart(Part):
    """Base: projects each input's vector to width D, then mixes."""

    reads_sequences: ClassVar[bool] = False
    """Whether the mixing looks at the inputs' sequences, and not only at their vectors."""

    def __init__(self, settings: words._Fusion, *, columns: dict[str, int]) -> None:
        """`columns` gives the width of each input's encoder."""
        super().__init__(settings, columns=columns)
        self.columns, self.width = list(columns), settings.width
        self.project = ByName({column: nn.Sequential(nn.LayerNorm(w), nn.Linear(w, settings.width)) for column, w in columns.items()})
        self.drop = nn.Dropout(settings.dropout)

    def alone(self, encoded: Mapping[str, Encoded], present: Present) -> dict[str, Tensor]:
        """Each column by itself in width D, (B, D), before anything is mixed; zeros for a column nobody has."""
        rows = len(next(iter(present.values())))
        empty = next(self.parameters()).new_zeros(rows, self.width)
        return {c: self.project[c](encoded[c].pooled_BD) if c in encoded else empty for c in self.columns}

    def forward(self, encoded: Mapping[str, Encoded], present: Present) -> Fused:
        """See the module's text."""
        parts = self.alone(encoded, present)
        tokens_BMD = torch.stack([parts[c] for c in self.columns], 1)
        mask_BM = torch.stack([present[c] for c in self.columns], 1)
        pooled_BD, inner = self.mix(tokens_BMD * mask_BM[..., None], mask_BM, encoded)
        vectors = {vector(column): one.pooled_BD for column, one in encoded.items()}
        sequences = {column: (one.tokens_BTD, one.mask_BT & present[column][:, None]) for column, one in encoded.items()}
        return Fused(tokens_BMD, mask_BM, pooled_BD, parts, {**vectors, **inner}, sequences=sequences)

    @abstractmethod
    def mix(self, parts_BMD: Tensor, mask_BM: Tensor, encoded: Mapping[str, Encoded]) -> tuple[Tensor, dict[str, Tensor]]:
        """Parts side by side (absent ones zero) -> one vector a row, and what was made on the way by name."""


class Single(FusionPart):
    """One input: its own vector."""

    Settings = words.Single

    def mix(self, parts_BMD: Tensor, mask_BM: Tensor, encoded: Mapping[str, Encoded]) -> tuple[Tensor, dict[str, Tensor]]:
        """See `FusionPart.mix`."""
        return self.drop(parts_BMD[:, 0]), {}


class Concat(FusionPart):
    """Side by side, then two dense layers."""

    Settings = words.Concat

    def __init__(self, settings: words.Concat, *, columns: dict[str, int]) -> None:
        """See `FusionPart`."""
        super().__init__(settings, columns=columns)
        self.absent_MD = nn.Parameter(torch.zeros(len(columns), settings.width))
        self.dense = mlp(len(columns) * settings.width, [2 * settings.width], settings.width, settings.dropout)

    def mix(self, parts_BMD: Tensor, mask_BM: Tensor, encoded: Mapping[str, Encoded]) -> tuple[Tensor, dict[str, Tensor]]:
        """See `FusionPart.mix`."""
        filled_BMD = torch.where(mask_BM[..., None], parts_BMD, self.absent_MD.to(parts_BMD.dtype))
        return self.dense(filled_BMD.flatten(1)), {}


class Gated(FusionPart):
    """A weighted sum whose weights are learnt from the inputs themselves."""

    Settings = words.Gated

    def __init__(self, settings: words.Gated, *, columns: dict[str, int]) -> None:
        """See `FusionPart`."""
        super().__init__(settings, columns=columns)
        self.value = nn.ModuleList(nn.Linear(settings.width, settings.width) for _ in columns)
        self.gate = nn.ModuleList(nn.Linear(settings.width, 1) for _ in columns)

    def mix(self, parts_BMD: Tensor, mask_BM: Tensor, encoded: Mapping[str, Encoded]) -> tuple[Tensor, dict[str, Tensor]]:
        """See `FusionPart.mix`."""
        columns = range(len(self.columns))
        values_BMD = torch.stack([torch.tanh(self.value[m](parts_BMD[:, m])) for m in columns], 1)
        gates_BM = torch.cat([self.gate[m](parts_BMD[:, m]) for m in columns], 1)
        shares_BM = _softmax_over(gates_BM, mask_BM)
        return self.drop((values_BMD * shares_BM[..., None]).sum(1)), {"gates": shares_BM}


def _softmax_over(scores_BM: Tensor, mask_BM: Tensor) -> Tensor:
    """Softmax over the present columns; all zero for a row that has none."""
    hidden = ~mask_BM
    shares = scores_BM.float().masked_fill(hidden, torch.finfo(torch.float32).min).softmax(1)
    return shares.masked_fill(hidden, 0.0).to(scores_BM.dtype)


class Attention(FusionPart):
    """A learnt query over the inputs."""

    Settings = words.Attention

    def __init__(self, settings: words.Attention, *, columns: dict[str, int]) -> None:
        """See `FusionPart`."""
        super().__init__(settings, columns=columns)
        self.name_MD = nn.Parameter(torch.randn(len(columns), settings.width) * 0.02)
        self.pool = AttentionPool(settings.width, settings.heads)
        self.dense = mlp(settings.width, [2 * settings.width], settings.width, settings.dropout)

    def mix(self, parts_BMD: Tensor, mask_BM: Tensor, encoded: Mapping[str, Encoded]) -> tuple[Tensor, dict[str, Tensor]]:
        """See `FusionPart.mix`."""
        pooled_BD, shares_BM = self.pool(parts_BMD + self.name_MD, mask_BM)
        return pooled_BD + self.dense(pooled_BD), {"attention": shares_BM}


class CrossAttention(FusionPart):
    """Tokens of each input look at the tokens of the others; then the mean over the present inputs."""

    Settings = words.CrossAttention
    reads_sequences = True

    def __init__(self, settings: words.CrossAttention, *, columns: dict[str, int]) -> None:
        """See `FusionPart`."""
        super().__init__(settings, columns=columns)
        self.to_tokens = ByName({c: nn.Sequential(nn.LayerNorm(w), nn.Linear(w, settings.width)) for c, w in columns.items()})
        self.layers = nn.ModuleList(
            ByName({c: CrossBlock(settings.width, settings.heads, settings.dropout) for c in columns}) for _ in range(settings.layers)
        )
        self.norm = nn.LayerNorm(settings.width)

    def blocks(self) -> list[nn.Module]:
        """The projections, then one block a round."""
        return [nn.ModuleList([self.project, self.to_tokens]), *self.layers, self.norm]

    def forward(self, encoded: Mapping[str, Encoded], present: Present) -> Fused:
        """See the module's text; a decoder looks at all sequences as they were mixed."""
        fused = super().forward(encoded, present)
        columns = [c for c in self.columns if f"tokens.{c}" in fused.inner]
        if not columns:
            return fused
        masks = [encoded[c].mask_BT & present[c][:, None] for c in columns]
        return replace(fused, tokens_BTD=torch.cat([fused.inner[f"tokens.{c}"] for c in columns], 1), mask_BT=torch.cat(masks, 1))

    def mix(self, parts_BMD: Tensor, mask_BM: Tensor, encoded: Mapping[str, Encoded]) -> tuple[Tensor, dict[str, Tensor]]:
        """See `FusionPart.mix`."""
        columns = [c for c in self.columns if c in encoded]
        here = {c: mask_BM[:, self.columns.index(c)] for c in columns}
        tokens = {c: self.to_tokens[c](encoded[c].tokens_BTD) for c in columns}
        masks = {c: encoded[c].mask_BT & here[c][:, None] for c in columns}
        for layer in self.layers:
            tokens = self._round(layer, tokens, masks)
        sums = [masked_mean(self.norm(tokens[c]), masks[c]) for c in columns]
        seen_BM = torch.stack([here[c] for c in columns], 1).to(parts_BMD.dtype)
        pooled_BD = (torch.stack(sums, 1) * seen_BM[..., None]).sum(1) / seen_BM.sum(1, keepdim=True).clamp(min=1)
        parts_mean_BD = parts_BMD.sum(1) / mask_BM.sum(1, keepdim=True).clamp(min=1)
        return pooled_BD + parts_mean_BD, {f"tokens.{c}": tokens[c] for c in columns}

    def _round(self, layer: nn.Module, tokens: dict[str, Tensor], masks: dict[str, Tensor]) -> dict[str, Tensor]:
        following = {}
        for column in tokens:
            others = [c for c in tokens if c != column]
            if not others:  # alone in this batch: the same as having only absent others
                nothing = tokens[column][:, :1], masks[column].new_zeros(len(tokens[column]), 1)
                following[column] = layer[column](tokens[column], *nothing)  # type: ignore[index]
                continue
            keys, mask = torch.cat([tokens[c] for c in others], 1), torch.cat([masks[c] for c in others], 1)
            following[column] = layer[column](tokens[column], keys, mask)  # type: ignore[index]
        return following


class Joint(FusionPart):
    """One space: each input on the unit sphere by itself; a row is the mean of what it has."""

    Settings = words.Joint

    def __init__(self, settings: words.Joint, *, columns: dict[str, int]) -> None:
        """See `FusionPart`."""
        super().__init__(settings, columns=columns)
        self.dense = ByName({c: mlp(settings.width, [2 * settings.width], settings.width, settings.dropout) for c in columns})

    def alone(self, encoded: Mapping[str, Encoded], present: Present) -> dict[str, Tensor]:
        """Unit vectors (B, D); zeros for a column nobody has."""
        plain = super().alone(encoded, present)
        return {c: F.normalize(part + self.dense[c](part), dim=-1) if c in encoded else part for c, part in plain.items()}

    def mix(self, parts_BMD: Tensor, mask_BM: Tensor, encoded: Mapping[str, Encoded]) -> tuple[Tensor, dict[str, Tensor]]:
        """See `FusionPart.mix`. Scaled by sqrt(D), so that a head sees numbers of size one."""
        mean_BD = parts_BMD.sum(1) / mask_BM.sum(1, keepdim=True).clamp(min=1)
        return mean_BD * self.width**0.5, {}


class Prefix(FusionPart):
    """Each input's sequence in a decoder's width, for it to read between words; the other tasks see the mean of the inputs' vectors."""

    Settings = words.Prefix
    reads_sequences = True

    def __init__(self, settings: words.Prefix, *, columns: dict[str, int], into: int) -> None:
        """`into` is the decoder's width."""
        super().__init__(settings, columns=columns)
        self.facts = {"columns": columns, "into": into}
        if strange := [name for name in settings.shorten if name not in columns]:
            raise unknown_word("input in fusion.shorten", strange[0], columns)
        kind, more = settings.projector, {"queries": settings.queries, "layers": settings.layers}
        more = more if kind == "resampler" else {}
        self.to_decoder = ByName({c: projector(kind, width, into, settings.shorten.get(c, 1), **more) for c, width in columns.items()})

    def blocks(self) -> list[nn.Module]:
        """The projector is one block: it learns as a whole."""
        return [self]

    def forward(self, encoded: Mapping[str, Encoded], present: Present) -> Fused:
        """See the module's text."""
        fused = super().forward(encoded, present)
        prefix = {column: self._values(column, one, present[column].tolist()) for column, one in encoded.items()}
        return replace(fused, prefix=prefix)

    def _values(self, column: str, one: Encoded, there: Sequence[bool]) -> list[list[Tensor]]:
        """Each row's values apart, each projected by itself: no step that stands for several is of two of them."""
        rows = [
            list(row[real].split(list(one.each[n]) if one.each else [int(real.sum())])) if has else []
            for n, (row, real, has) in enumerate(zip(one.tokens_BTD, one.mask_BT, there, strict=True))
        ]
        values = [value for row in rows for value in row if len(value)]
        if not values:
            return [[] for _ in rows]
        mask_NT = torch.arange(max(map(len, values))) < torch.tensor([len(value) for value in values])[:, None]
        made_NTD, kept_NT = self.to_decoder[column](pad_sequence(values, batch_first=True), mask_NT.to(one.tokens_BTD.device))
        made = iter([value[kept] for value, kept in zip(made_NTD, kept_NT, strict=True)])
        return [[next(made) for value in row if len(value)] for row in rows]

    def mix(self, parts_BMD: Tensor, mask_BM: Tensor, encoded: Mapping[str, Encoded]) -> tuple[Tensor, dict[str, Tensor]]:
        """See `FusionPart.mix`."""
        return self.drop(parts_BMD.sum(1) / mask_BM.sum(1, keepdim=True).clamp(min=1)), {}


FUSIONS: dict[str, type[FusionPart]] = {
    "single": Single,
    "concat": Concat,
    "gated": Gated,
    "attention": Attention,
    "cross_attention": CrossAttention,
    "joint": Joint,
    "prefix": Prefix,
}


def build_fusion(settings: words._Fusion, columns: dict[str, int], into: int | None = None) -> FusionPart:
    """The fusion that `settings.kind` names, for encoders of the given widths; `into` is the decoder's, where there is one.

    Raises:
        InputError: `single` with several inputs; `prefix` without a decoder.
    """
    kind: str = settings.kind  # type: ignore[attr-defined]
    if isinstance(settings, words.Prefix):
        if into is None:
            what = "fusion 'prefix' puts inputs between a decoder's words, and the recipe has no decoder"
            raise InputError(what, fix="decoder: small, or OWNER/NAME; or another fusion", known=[k for k in FUSIONS if k != kind])
        return Prefix(settings, columns=columns, into=into)
    if kind == "single" and len(columns) > 1:
        raise InputError(
            f"fusion 'single' takes one input, there are {len(columns)}: {', '.join(columns)}", known=[k for k in FUSIONS if k != "single"]
        )
    return FUSIONS[kind](settings, columns=columns)
