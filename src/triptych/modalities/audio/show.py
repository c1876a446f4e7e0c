"""A recording for people: a player over its spectrogram; and what the network sees of it."""

from __future__ import annotations

import base64
import html
import io

import numpy as np
from PIL import Image

from triptych.contract.values import Item
from triptych.modalities.audio.features import log_mel
from triptych.modalities.audio.mel import MelSpec
from triptych.modalities.audio.prepare import resampled
from triptych.modalities.audio.read import Recording
from triptych.modalities.audio.settings import Prepare

MOST_SECONDS = 10.0  # heard and drawn
MOST_RATE = 16_000
MOST_WAV = 48_000  # bytes; a longer clip is compressed, so that a report of forty clips stays a few megabytes
WIDE, TALL = 400, 64  # largest picture, pixels
SHADES = 32
INK = (74, 125, 255)  # of the accent; strength is opacity, so the picture fits light and dark pages
MUTED = "color:var(--muted,#888);font-size:.8em"


def show(recording: Recording) -> str:
    """A player and a mel spectrogram of the first ten seconds, with length, rate and name."""
    rate = min(recording.rate, MOST_RATE)
    samples_N = resampled(recording.samples_N[: max(1, round(MOST_SECONDS * recording.rate))], recording.rate, rate)
    note = f", the first {MOST_SECONDS:g} s of it here" if recording.seconds > MOST_SECONDS else ""
    words = f"{_seconds(recording.seconds)}, {recording.rate / 1000:g} kHz{note}"
    named = html.escape(f"{recording.name.replace(chr(92), '/').rsplit('/', 1)[-1]}: " if recording.name else "", quote=True)
    return (
        '<figure class="value audio" style="margin:0;display:inline-block;max-width:100%">'
        f"{_picture(_mel(samples_N, rate), f'Spectrogram of a recording of {_seconds(recording.seconds)}', f'max-width:{WIDE}px')}"
        f'<audio controls preload="none" aria-label="{named}{words}" style="display:block;width:100%;max-width:{WIDE}px;height:2.2em" '
        f'src="{_sound(samples_N, rate)}"></audio>'
        f'<figcaption style="{MUTED}">{named}{words}</figcaption></figure>'
    )


def seen(item: Item, settings: Prepare) -> str:
    """The prepared features as a picture: time to the right, features upward, strong where the number is high."""
    features_TF = item["features"].detach().float().cpu().numpy()
    frames, size = features_TF.shape
    name = {"log_mel": "mel band", "mfcc": "coefficient"}[settings.features]
    seconds = frames * settings.hop / settings.rate
    low, high = float(features_TF.min()), float(features_TF.max())
    words = f"{frames} frames x {size} features ({settings.features}), {low:.2f} to {high:.2f}"
    top, bottom, end = f"{name} {size - 1}", "0", _seconds(seconds)
    return (
        '<figure class="seen audio" style="margin:0;display:inline-block;max-width:100%">'
        f'<div style="display:grid;grid-template-columns:auto minmax(0,{WIDE}px);gap:0 .4em;{MUTED}">'
        '<div style="display:flex;flex-direction:column;justify-content:space-between;text-align:right">'
        f"<span>{top}</span><span>{bottom}</span></div>"
        f"{_picture(features_TF, f'Features the network sees: {words}', '')}"
        f'<div></div><div style="display:flex;justify-content:space-between"><span>0 s</span><span>{end}</span></div></div>'
        f'<figcaption style="{MUTED}">{words}</figcaption></figure>'
    )


def heard(item: Item, rate: int, windows: bool) -> str:
    """What a pretrained encoder hears: its spectrogram, or one of the samples that go in; windows side by side, as are parts."""
    name = "samples" if "samples" in item else "features"
    made = item[name].detach().float().cpu()
    if name == "samples":
        words = f"{made.shape[-1]:,} samples at {rate:,} a second"
        strength_TF = np.concatenate([_mel(wave_N, rate) for wave_N in made.reshape(-1, made.shape[-1]).numpy()])
    else:
        words = f"{made.shape[-2]} frames x {made.shape[-1]} bands of sound at {rate:,} samples a second"
        strength_TF = made.reshape(-1, made.shape[-1]).numpy()
    words += f", {float(made.min()):.2f} to {float(made.max()):.2f}" + (f", {len(made)} windows" if windows else "")
    return (
        '<figure class="seen audio" style="margin:0;display:inline-block;max-width:100%">'
        f"{_picture(strength_TF, f'What the network hears: {words}', f'max-width:{WIDE}px')}"
        f'<figcaption style="{MUTED}">{words}</figcaption></figure>'
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 60 else f"{int(seconds // 60)} min {seconds % 60:.0f} s"


def _mel(samples_N: np.ndarray, rate: int) -> np.ndarray:
    """Decibels (T, F), 80 below the loudest at least, about as many frames as the picture has columns."""
    hop = max(rate // 200, len(samples_N) // WIDE, 1)
    n_fft = max(64, 1 << (rate // 32).bit_length())
    mel_TF = log_mel([samples_N], MelSpec(rate=rate, n_fft=n_fft, hop=hop, bins=min(TALL, n_fft // 6), log="db"))[0].numpy()
    return np.asarray(np.maximum(mel_TF, mel_TF.max() - 80.0))


def _picture(strength_TF: np.ndarray, alt: str, style: str) -> str:
    """An `<img>` of (T, F): one colour whose opacity is the strength between the least and the greatest number."""
    low, high = float(strength_TF.min()), float(strength_TF.max())
    shades = np.round((strength_TF - low) / max(high - low, 1e-9) * (SHADES - 1)).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(shades.T[::-1]))
    if image.width > WIDE or image.height > 2 * TALL:
        image = image.resize((min(image.width, WIDE), min(image.height, 2 * TALL)), Image.Resampling.BOX)
    image.putpalette(INK * SHADES)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True, transparency=bytes(round(n * 255 / (SHADES - 1)) for n in range(SHADES)))
    box = f"display:block;box-sizing:border-box;width:100%;height:{TALL * 3 // 2}px;{style};border:1px solid var(--line,#8884)"
    content = base64.b64encode(out.getvalue()).decode()
    return f'<img alt="{html.escape(alt, quote=True)}" style="{box};image-rendering:pixelated" src="data:image/png;base64,{content}">'


def _sound(samples_N: np.ndarray, rate: int) -> str:
    """A data URI: 16-bit WAV where that is small, else MP3 where libsndfile can write it."""
    import soundfile

    wav = 2 * len(samples_N) <= MOST_WAV or "MP3" not in soundfile.available_formats() or rate not in (8_000, 11_025, 12_000, 16_000)
    out = io.BytesIO()
    kind = {"format": "WAV", "subtype": "PCM_16"} if wav else {"format": "MP3", "subtype": "MPEG_LAYER_III"}
    soundfile.write(out, np.clip(samples_N, -1, 1), rate, **kind)
    return f"data:audio/{'wav' if wav else 'mpeg'};base64,{base64.b64encode(out.getvalue()).decode()}"
