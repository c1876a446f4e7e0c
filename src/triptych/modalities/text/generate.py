"""Language models that write: from scratch, or pretrained. Inputs' sequences stand between the words, as their own tokens do."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from triptych.base import hub
from triptych.base.errors import InputError
from triptych.contract.generator import IDS, LEARNT, SLOTS, Generator, TooLong
from triptych.contract.values import Fused, Output, Packed
from triptych.contract.writes import How
from triptych.layers.gated import Looks, looking
from triptych.layers.held import Held
from triptych.layers.rows import can_lay, laid, places
from triptych.layers.tower import pretrained, quiet
from triptych.layers.vocabulary import vocabulary_loss
from triptych.modalities.text.decoders import Base, Small

MODEL = "AutoModelForCausalLM"
MOST = 2048
"""Tokens that a base reads at most, where the recipe says nothing."""
BEYOND = 1024
"""Places for an answer, after what a model from scratch reads."""
SKIP = -1
"""Stands among the targets where nothing is learnt."""
AT_ONCE = 256
"""Places of which the likeliest word is looked for at a time."""


class Writer(Generator):
    """A causal language model of transformers as a `Generator`. A subclass has it as `base`.

    Facts: `inputs` (their names, as `slot_PT` counts them), `stops` (ids that end an answer), `pad`, `context`.
    """

    base: Any

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

    # what it reads

    def rows(self, asked: Packed, fused: Fused, spare: int = 0) -> list[tuple[Tensor, Tensor]]:
        """Of each row its vectors (T, D), inputs' sequences between the words', and the ids to learn (T,), `SKIP` where there is none.

        `spare` places of those that the model reads are left to what is to be written.

        Raises:
            TooLong: a row is longer than the model reads, and that is not because of the words of its question.
        """
        ids_PT, slot_PT, mask_PT = asked.tensors[IDS], asked.tensors[SLOTS], asked.mask_PT
        target_PT = torch.where(asked.tensors[LEARNT], ids_PT, SKIP)
        words_PTD = self.base.get_input_embeddings()(ids_PT)
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
        nll_N = self._nll(hidden_ND, target_N)
        hit_N = torch.zeros_like(nll_N) if torch.is_grad_enabled() else self._hits(hidden_ND, target_N)
        word_N = (target_N[:, None] != target_N.new_tensor(self.facts["stops"])).all(1).to(nll_N.dtype)

        def summed(values_N: Tensor) -> Tensor:
            return nll_N.new_zeros(len(rows)).index_add(0, of_N, values_N)

        told = {"nll_B": nll_N, "count_B": torch.ones_like(nll_N), "hits_B": hit_N * word_N, "words_B": word_N}
        return Output({name: summed(values_N) for name, values_N in told.items()})

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

    def _head(self, hidden_ND: Tensor) -> tuple[Tensor, Tensor, Tensor | None, float | None]:
        """What enters the last product, its weight and bias, and its cap."""
        head, config = self.base.get_output_embeddings(), self.base.config.get_text_config()
        factor = getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", None) or 1.0)
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

    def _looking(self, fused: Fused) -> Any:
        """Where inputs do not stand between the words: the context that gated layers look at."""
        if self.looks is None:
            return nullcontext()
        if not self._installed:
            self.looks.install(self.base)
            self._installed = True
        return looking(fused.tokens_BTD, fused.mask_BT)

    # what it writes

    @torch.no_grad()
    def write(self, asked: Packed, fused: Fused, how: How) -> list[list[int]]:
        """See `Generator`. Rows are padded on the left, so that all answers begin at one place."""
        return [self._ended(ids) for ids in self._generated(asked, fused, how).tolist()]

    def _generated(self, asked: Packed, fused: Fused, how: How, **more: Any) -> Tensor:
        """Ids after the rows, (P, T)."""
        most, spare = self._room(how.longest)
        rows = [vectors for vectors, _ in self.rows(asked, fused, spare)]
        longest = max(map(len, rows))
        vectors_PTD = torch.stack([F.pad(row, (0, 0, longest - len(row), 0)) for row in rows])
        mask_PT = torch.stack([F.pad(row.new_ones(len(row), dtype=torch.long), (longest - len(row), 0)) for row in rows])
        with quiet(), torch.random.fork_rng(enabled=how.temperature > 0):
            if how.temperature > 0:
                torch.manual_seed(how.seed)
            with self._looking(fused):
                made_PT: Tensor = self.base.generate(
                    inputs_embeds=vectors_PTD,
                    attention_mask=mask_PT,
                    generation_config=self._config(how._replace(longest=most)),
                    **more,
                    **_until(how),
                )
        return made_PT

    def _room(self, longest: int) -> tuple[int, int]:
        """How long an answer may be, and how much of what the model reads is left to it: a base may have no places beyond."""
        context, positions = self.facts["context"], self.facts["positions"]
        beyond = positions - context if positions else longest
        most = min(longest, max(beyond, context // 2))
        return most, max(most - beyond, 0)

    def stream(self, asked: Packed, fused: Fused, how: How) -> Iterator[int]:
        """See `Generator`: written in a thread of its own, which ends when nobody listens any more."""
        waiting = _Waiting()

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
        from transformers import GenerationConfig

        drawn = {"do_sample": True, "temperature": how.temperature, "top_p": how.top_p} if how.temperature else {"do_sample": False}
        return GenerationConfig(
            max_new_tokens=how.longest, num_beams=how.beams, eos_token_id=list(self.facts["stops"]), pad_token_id=self.facts["pad"], **drawn
        )

    def _ended(self, ids: Sequence[int]) -> list[int]:
        stops = set(self.facts["stops"])
        return list(ids[: next((n for n, each in enumerate(ids) if each in stops), len(ids))])

    def layers_of(self, base: Any) -> list[nn.Module]:
        """The transformer blocks."""
        return list(_blocks(base)[1])


def _unlearnt(target_T: Tensor) -> list[tuple[int, int]]:
    """(start, length) of each stretch of words that are not learnt; one of none where there is nothing else."""
    learnt, lengths = torch.unique_consecutive(target_T != SKIP, return_counts=True)
    ends = lengths.cumsum(0).tolist()
    runs = [(end - length, length) for end, length, is_learnt in zip(ends, lengths.tolist(), learnt.tolist(), strict=True) if not is_learnt]
    return runs or [(0, 0)]


def _until(how: How) -> dict[str, Any]:
    """A word for `generate` where other words than the tokens that end an answer may end it."""
    if how.ended is None:
        return {}
    ended = how.ended

    def met(ids_PT: Tensor, _: Any, **words: Any) -> Tensor:
        return torch.tensor([ended(ids) for ids in ids_PT.tolist()], device=ids_PT.device)

    return {"stopping_criteria": [met]}


class _Waiting:
    """A streamer of transformers: ids as they come, until there are no more, or nobody wants them."""

    def __init__(self) -> None:
        self.queue: queue.Queue[int | None] = queue.Queue()
        self.problem: BaseException | None = None
        self.left = False

    def put(self, ids: Tensor) -> None:
        """Called with ids that were written."""
        if self.left:
            raise InterruptedError("nobody listens any more")
        for one in ids.reshape(-1).tolist():
            self.queue.put(int(one))

    def end(self) -> None:
        """Called at the end, by transformers and by us."""
        self.queue.put(None)


class SmallWriter(Writer):
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
        grouped = _grouped(self.base)
        return grouped if self.looks is None else [*grouped[:-1], nn.ModuleList([grouped[-1], self.looks])]

    def kept(self) -> dict[str, Tensor]:
        """All tensors, the tied one once."""
        return {name: tensor for name, tensor in self.state_dict().items() if name != "base.lm_head.weight"}

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """See `Part`."""
        found = self.load_state_dict(dict(tensors), strict=False)
        if found.unexpected_keys or set(found.missing_keys) - {"base.lm_head.weight"}:
            raise RuntimeError(f"missing: {', '.join(found.missing_keys)}; unexpected: {', '.join(found.unexpected_keys)}")


class BaseWriter(Held, Writer):
    """A pretrained language model."""

    Settings = Base

    def __init__(self, settings: Base, **facts: Any) -> None:
        """`facts` are those of the base and of the script."""
        super().__init__(settings, **facts)
        self.prepared(int(facts["width"]), int(facts["blocks"]))

    @classmethod
    def named(cls, settings: Base, facts: Mapping[str, Any]) -> Self:
        """The writer that the settings name; its weights are not read yet. `facts` are the script's, and `inputs`."""
        folder = hub.located(settings.name, settings.revision)
        known = described(folder)
        longest = known["positions"] or MOST
        writer = cls(settings, **known, **facts, context=min(settings.context or MOST, longest))
        writer.folder = folder
        return writer

    def opened(self) -> nn.Module:
        """See `Held`."""
        return pretrained(self.folder, _Causal())  # type: ignore[arg-type]

    def pieces(self, base: Any) -> list[nn.Module]:
        """See `Held`."""
        return self.layers_of(base)

    def ends(self, base: Any) -> tuple[list[nn.Module], list[nn.Module]]:
        """See `Held`."""
        return _ends(base)


class _Causal:
    """What `tower.pretrained` asks of a family."""

    model, optional = MODEL, ()

    def trimmed(self, base: Any) -> None:
        """Nothing goes."""


def described(folder: Path) -> dict[str, Any]:
    """A base's `width`, `blocks`, `parameters`, `digest`, `positions` (0: no end): found out once, and kept by its digest.

    Raises:
        InputError: it is no language model that writes.
    """
    word = hub.fingerprint(folder)
    return hub.kept(f"facts/{word[:32]}-decoder.json", lambda: {**_facts(folder), "digest": word})


def _facts(folder: Path) -> dict[str, Any]:
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = hub.config(folder)["model_type"]
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        known = ("gpt2", "llama", "qwen2", "qwen3", "gemma2", "mistral", "phi3", "opt")
        what = f"{folder.name} is a {kind} model, which writes no text by itself"
        raise InputError(
            what, where=str(folder), known=known, fix="decoder: HuggingFaceTB/SmolLM2-135M-Instruct, or another language model"
        )
    with quiet(), torch.device("meta"):
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            empty = AutoModelForCausalLM.from_config(config)
        except (OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError) as error:
            what = f"the config of the pretrained model fits no {kind}: {str(error).strip().splitlines()[0]}"
            raise InputError(what, where=str(folder / hub.CONFIG), fix="copy or download it again") from error
    return {
        "width": empty.get_input_embeddings().embedding_dim,
        "blocks": len(_blocks(empty)[1]),
        "parameters": sum({id(p): p.numel() for p in empty.parameters()}.values()),
        "positions": getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", 0),
    }


def _blocks(base: Any) -> tuple[nn.Module, nn.ModuleList]:
    """The list of the model's blocks, and what holds it."""
    count = base.config.get_text_config().num_hidden_layers
    for module in base.base_model.modules():
        for child in module.children():
            if isinstance(child, nn.ModuleList) and len(child) == count:
                return module, child
    raise InputError(f"no blocks are found in a {type(base).__name__}", fix="name a language model of a plainer architecture")


def _ends(base: Any) -> tuple[list[nn.Module], list[nn.Module]]:
    """What comes before the blocks, and after them: the head too, unless it is the vocabulary itself."""
    holder, blocks = _blocks(base)
    children = list(holder.children())
    at = next(n for n, child in enumerate(children) if child is blocks)
    head, words = base.get_output_embeddings(), base.get_input_embeddings()
    own = [head] if head is not None and head.weight is not words.weight else []
    return children[:at], [*children[at + 1 :], *own]


def _grouped(base: Any) -> list[nn.Module]:
    first, last = _ends(base)
    grouped = [[block] for block in _blocks(base)[1]]
    grouped[0][:0] = first
    grouped[-1] += last
    return [parts[0] if len(parts) == 1 else nn.ModuleList(parts) for parts in grouped]


def _tidy(number: float) -> int:
    return 16 * math.ceil(number / 16)
