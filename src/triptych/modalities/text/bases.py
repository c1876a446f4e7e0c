"""Pretrained language models: of which form one is, how large, where its blocks lie. Found out from its config, without its weights."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from triptych.base import hub
from triptych.base.errors import InputError
from triptych.layers.tower import quiet
from triptych.modalities.text.unpacked import unpacked

CAUSAL, APART, HEARD = "causal", "apart", "heard"
"""Forms: one network reads and writes; an encoder reads and a decoder writes; a decoder writes what another's encoder heard."""
CLASSES = {CAUSAL: "AutoModelForCausalLM", APART: "AutoModelForSeq2SeqLM", HEARD: "WhisperForConditionalGeneration"}
TRIED = ("gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma2", "phi3", "opt")
"""Causal ones that are held to their own models by tests; others are taken as well."""
APART_TRIED = ("t5", "bart", "mbart", "pegasus")
RELATIVE = ("t5",)
"""These have no positions of their own: a text may be as long as it likes."""
LATE = re.compile(r"^(?!.*embed).*(norm|ln_f|project_out)")
"""What comes after the blocks, though it may be written down before them (OPT)."""
MOST = 2048
"""Tokens that a base reads at most, where the recipe says nothing."""


def folder_of(decoder: Any) -> Path:
    """The files of the base that a recipe's decoder names, whole and in the form that save_pretrained writes.

    Raises:
        InputError: it cannot be had.
    """
    if decoder.file is not None:
        return unpacked(decoder.name, decoder.revision, decoder.file)
    return hub.located(decoder.name, decoder.revision)


def described(folder: Path) -> dict[str, Any]:
    """A base's facts: found out once, and kept by its digest.

    They are `form`, `width`, `blocks`, `parameters`, `digest`, `vocabulary` (ids that it knows), `positions` (most that is read and
    written; 0: no end), `reads` (most that an encoder reads; 0: no end) and `start` (the id that a decoder of its own begins with).

    Raises:
        InputError: it is no language model that writes.
    """
    word = hub.fingerprint(folder)
    return hub.kept(f"facts/{word[:32]}-writer.json", lambda: {**_facts(folder), "digest": word})


def context_of(settings: Any, known: Mapping[str, Any]) -> int:
    """The most tokens that are read at once.

    Raises:
        InputError: the recipe wants more than the base has positions.
    """
    longest = known["reads"]
    if settings.context and longest and settings.context > longest:
        what = f"decoder.context {settings.context:,} is more than the {longest:,} positions of {settings.name}"
        raise InputError(what, where="decoder.context", fix=f"context: {longest}, or leave it out")
    return settings.context or min(MOST, longest or MOST)


def check_ids(name: str, known: int, there: int) -> None:
    """Raise InputError where a tokenizer has ids that its model does not know."""
    if known > there:
        what = f"the tokenizer of {name} has {known:,} ids, and the model knows {there:,}: they do not belong together"
        raise InputError(what, where="decoder", fix="copy the tokenizer of that very model beside its weights")


def form_of(config: dict[str, Any]) -> str | None:
    """Of which form a model of this config is; None where it writes no text, or is of a kind that is not known here."""
    from transformers.models.auto import modeling_auto as known

    kind = config["model_type"]
    if kind == "whisper":
        return HEARD
    if kind in known.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        return APART if kind in APART_TRIED else None
    reads_only = kind in known.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not config.get("is_decoder")
    return CAUSAL if kind in known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not reads_only else None


def _facts(folder: Path) -> dict[str, Any]:
    import transformers

    told = hub.config(folder)
    kind, form = told["model_type"], form_of(told)
    if form is None:
        what = f"{folder.name} is a {kind} model, which writes no text by itself, or is not known here"
        fix = "decoder: HuggingFaceTB/SmolLM2-135M-Instruct, or another language model"
        raise InputError(what, where=str(folder), known=(*TRIED, *APART_TRIED, "whisper"), fix=fix)
    made = getattr(transformers, CLASSES[form])
    with quiet(), torch.device("meta"):
        try:
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            empty = made.from_config(config) if hasattr(made, "from_config") else made(config)
        except (OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError) as error:
            what = f"the config of the pretrained model fits no {kind}: {str(error).strip().splitlines()[0]}"
            raise InputError(what, where=str(folder / hub.CONFIG), fix="copy or download it again") from error
    trimmed(empty, form)
    words = empty.get_input_embeddings()
    longest = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 0
    longest = 0 if kind in RELATIVE else longest
    return {
        "form": form,
        "width": words.embedding_dim,
        "blocks": len(pieces(empty, form)),
        "parameters": sum({id(p): p.numel() for p in empty.parameters()}.values()),
        "vocabulary": words.num_embeddings,
        "positions": getattr(config, "max_target_positions", None) or longest,
        "reads": getattr(config, "max_source_positions", None) or longest,
        "start": getattr(config, "decoder_start_token_id", None),
    }


def trimmed(base: Any, form: str) -> None:
    """Without what no way through it passes: the encoder of one that writes what another heard."""
    if form == HEARD:
        base.model.encoder = None


def stacks(base: Any, form: str) -> list[tuple[nn.Module, nn.ModuleList]]:
    """Each list of blocks, from input to output, with what holds it."""
    roots = {
        CAUSAL: lambda: [base.base_model],
        APART: lambda: [base.get_encoder(), base.get_decoder()],
        HEARD: lambda: [base.get_decoder()],
    }
    return [_stack(base, root) for root in roots[form]()]


def _stack(base: Any, root: nn.Module) -> tuple[nn.Module, nn.ModuleList]:
    for module in root.modules():
        for child in module.children():
            if isinstance(child, nn.ModuleList):
                return module, child
    raise InputError(f"no blocks are found in a {type(base).__name__}", fix="name a language model of a plainer architecture")


def pieces(base: Any, form: str) -> list[nn.Module]:
    """The blocks from input to output; what lies between two networks goes with the block beside it."""
    found: list[nn.Module] = []
    held = stacks(base, form)
    for number, (holder, blocks) in enumerate(held):
        first, last = _around(base, holder, blocks)
        grouped = [[block] for block in blocks]
        if number:
            grouped[0][:0] = first
        if number < len(held) - 1:
            grouped[-1] += last
        found += [parts[0] if len(parts) == 1 else nn.ModuleList(parts) for parts in grouped]
    return found


def ends(base: Any, form: str) -> tuple[list[nn.Module], list[nn.Module]]:
    """What comes before the blocks, the vocabulary too, and after them: the head too, unless it is the vocabulary itself."""
    held = stacks(base, form)
    words, head = base.get_input_embeddings(), base.get_output_embeddings()
    first, last = _around(base, *held[0])[0], _around(base, *held[-1])[1]
    own = [head] if head is not None and head.weight is not words.weight else []
    return [words, *first], [*last, *own]


def grouped(base: Any, form: str) -> list[nn.Module]:
    """The blocks, with what comes before and after them."""
    first, last = ends(base, form)
    parts = [[block] for block in pieces(base, form)]
    parts[0][:0] = first
    parts[-1] += last
    return [group[0] if len(group) == 1 else nn.ModuleList(group) for group in parts]


def _around(base: Any, holder: nn.Module, blocks: nn.ModuleList) -> tuple[list[nn.Module], list[nn.Module]]:
    """What a network has before its blocks and after them, without the vocabulary: that belongs before the first of all."""
    words = base.get_input_embeddings()
    children = [(name, child) for name, child in holder.named_children() if not _is(child, words)]
    at = next(n for n, (_, child) in enumerate(children) if child is blocks)
    late = [bool(LATE.search(name)) or (n > at and "embed" not in name) for n, (name, _) in enumerate(children)]
    before, after = ([child for n, (_, child) in enumerate(children) if late[n] == side and n != at] for side in (False, True))
    return _with_weights(before), _with_weights(after)


def _is(child: nn.Module, words: nn.Module) -> bool:
    return child is words or (isinstance(child, nn.Embedding) and child.weight is words.weight)


def _with_weights(modules: Iterable[nn.Module]) -> list[nn.Module]:
    return [module for module in modules if any(True for _ in module.parameters())]
