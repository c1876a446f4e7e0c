"""What all language models that write share: what they read of a row, what they think of an answer, how answers come out."""

from __future__ import annotations

import queue
import threading
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from triptych.contract.generator import IDS, LEARNT, SLOTS, Generator, TooLong
from triptych.contract.values import Fused, Output, Packed
from triptych.contract.writes import How
from triptych.layers.tower import quiet
from triptych.layers.vocabulary import vocabulary_loss

SKIP = -1
"""Stands among the targets where nothing is learnt."""
AT_ONCE = 256
"""Places of which the likeliest word is looked for at a time."""


class Writer(Generator):
    """A language model of transformers as a `Generator`. A subclass has it as `base`.

    Facts: `inputs` (their names, as `slot_PT` counts them), `stops` (ids that end an answer), `pad`, `context` (most that is read),
    `positions` (most that is read and written; 0: no end), `prompt` (ids that a decoder of its own begins with).
    """

    base: Any

    @contextmanager
    def plain(self) -> Iterator[None]:
        """See `Generator`."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        added: list[Any] = [module for module in self.base.modules() if isinstance(module, BaseTunerLayer)]
        learning = [(parameter, parameter.requires_grad) for module in added for parameter in module.parameters()]
        for module in added:
            module.enable_adapters(False)
        try:
            yield
        finally:
            for module in added:
                module.enable_adapters(True)
            for parameter, learns in learning:  # peft switches them on and off as well
                parameter.requires_grad_(learns)

    # what it reads

    def rows(self, asked: Packed, fused: Fused, spare: int = 0) -> list[tuple[Tensor, Tensor]]:
        """Of each row its vectors (T, D), inputs' sequences between the words', and the ids to learn (T,), `SKIP` where there is none.

        `spare` places of those that the model reads are left to what is to be written.

        Raises:
            TooLong: a row is longer than the model reads, and that is not because of the words of its question.
        """
        ids_PT, slot_PT, mask_PT = asked.tensors[IDS], asked.tensors[SLOTS], asked.mask_PT
        target_PT = torch.where(asked.tensors[LEARNT], ids_PT, SKIP)
        words_PTD = self.words(ids_PT)
        lengths = mask_PT.sum(1).tolist() if mask_PT is not None else [ids_PT.shape[1]] * len(ids_PT)
        slots = [slot[:length].tolist() for slot, length in zip(slot_PT, lengths, strict=True)]
        made = []
        for row, (length, marks) in enumerate(zip(lengths, slots, strict=True)):
            pieces, targets, start = [], [], 0
            for place in [n for n, mark in enumerate(marks) if mark >= 0]:
                value_TD = self._value(fused, row, marks[place]).to(words_PTD.dtype)
                pieces += [words_PTD[row, start:place], value_TD]
                targets += [target_PT[row, start:place], target_PT.new_full((len(value_TD),), SKIP)]
                start = place + 1
            pieces.append(words_PTD[row, start:length])
            targets.append(target_PT[row, start:length])
            made.append(self._fitting(row, pieces, targets, self.facts["context"] - spare))
        return made

    def words(self, ids_PT: Tensor) -> Tensor:
        """The vectors of ids."""
        vectors_PTD: Tensor = self.base.get_input_embeddings()(ids_PT)
        return vectors_PTD

    def _value(self, fused: Fused, row: int, number: int) -> Tensor:
        """One input's sequence (T, D); empty where the row does not have it, or it is hidden."""
        item, place = divmod(number, len(self.facts["inputs"]))
        name = self.facts["inputs"][place]
        values = fused.prefix[name][row] if name in fused.prefix else ()
        return values[item] if item < len(values) else fused.pooled_BD.new_zeros(0, self.width)

    def _fitting(self, row: int, pieces: list[Tensor], targets: list[Tensor], room: int) -> tuple[Tensor, Tensor]:
        """In one; of a row that is too long the longest words that are not learnt lose their beginning, never an input's sequence."""
        heard, said = sum(map(len, pieces[1::2])), sum(map(len, pieces[0::2]))
        over = heard + said - room
        while over > 0:
            length, piece, start = max((run[1], n, run[0]) for n in range(0, len(pieces), 2) for run in _unlearnt(targets[n]))
            if not length:
                what = f"a row's inputs are {heard:,} tokens and its words {said:,}, and the decoder has room for {room:,}"
                fix = "fusion: {kind: prefix, projector: resampler} or fusion.shorten makes inputs shorter; decoder.context more room"
                raise TooLong(row, what, fix)
            cut = min(over, length)
            for held in (pieces, targets):
                held[piece] = torch.cat([held[piece][:start], held[piece][start + cut :]])
            over -= cut
        return torch.cat(pieces), torch.cat(targets)

    # what it thinks

    def told(self, hidden_ND: Tensor, target_N: Tensor, of_N: Tensor, rows: int) -> Output:
        """What `forward` gives, from what the network made of the places before the N targets; `of_N` says of which row each is."""
        nll_N = self._nll(hidden_ND, target_N)
        hit_N = torch.zeros_like(nll_N) if torch.is_grad_enabled() else self._hits(hidden_ND, target_N)
        word_N = (target_N[:, None] != target_N.new_tensor(self.facts["stops"])).all(1).to(nll_N.dtype)

        def summed(values_N: Tensor) -> Tensor:
            return nll_N.new_zeros(rows).index_add(0, of_N, values_N)

        told = {"nll_B": nll_N, "count_B": torch.ones_like(nll_N), "hits_B": hit_N * word_N, "words_B": word_N}
        return Output({name: summed(values_N) for name, values_N in told.items()})

    def _head(self, hidden_ND: Tensor) -> tuple[Tensor, Tensor, Tensor | None, float | None]:
        """What enters the last product, its weight and bias, and its cap."""
        head, config = self.base.get_output_embeddings(), self.base.config.get_text_config()
        factor = getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", None) or 1.0)
        if getattr(config, "scale_decoder_outputs", False):  # T5, whose vocabulary is its head
            factor = config.d_model**-0.5
        return hidden_ND * factor if factor != 1.0 else hidden_ND, head.weight, head.bias, getattr(config, "final_logit_softcapping", None)

    def _nll(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        """-log p of each target, float32."""
        hidden_ND, weight_VD, bias_V, softcap = self._head(hidden_ND)
        return vocabulary_loss(hidden_ND, weight_VD, target_N, bias_V, softcap=softcap)

    @torch.no_grad()
    def _hits(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        """Whether each target comes first; neither cap nor scale changes an order."""
        _, weight_VD, bias_V, _ = self._head(hidden_ND)
        found = [F.linear(part.to(weight_VD.dtype), weight_VD, bias_V).argmax(1) for part in hidden_ND.split(AT_ONCE)]
        return (torch.cat(found) == target_N).float() if found else hidden_ND.new_zeros(0)

    # what it writes

    @torch.no_grad()
    def write(self, asked: Packed, fused: Fused, how: How) -> list[list[int]]:
        """See `Generator`."""
        return [self._ended(ids) for ids in self._generated(asked, fused, how).tolist()]

    def _generated(self, asked: Packed, fused: Fused, how: How, **more: Any) -> Tensor:
        """Ids after the rows, (P, T)."""
        with quiet(), torch.random.fork_rng(enabled=how.temperature > 0):
            if how.temperature > 0:
                torch.manual_seed(how.seed)
            return self._written(asked, fused, how, **more)

    @abstractmethod
    def _written(self, asked: Packed, fused: Fused, how: How, **more: Any) -> Tensor:
        """The same by transformers' own search; `more` are words for it."""

    def _room(self, longest: int) -> tuple[int, int]:
        """How long an answer may be, and how much of what the model reads is left to it: a base may have no places beyond."""
        context, positions = self.facts["context"], self.facts["positions"]
        beyond = positions - context if positions else longest
        most = min(longest, max(beyond, context // 2))
        return most, max(most - beyond, 0)

    def stream(self, asked: Packed, fused: Fused, how: How) -> Iterator[int]:
        """See `Generator`: written in a thread of its own, which ends when nobody listens any more."""
        waiting = _Waiting(len(self.facts.get("prompt") or ()))

        def written() -> None:
            with torch.no_grad():
                try:
                    self._generated(asked, fused, how._replace(beams=1), streamer=waiting)
                except BaseException as problem:  # it is raised where the answer is listened to
                    waiting.problem = problem
                finally:
                    waiting.end()

        thread = threading.Thread(target=written, daemon=True)
        thread.start()
        try:
            for one in iter(waiting.queue.get, None):
                if one in self.facts["stops"]:
                    break
                yield one
        finally:
            waiting.left = True
            thread.join()
        if waiting.problem is not None:
            raise waiting.problem

    def _config(self, how: How) -> Any:
        """How transformers is to write; what is not said here is as the base's makers say."""
        from transformers import GenerationConfig

        drawn = {"do_sample": True, "temperature": how.temperature, "top_p": how.top_p} if how.temperature else {"do_sample": False}
        return GenerationConfig(
            max_new_tokens=how.longest, num_beams=how.beams, eos_token_id=list(self.facts["stops"]), pad_token_id=self.facts["pad"], **drawn
        )

    def _ended(self, ids: Sequence[int]) -> list[int]:
        stops = set(self.facts["stops"])
        return list(ids[: next((n for n, each in enumerate(ids) if each in stops), len(ids))])


def _unlearnt(target_T: Tensor) -> list[tuple[int, int]]:
    """(start, length) of each stretch of words that are not learnt; one of none where there is nothing else."""
    learnt, lengths = torch.unique_consecutive(target_T != SKIP, return_counts=True)
    ends = lengths.cumsum(0).tolist()
    runs = [(end - length, length) for end, length, is_learnt in zip(ends, lengths.tolist(), learnt.tolist(), strict=True) if not is_learnt]
    return runs or [(0, 0)]


def until(how: How, before: int = 0) -> dict[str, Any]:
    """A word for `generate` where other words than the tokens that end an answer may end it; `before` ids of a prompt are none of it."""
    if how.ended is None:
        return {}
    ended = how.ended

    def met(ids_PT: Tensor, _: Any, **words: Any) -> Tensor:
        return torch.tensor([ended(ids[before:]) for ids in ids_PT.tolist()], device=ids_PT.device)

    return {"stopping_criteria": [met]}


class _Waiting:
    """A streamer of transformers: ids as they come, until there are no more, or nobody wants them."""

    def __init__(self, before: int = 0) -> None:
        """The first `before` ids are not told: a decoder's prompt, which was not written."""
        self.before = before
        self.queue: queue.Queue[int | None] = queue.Queue()
        self.problem: BaseException | None = None
        self.left = False

    def put(self, ids: Tensor) -> None:
        """Called with ids that were written."""
        if self.left:
            raise InterruptedError("nobody listens any more")
        given = ids.reshape(-1).tolist()
        told = given[self.before :]
        self.before = max(0, self.before - len(given))
        for one in told:
            self.queue.put(int(one))

    def end(self) -> None:
        """Called at the end, by transformers and by us."""
        self.queue.put(None)
