"""Text -> speech by a Piper voice: a VITS network in ONNX, with its settings in a JSON file beside it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from triptych.base.errors import BadValue, InputError
from triptych.base.extras import need

LONGEST_TEXT = 5_000


def about(model: Path) -> tuple[str, dict[str, int | None]]:
    """The language of a voice, and its speakers by name; one that has a single speaker is called after its file.

    Raises:
        InputError: Piper is not installed, a file is missing, or it is no Piper voice.
    """
    config = _voice(model).config
    if config.num_speakers <= 1:
        return config.espeak_voice, {model.stem: None}
    names = {number: name for name, number in config.speaker_id_map.items()}
    return config.espeak_voice, {names.get(number, str(number)): number for number in range(config.num_speakers)}


def say(model: Path, text: str, speaker: int | None, length: float) -> tuple[np.ndarray, int]:
    """Samples from -1 to 1 (N,) and their rate; `length` stretches the voice's own time.

    Raises:
        BadValue: the text is too long, or holds nothing that the voice can say.
    """
    if len(text) > LONGEST_TEXT:
        raise BadValue(f"a text of {len(text):,} characters is too long to be spoken; {LONGEST_TEXT:,} are allowed")
    if not any(map(str.isalnum, text)):
        raise BadValue("there is nothing in it that can be said")
    voice, config = _voice(model), _package().SynthesisConfig
    # Without noise: the network draws it anew in each call, and a row would sound otherwise when it is made again.
    how = config(speaker_id=speaker, length_scale=length * voice.config.length_scale, noise_scale=0.0, noise_w_scale=0.0)
    said = text.replace("[[", "[ [")  # what stands in double brackets would be taken for phonemes
    parts = [chunk.audio_float_array for chunk in voice.synthesize(said, how)]
    if not parts:
        raise BadValue("there is nothing in it that can be said")
    return np.concatenate([np.atleast_1d(part) for part in parts]), int(voice.config.sample_rate)


def _package() -> Any:
    return need("piper", extra="piper", why="speaking with a Piper voice")


@lru_cache(maxsize=2)
def _voice(model: Path) -> Any:
    package = _package()
    beside = model.with_name(f"{model.name}.json")
    for path in (model, beside):
        if not path.is_file():
            fix = "a Piper voice is two files: NAME.onnx and NAME.onnx.json"
            raise InputError(f"there is no file {path.name!r}", where=str(path.parent), fix=fix)
    try:
        return package.PiperVoice.load(model)
    except Exception as error:  # onnxruntime has an exception of its own for each thing that can be wrong
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"this is no Piper voice: {reason[0]}", where=str(model), fix="take another voice, or copy it again") from error
