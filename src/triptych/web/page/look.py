"""How the page looks: colours and fonts of the system, a style sheet, and what a screen reader lacks in Gradio's own parts."""

from __future__ import annotations

from importlib import resources
from typing import Any

import gradio as gr

HEAD = """
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<script>
(() => {
  document.documentElement.lang = 'en';
  const named = () => {
    for (const button of document.querySelectorAll('button:not([aria-label])')) {
      const text = button.textContent.trim() || button.title || button.querySelector('svg title')?.textContent
        || (button.querySelector('img') && 'picture');
      if (!button.textContent.trim() && text) button.setAttribute('aria-label', text);
    }
    // What Gradio calls the place for a file is neither what stands on it nor which input it is for.
    for (const button of document.querySelectorAll('button[aria-dropeffect]:not([data-named])')) {
      const text = button.textContent.trim().replace(/\\s+/g, ' ');
      if (!text) continue;
      const label = button.closest('.block')?.querySelector('[data-testid=block-label]')?.textContent?.trim();
      button.setAttribute('aria-label', label ? label + ': ' + text : text);
      button.dataset.named = '';
    }
    // The sign for more files is a button within a button, called by the key of a translation: the outer one does what the inner would.
    for (const button of document.querySelectorAll('button.icon-button:not([data-named]):has(button input[type=file])')) {
      button.setAttribute('aria-label', 'Upload');
      button.dataset.named = button.title = 'Upload';
      button.querySelector('button').inert = true;
      button.addEventListener('click', () => button.querySelector('input[type=file]').click());
    }
    for (const item of document.querySelectorAll('[role=listitem]')) {
      if (!item.closest('[role=list], ul, ol')) item.parentElement.setAttribute('role', 'list');
    }
    // The name of a player's speed begins with what stands on it, also after a click.
    for (const button of document.querySelectorAll('button.playback:not([data-named])')) {
      const says = () => button.setAttribute('aria-label', button.textContent.trim() + ' speed');
      says();
      new MutationObserver(says).observe(button, {childList: true, characterData: true, subtree: true});
      button.dataset.named = '';
    }
    for (const field of document.querySelectorAll('input[type=file]:not([aria-label])')) {
      const block = field.closest('.block');
      const label = block?.querySelector('[data-testid=block-label], label span')?.textContent?.trim();
      field.setAttribute('aria-label', label ? 'file for ' + label : 'file');
    }
  };
  // The tab that was looked at last is opened again, by a click, so that all that a click does is done.
  const bars = () => [...document.querySelectorAll('#tabs [role=tab]')];
  let opened = false;
  addEventListener('click', (event) => {
    const bar = event.target.closest?.('#tabs [role=tab]');
    if (bar && opened) localStorage.setItem('triptych.tab', bar.textContent.trim());
  }, true);
  const open = () => {
    if (opened || !bars().length) return;
    opened = true;
    bars().find((bar) => bar.textContent.trim() === localStorage.getItem('triptych.tab') && bar.ariaSelected !== 'true')?.click();
  };
  let waits = false;
  new MutationObserver(() => {
    if (!waits) { waits = true; setTimeout(() => { waits = false; named(); open(); }, 200); }
  }).observe(document.documentElement, {childList: true, subtree: true});
})();
</script>
"""


def theme() -> Any:
    """Gradio's base with the fonts of the system: none is fetched."""
    sans = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "Liberation Sans", "sans-serif")
    mono = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
    made = gr.themes.Base(primary_hue="blue", secondary_hue="blue", neutral_hue="slate", font=sans, font_mono=mono)
    return made.set(
        button_primary_background_fill="#2457d6",
        button_primary_background_fill_hover="#1c46ad",
        button_primary_text_color="#ffffff",
        button_primary_background_fill_dark="#2f63e0",
        button_primary_text_color_dark="#ffffff",
        link_text_color_dark="#7fa8ff",
        body_text_color_subdued="#5b6169",
        body_text_color_subdued_dark="#a7aeb7",
        input_placeholder_color="#5b6169",
        input_placeholder_color_dark="#a7aeb7",
    )


def style() -> str:
    """The page's own style sheet."""
    return (resources.files("triptych") / "web" / "page" / "page.css").read_text(encoding="utf-8")
