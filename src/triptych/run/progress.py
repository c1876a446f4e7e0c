"""What a person reads while the work goes on; everything goes to standard error, so that --json stays clean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from triptych.base.runtime import Choice

T = TypeVar("T")


class Voice:
    """Says what is being done; a quiet one says nothing."""

    def __init__(self, quiet: bool = False) -> None:
        """`quiet` also hides progress bars."""
        self.console = Console(stderr=True, quiet=quiet, highlight=False)

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text, markup=False, soft_wrap=True)

    def choices(self, made: Iterable[Choice]) -> None:
        """Each decision with its reason."""
        for choice in made:
            text = f"  [dim]{escape(choice.name)}:[/dim] {escape(choice.value)} [dim]({escape(choice.reason)})[/dim]"
            self.console.print(text, soft_wrap=True)

    def track(self, items: Iterable[T], total: int | None, what: str) -> Iterator[T]:
        """A bar over items; it is gone when they are."""
        with self.bar() as bar:
            task = bar.add_task(what, total=total, note="")
            for item in items:
                bar.advance(task)
                yield item

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """A line with a spinner for work whose length is not known; the line stays."""
        self.say(text)
        with self.console.status(text) if self.console.is_terminal else nullcontext():
            yield

    @contextmanager
    def bar(self) -> Iterator[Progress]:
        """A progress bar with count, time gone, time left and a note."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            yield progress
