"""Pages of one file, without a network and without scripts, from the templates in `page/`."""

from __future__ import annotations

from functools import cache
from typing import Any


def rendered(template: str, facts: dict[str, Any]) -> str:
    """The page; a name that the template asks for and `facts` lacks is an error, and everything a user gave is escaped."""
    return str(_pages().get_template(template).render(r=facts))


@cache
def _pages() -> Any:
    """The templates, each of which is compiled once: that takes longer than to fill it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("triptych", "use/page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
