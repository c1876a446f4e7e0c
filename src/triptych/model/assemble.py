"""The whole model: encoders, a fusion, heads. The last stop on the way from the shell to the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from triptych.base.errors import InputError
from triptych.contract.generator import PREFERRED, WRITTEN, Generator, named_rows, side_by_side
from triptych.contract.part import ABOUT, Encoder, Part
from triptych.contract.values import Batch, Encoded, Fused, Output, Packed, Passed
from triptych.layers.named import ByName
from triptych.model.fusion import FusionPart
from triptych.model.heads import Head


class Model(nn.Module):
    """Encoders by column, one fusion, heads by task; one decoder for all tasks that are answered in writing."""

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        fusion: FusionPart,
        heads: Mapping[str, Head],
        drop_inputs: float = 0.0,
        decoder: Generator | None = None,
    ) -> None:
        """`drop_inputs` is the chance that an input of a training row is hidden from the fusion (never all of a row's)."""
        super().__init__()
        self.encoders, self.fusion, self.heads, self.decoder = ByName(encoders), fusion, ByName(heads), decoder
        self.drop_inputs = drop_inputs
        for encoder in encoders.values():
            encoder.sequences = self.reads_sequences

    @property
    def reads_sequences(self) -> bool:
        """Whether the fusion or a head looks at the inputs' sequences, and not only at their vectors."""
        return self.fusion.reads_sequences or any(cast(Head, head).reads_sequences for _, head in self.heads.items())

    def train(self, mode: bool = True) -> Model:
        """Parts, and blocks of parts, that have nothing to learn stay in eval mode: no dropout, the same answer each time."""
        super().train(mode)
        for part in (part for part in self.parts().values() if part.made):
            for piece in (part, *part.blocks()):
                held = list(piece.parameters())
                if mode and held and not any(parameter.requires_grad for parameter in held):
                    piece.eval()
        return self

    def forward(self, batch: Batch, shown: Mapping[str, Tensor] | None = None) -> Passed:
        """Encode what is there, fuse what is `shown` (by default drawn anew), ask."""
        encoded = self.encode(batch)
        fused = self.fusion(encoded, self.shown(batch) if shown is None else shown)
        return Passed(self.ask(fused, batch), encoded, fused)

    def shown(self, batch: Batch) -> Mapping[str, Tensor]:
        """Which rows show the fusion which input: those that have it, less what is hidden from a training row."""
        return hide(batch.present, self.drop_inputs) if self.training and self.drop_inputs else batch.present

    def encode(self, batch: Batch) -> dict[str, Encoded]:
        """Each input's present rows through its encoder, several values of a row made one, spread back over the B rows."""
        return {
            column: self.encoders[column](packed).together(packed.counts_P).spread(batch.present[column])
            for column, packed in batch.inputs.items()
        }

    def constrain(self) -> None:
        """Put parameters that a step took out of their bounds back into them."""
        for _, head in self.heads.items():
            cast(Head, head).constrain()

    def ask(self, fused: Fused, batch: Batch | None = None) -> dict[str, Output]:
        """Every head's answer, and what the decoder thinks of the answers that `batch` asks for."""
        told = {name: head(fused) for name, head in self.heads.items()}
        return told | self._written(fused, batch) if self.decoder is not None and batch is not None else told

    def _written(self, fused: Fused, batch: Batch) -> dict[str, Output]:
        """All tasks in one pass of the decoder; of rows that a task does not ask, zeros."""
        assert self.decoder is not None
        names = [name for name in batch.has_target if name not in dict(self.heads.items())]
        places = {name: batch.has_target[name].nonzero()[:, 0] for name in names}
        asked = [name for name in names if name in batch.asked and batch.asked[name].counts_P is None]
        nothing = fused.pooled_BD.float().sum(1) * 0.0
        made = {}
        if asked:
            rows_P = torch.cat([places[name] for name in asked])
            with named_rows([batch.ids[row] for row in rows_P.tolist()] if batch.ids else ()):
                made = dict(self.decoder(side_by_side([batch.asked[name] for name in asked]), fused.rows(rows_P)).tensors)
        found: dict[str, Output] = {}
        for name in names:
            if name in batch.asked and batch.asked[name].counts_P is not None:
                found[name] = Output(
                    {
                        key: nothing.index_copy(0, places[name], x)
                        for key, x in self._preferred(batch.asked[name], fused.rows(places[name])).items()
                    }
                )
            elif name in asked:
                mine = {key: tensor[: len(places[name])] for key, tensor in made.items()}
                made = {key: tensor[len(places[name]) :] for key, tensor in made.items()}
                found[name] = Output({key: nothing.index_copy(0, places[name], tensor.float()) for key, tensor in mine.items()})
            else:
                found[name] = Output(dict.fromkeys((*WRITTEN, *PREFERRED), nothing))
        return found

    def _preferred(self, asked: Packed, fused: Fused) -> dict[str, Tensor]:
        """Rows with two answers each, the better one first: what the decoder's additions make of either."""
        assert self.decoder is not None and asked.counts_P is not None
        twice = fused.rows(torch.arange(len(asked.counts_P), device=asked.counts_P.device).repeat_interleave(2))
        alone = Packed(asked.tensors, asked.mask_PT)
        now = self.decoder(alone, twice)["nll_B"]
        with torch.no_grad(), self.decoder.plain():
            before = self.decoder(alone, twice)["nll_B"]
        gained_B2 = (before - now).unflatten(0, (-1, 2))
        return dict(zip(PREFERRED, gained_B2.unbind(1), strict=True))

    def parts(self) -> dict[str, Part]:
        """The parts by the names a recipe's stages use: columns, `fusion`, `decoder`, tasks."""
        decoder = {} if self.decoder is None else {"decoder": self.decoder}
        named = {**dict(self.encoders.items()), "fusion": self.fusion, **decoder, **dict(self.heads.items())}
        return cast(dict[str, Part], named)

    def save(self, folder: Path) -> None:
        """Each part into its own folder below `folder`."""
        for place, part in self._places(folder).items():
            part.save(place)

    def settle(self, folder: Path) -> None:
        """Know that `save` wrote into `folder`, and that it will stay there."""
        for place, part in self._places(folder).items():
            part.settle(place)

    def kept(self) -> dict[str, Tensor]:
        """Tensors that must be written down, by `part/name`; frozen ones of a pretrained base lie in its own files."""
        return {f"{part}/{name}": tensor for part, held in self.parts().items() for name, tensor in held.kept().items()}

    def take(self, kept: Mapping[str, Tensor]) -> None:
        """Put back what `kept` gave."""
        for part, held in self.parts().items():
            held.take({name.removeprefix(f"{part}/"): tensor for name, tensor in kept.items() if name.startswith(f"{part}/")})

    def size(self) -> int:
        """How many numbers the model's weights are."""
        return sum(part.size() for part in self.parts().values())

    def load_weights(self, folder: Path, among: Callable[[str], bool] = lambda part: True) -> None:
        """Take the weights that `save` wrote; `among` says of which parts, by the names of `parts`, by default all."""
        named = {id(part): name for name, part in self.parts().items()}
        for place, part in self._places(folder).items():
            if among(named[id(part)]):
                part.load_weights(place / "weights.safetensors")

    def _places(self, folder: Path) -> dict[Path, Part]:
        encoders = {folder / "encoders" / column: part for column, part in self.encoders.items()}
        heads = {folder / "heads" / task: part for task, part in self.heads.items()}
        decoder = {} if self.decoder is None else {folder / "decoder": self.decoder}
        return cast(dict[Path, Part], {**encoders, folder / "fusion": self.fusion, **decoder, **heads})

    @staticmethod
    def load(folder: Path) -> Model:
        """Make the model again from what `save` wrote, in eval mode.

        Raises:
            InputError: a part is missing or damaged.
        """
        fusion = cast(FusionPart, Part.load(folder / "fusion"))
        encoders = {column: cast(Encoder, Part.load(folder / "encoders" / column)) for column in fusion.columns}
        tasks = sorted(path.parent.name for path in (folder / "heads").glob(f"*/{ABOUT}"))
        writes = (folder / "decoder" / ABOUT).exists()
        decoder = cast(Generator, Part.load(folder / "decoder")) if writes else None
        if not tasks and decoder is None:
            raise InputError("the model has no heads", where=str(folder / "heads"), fix="copy the whole run folder, or train again")
        heads = {task: cast(Head, Part.load(folder / "heads" / task)) for task in tasks}
        return Model(encoders, fusion, heads, decoder=decoder).eval()


def hide(present: Mapping[str, Tensor], chance: float) -> dict[str, Tensor]:
    """Hide each present input of each row with the given chance, but never the last one a row has."""
    columns = list(present)
    there_BM = torch.stack([present[c] for c in columns], 1)
    draw_BM = torch.rand(there_BM.shape, device=there_BM.device).masked_fill(~there_BM, -1.0)
    keep_BM = there_BM & (draw_BM >= chance)
    luckiest_BM = nn.functional.one_hot(draw_BM.argmax(1), len(columns)).bool()
    keep_BM = keep_BM | (luckiest_BM & there_BM & ~keep_BM.any(1, keepdim=True))
    return {column: keep_BM[:, m] for m, column in enumerate(columns)}
