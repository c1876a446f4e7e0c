"""`triptych data tokenizer`: a vocabulary from a whole corpus, as one file. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from triptych.base.files import write_text
from triptych.base.settings import Settings, write_yaml
from triptych.modalities.text.settings import Cleaning, Corpus


class TokenizerTool:
    """Implements `contract.tools.Learner`."""

    kind: Literal["learner"] = "learner"
    name = "tokenizer"
    about = "Train a tokenizer on a column of texts; a recipe takes the file as prepare.tokenizer."
    out = "tokenizer.json"
    Options: type[Settings] = Corpus

    def learn(self, values: Iterable[str], options: Any, out: Path) -> dict[str, Any]:
        """See `Learner`. Texts are read as they come and never held."""
        from triptych.modalities.text.tokenizer import train

        held, texts = train(options.kind, options.vocabulary, values, options)
        write_text(out, held.text())
        return {
            "texts": texts,
            "vocabulary": held.size,
            "text": f"{texts:,} texts -> {held.size:,} tokens ({options.kind})",
            "recipe": write_yaml({"prepare": {"tokenizer": str(out), **_said(options)}}, default_flow_style=True, width=10**9).strip(),
        }


def _said(options: Corpus) -> dict[str, Any]:
    """The cleaning that the file cannot do by itself must stand in the recipe too."""
    outside = ("mend_encoding", "strip_markup", "strip_control", "replace_links")
    return {name: True for name in Cleaning.model_fields if name in outside and getattr(options, name)}
