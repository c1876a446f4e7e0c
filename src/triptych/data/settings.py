"""The words under `data:` of a recipe."""

from __future__ import annotations

from collections.abc import Callable
from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from triptych.base.settings import Settings

SOURCE = "source"
"""The column that says which of several sources a row is from."""


class SplitSettings(Settings):
    """Which rows are learnt from, which choose the best epoch, which are only measured."""

    column: str | None = Field(
        None, description="column that says train, validation or test; without validation rows, a share of train is taken"
    )
    group: str | None = Field(None, description="column whose equal values stay on one side (speaker, song, customer)")
    test_where: dict[str, list[Any]] = Field({}, description="rows whose column has one of these values are the test: {speaker: [anna]}")
    validation: float = Field(
        0.15,
        ge=0,
        lt=1,
        description="share of the rows that choose the best epoch; beside column or test_where, of those that are not test",
    )
    test: float | None = Field(
        None, ge=0, lt=1, description="share of the rows that are only measured; by default 0.2; not beside column or test_where"
    )
    seed: int = Field(0, description="another number gives another split; the same number the same split on every machine")

    @model_validator(mode="after")
    def _one_way(self) -> SplitSettings:
        if self.column and self.test_where:
            raise ValueError("split.column and split.test_where both say which rows are the test; keep one of them")
        if self.test is not None and (self.column or self.test_where):
            other = "column" if self.column else "test_where"
            raise ValueError(f"split.test and split.{other} both say which rows are the test; remove split.test")
        if self.validation + self.test_share >= 1:
            raise ValueError(
                f"validation {self.validation} and test {self.test_share} leave nothing to train on; make their sum less than 1"
            )
        return self

    @property
    def test_share(self) -> float:
        """Share of the rows to deal to the test; none where the user's own words name the test rows."""
        if self.column or self.test_where:
            return 0.0
        return 0.2 if self.test is None else self.test


MODALITY = "modality"
"""The word that groups rows by which inputs they have."""


class BalanceSettings(Settings):
    """How often rows are drawn in training. A column's name stands for it: every value of it equally often."""

    by: str = Field(
        min_length=1,
        description="column whose values are the groups: a class, `source` of several sources; modality: which inputs a row has",
    )
    temperature: float = Field(
        0.0, ge=0, le=1, description="a group of n rows is drawn in proportion to n^temperature: 1 as it is, 0.5 by the root, 0 all equally"
    )
    epoch: int | None = Field(None, ge=1, description="rows drawn an epoch; by default as many as there are training rows")


Balance = Annotated[
    BalanceSettings,
    BeforeValidator(lambda value: {"by": value} if isinstance(value, str) else value, json_schema_input_type=str | BalanceSettings),
]


class SourceSettings(Settings):
    """One of several sources."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", description="what its rows say in the column `source`, and before their ids")
    source: str = Field(min_length=1, description="the same as where there is one source")
    weight: float = Field(1.0, gt=0, description="how often a row of it is drawn in training, against a row of the other sources")


class ColumnSettings(Settings):
    """What a column is made of. A short word stands for it: the name of a column, or a text with {columns} in braces."""

    column: str | None = Field(None, min_length=1, description="column of the source that it is; by default the one of the same name")
    template: str | None = Field(None, description="text with columns of the source in braces: It is {label}; {{ and }} are braces")
    type: Literal["text", "number", "integer", "boolean", "list"] | None = Field(
        None, description="what its cells must be; one that is something else costs its row"
    )
    separator: str = Field("|", min_length=1, description="what stands between the entries of a list")

    @model_validator(mode="after")
    def _one_way(self) -> ColumnSettings:
        if self.template is not None and self.column is not None:
            raise ValueError("column and template both say what stands in the cells; keep one of them")
        if self.template is not None:
            named(self.template)
        return self


def named(template: str) -> list[str]:
    """The columns that a template names.

    Raises:
        ValueError: a brace is not closed, or holds more than a column's name.
    """
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"the template {template!r} cannot be read: {error}; write {{{{ and }}}} for braces themselves") from None
    for _, name, form, conversion in pieces:
        if name is not None and (not name or form or conversion):
            raise ValueError(f"the template {template!r} must name one column between braces, as in It is {{label}}")
    return [name for _, name, _, _ in pieces if name]


def _short(value: Any) -> Any:
    """Let `caption: "A {label}"` and `price: cost` stand for their long forms."""
    if not isinstance(value, str):
        return value
    return {"template" if {"{", "}"} & set(value) else "column": value}


Column = Annotated[ColumnSettings, BeforeValidator(_short, json_schema_input_type=str | ColumnSettings)]


class DataSettings(Settings):
    """Where the rows come from."""

    source: Annotated[str, Field(min_length=1)] | Annotated[list[SourceSettings], Field(min_length=1)] = Field(
        description="folder of class folders, table (.csv, .tsv, .jsonl, .parquet, .tar), saved data set, pattern of files (clips/*.wav), "
        "hf:owner/name, or sample:NAME, relative to the recipe's folder; or a list of {name, source, weight}"
    )
    columns: dict[Annotated[str, Field(min_length=1)], Column] = Field(
        {},
        description="columns to rename {new: old}, to write {caption: It is {label}}, or whose type is known {price: {type: number}}",
    )
    empty: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description='texts that stand for an empty cell, in every column: [NA, "-"]; capitals count'
    )
    split: SplitSettings = Field(SplitSettings(), description="how rows are divided")
    balance: Balance | None = Field(None, description="how often rows are drawn in training; by default each once an epoch")
    max_rejected: float = Field(0.2, ge=0, le=1, description="share of rows that may be unusable before the run stops with the list")
    limit: int | None = Field(None, ge=1, description="use only so many rows, drawn by the hash of their ids (a quick trial)")

    @model_validator(mode="after")
    def _names_differ(self) -> DataSettings:
        names = [part.name for part in self.source] if isinstance(self.source, list) else []
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two sources are called {twice[0]!r}; each needs a name of its own")
        if names and SOURCE in self.columns:
            raise ValueError(f"of several sources, the column {SOURCE!r} says which one a row is from; write data.columns another name")
        return self

    @property
    def sources(self) -> list[str]:
        """Every source as it is written."""
        return [self.source] if isinstance(self.source, str) else [part.source for part in self.source]

    @property
    def weights(self) -> dict[str, float]:
        """Of several sources, how often a row of each is drawn, by name."""
        return {} if isinstance(self.source, str) else {part.name: part.weight for part in self.source}

    def with_sources(self, change: Callable[[str], str]) -> DataSettings:
        """The same with every source as `change` gives it: made absolute, or made."""
        if isinstance(self.source, str):
            return self.model_copy(update={"source": change(self.source)})
        return self.model_copy(update={"source": [part.model_copy(update={"source": change(part.source)}) for part in self.source]})
