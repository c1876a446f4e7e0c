"""The words under `data:` of a recipe."""

from __future__ import annotations

from collections.abc import Callable
from string import Formatter
from typing import Annotated, Any, Literal, Self

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


class ColumnSettings(Settings):
    """What a column is made of. A short word stands for it: the name of a column, or a text with {columns} in braces."""

    column: str | None = Field(None, min_length=1, description="column of the source that it is; by default the one of the same name")
    template: str | None = Field(None, description="text with columns of the source in braces: It is {label}; {{ and }} are braces")
    type: Literal["text", "number", "integer", "boolean", "list"] | None = Field(
        None, description="what its cells must be; one that is something else costs its row"
    )
    separator: str = Field("|", min_length=1, description="what stands between the entries of a list")
    start: str | None = Field(
        None, min_length=1, description="column of seconds (75.5 or 1:15.5) at which a piece of the file begins; the cells are pieces"
    )
    end: str | None = Field(None, min_length=1, description="column of seconds at which the piece ends; by default at the file's end")

    @model_validator(mode="after")
    def _one_way(self) -> ColumnSettings:
        if self.template is not None and self.column is not None:
            raise ValueError("column and template both say what stands in the cells; keep one of them")
        if self.template is not None:
            named(self.template)
        if self.end is not None and self.start is None:
            raise ValueError("end says where a piece of a file ends and nothing says where it begins; add start")
        if self.start is not None and (self.template is not None or self.type is not None):
            raise ValueError(f"start makes pieces of files and {'template' if self.template is not None else 'type'} makes none")
        return self

    def reads(self, new: str) -> list[str]:
        """The columns of the source that the column `new` is made from."""
        if self.template is not None:
            return named(self.template)
        return [name for name in (self.column or new, self.start, self.end) if name is not None]


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


class SourceSettings(Settings):
    """One of several sources."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", description="what its rows say in the column `source`, and before their ids")
    source: str = Field(min_length=1, description="the same as where there is one source")
    weight: float = Field(1.0, gt=0, description="how often a row of it is drawn in training, against a row of the other sources")
    columns: dict[Annotated[str, Field(min_length=1)], Column] = Field(
        {}, description="columns of this source alone, as in data.columns, which comes after and sees the new names"
    )


class WindowSettings(Settings):
    """Long recordings cut into windows, each a row of its own."""

    column: str = Field(min_length=1, description="column of the recordings")
    seconds: float = Field(ge=0.01, le=7200, description="length of a window")
    overlap: float = Field(0.0, ge=0, description="seconds that a window shares with the one before it")
    last: Literal["keep", "drop", "shift"] = Field(
        "keep",
        description="a shorter piece at the end: keep it, drop it (how much is told), or shift it back until it is as long as the others; "
        "a recording shorter than one window is one, or with drop a reject",
    )
    name: str = Field(
        "recording",
        min_length=1,
        description="column that says which recording a window is of, by its row's id; one that is there already stays as it is",
    )

    @model_validator(mode="after")
    def _moves_on(self) -> WindowSettings:
        if self.overlap > self.seconds - 0.001:
            raise ValueError(
                f"windows of {self.seconds:g} s that overlap by {self.overlap:g} s do not move on; make overlap less than seconds"
            )
        return self


Place = Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1)]


class EachSettings(Settings):
    """Lists in cells: each entry becomes a row of its own. The column's name stands for it."""

    column: str = Field(min_length=1, description="column of the lists, as lists or as JSON; a row without an entry stays as it is")
    into: dict[Annotated[str, Field(min_length=1)], Place | Annotated[list[Place], Field(min_length=1)]] = Field(
        {},
        description="new columns, of entries that are lists or objects themselves: {phrase: 4, box: [0, 1, 2, 3]} by place, from 0, "
        "{phrase: label} by name; by default the entry stands in the column",
    )
    once: str | None = Field(
        None,
        min_length=1,
        description="column whose equal values have the same list: only the first row of each is taken, the others are left out",
    )
    name: str = Field(
        "row", min_length=1, description="column that says which row an entry is of, by its id; one that is there already stays as it is"
    )


def _by_column(value: Any) -> Any:
    """`each: boxes` is short for its column; after `--set data.each.once=...` that word comes as a `kind`."""
    if isinstance(value, dict) and "kind" in value and "column" not in value:
        value = {("column" if name == "kind" else name): held for name, held in value.items()}
    return {"column": value} if isinstance(value, str) else value


Each = Annotated[
    EachSettings,
    BeforeValidator(_by_column, json_schema_input_type=str | EachSettings),
]
Name = Annotated[str, Field(min_length=1)]
Key = Name | Annotated[list[Name], Field(min_length=1)] | Annotated[dict[Name, Name], Field(min_length=1)]


def sides(on: str | list[str] | dict[str, str]) -> dict[str, str]:
    """{column of the rows: column of the joined table} of a word `on`."""
    return on if isinstance(on, dict) else {name: name for name in ([on] if isinstance(on, str) else on)}


class JoinSettings(Settings):
    """A table joined to the rows; a source takes the same words as `data.source`."""

    source: str = Field(min_length=1, description="the table to join, as in data.source")
    columns: dict[Annotated[str, Field(min_length=1)], Column] = Field({}, description="its columns, as in data.columns")
    prefix: str = Field("", description="put before the names of its columns, where both sides have one of the same name")
    missing: Literal["keep", "reject", "refuse"] = Field(
        "keep", description="a row that finds no partner there: keep it without, reject it with its reason, or refuse to go on"
    )


class IdJoin(JoinSettings):
    """A table joined where its key is equal: 7, 7.0 and '7 ' are one key, '07' and 'A' beside 'a' are others."""

    by: Literal["id"] = "id"
    on: Key = Field(
        description="column with the key on both sides, several, or {column of the source: column of the table}; id is also a row's id"
    )
    many: Literal["rows", "first", "refuse", "all"] = Field(
        "rows",
        description="a row with several partners: a row for each, the first only, or refuse; where the key comes several times on both "
        "sides, rows refuses and all gives every pair",
    )
    unused: Literal["leave", "keep", "refuse"] = Field(
        "leave", description="rows of the table that nobody asked for: leave them (they are counted), keep them as rows, or refuse to go on"
    )


class TimeJoin(JoinSettings):
    """Segments in time (a transcript, subtitles, events) joined to windows, pieces or moments of the same recording."""

    by: Literal["time"]
    on: Key | None = Field(
        None,
        description="column that says which recording, on both sides or {column of the source: column of the table}; by default the "
        "name of data.windows, or recording; a table without it is of the one recording there is",
    )
    at: str | None = Field(
        None, min_length=1, description="column of the source with pieces of recordings, or with moments in seconds; by default the windows"
    )
    start: str = Field("start", min_length=1, description="column of the table: where a segment begins, in seconds (75.5 or 1:15.5)")
    end: str | None = Field("end", min_length=1, description="column of the table: where it ends; null where its rows are moments")
    windows: WindowSettings | None = Field(None, description="the table holds long recordings, and their windows are the segments")
    match: Literal["any", "middle"] | Annotated[float, Field(gt=0, le=1)] = Field(
        "any",
        description="a segment belongs to a window where they overlap at all, where its middle is inside, or at least this share of it",
    )
    many: Literal["join", "rows"] = Field(
        "join", description="several segments in one window: their texts joined in the order of time, or a row for each pair"
    )
    text: list[str] = Field(
        ["text"], description="columns of the table that are joined; of the others a window has the value on which all its segments agree"
    )
    separator: str = Field(" ", description="what stands between joined texts; | makes a list of labels")
    unused: Literal["leave", "refuse"] = Field(
        "leave", description="segments that fall into no window: leave them (they are counted), or refuse"
    )


Join = Annotated[IdJoin | TimeJoin, Field(discriminator="by")]


class RowSettings(Settings):
    """Where the rows come from and what is made of them; all that a table on the disk depends on."""

    source: Annotated[str, Field(min_length=1)] | Annotated[list[SourceSettings], Field(min_length=1)] = Field(
        description="folder of class folders, table (.csv, .tsv, .jsonl, .parquet, .tar), saved data set, pattern of files (clips/*.wav), "
        "hf:owner/name, or sample:NAME, relative to the recipe's folder; or a list of {name, source, weight, columns}"
    )
    columns: dict[Annotated[str, Field(min_length=1)], Column] = Field(
        {},
        description="columns to rename {new: old}, to write {caption: It is {label}}, or whose type is known {price: {type: number}}; of "
        "several sources, one that has no column old keeps its own column new",
    )
    empty: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description='texts that stand for an empty cell, in every column: [NA, "-"]; capitals count'
    )
    each: Each | None = Field(None, description="lists in cells made into a row for each entry, after columns and before windows")
    windows: WindowSettings | None = Field(None, description="long recordings cut into windows, after columns and before join")
    join: list[Join] = Field([], description="tables joined to the rows, one after the other")

    @model_validator(mode="before")
    @classmethod
    def _short_joins(cls, tree: Any) -> Any:
        """A join that does not say how goes by id."""
        if not isinstance(tree, dict) or not isinstance(tree.get("join"), list):
            return tree
        joins = [{"by": "id", **join} if isinstance(join, dict) else join for join in tree["join"]]
        # To YAML 1.1, which other programs read and write, `on` is a truth value.
        return {**tree, "join": [{"on" if n is True else n: v for n, v in j.items()} if isinstance(j, dict) else j for j in joins]}

    @model_validator(mode="after")
    def _names_differ(self) -> RowSettings:
        names = [part.name for part in self.source] if isinstance(self.source, list) else []
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two sources are called {twice[0]!r}; each needs a name of its own")
        if names and SOURCE in self.columns:
            raise ValueError(f"of several sources, the column {SOURCE!r} says which one a row is from; write data.columns another name")
        return self

    @model_validator(mode="after")
    def _has_times(self) -> RowSettings:
        for number, words in enumerate(self.join):
            if isinstance(words, TimeJoin) and words.at is None and self.windows is None:
                raise ValueError(f"join.{number} goes by time and nothing says the times of the rows; add data.windows, or at: COLUMN")
        return self

    @property
    def sources(self) -> list[str]:
        """Every source as it is written."""
        return [self.source] if isinstance(self.source, str) else [part.source for part in self.source]

    @property
    def weights(self) -> dict[str, float]:
        """Of several sources, how often a row of each is drawn, by name."""
        return {} if isinstance(self.source, str) else {part.name: part.weight for part in self.source}

    def with_sources(self, change: Callable[[str], str]) -> Self:
        """The same with every source, joined ones too, as `change` gives it: made absolute, or made."""
        join = [words.model_copy(update={"source": change(words.source)}) for words in self.join]
        if isinstance(self.source, str):
            return self.model_copy(update={"source": change(self.source), "join": join})
        parts = [part.model_copy(update={"source": change(part.source)}) for part in self.source]
        return self.model_copy(update={"source": parts, "join": join})


class AddedSettings(Settings):
    """Rows that are only learnt from, beside those of the source: they stand on no other side of the split."""

    source: str = Field(min_length=1, description="as in data.source; its columns are named as the recipe names them")
    weight: float = Field(1.0, gt=0, description="how often a row of it is drawn in training, against a row of the source")


Added = Annotated[
    AddedSettings,
    BeforeValidator(lambda value: {"source": value} if isinstance(value, str) else value, json_schema_input_type=str | AddedSettings),
]


class DataSettings(RowSettings):
    """Where the rows come from and how they are divided."""

    added: Added | None = Field(None, description="rows to learn from besides, such as corrections of answers: a source, with a weight")

    split: SplitSettings = Field(SplitSettings(), description="how rows are divided")
    balance: Balance | None = Field(None, description="how often rows are drawn in training; by default each once an epoch")
    max_rejected: float = Field(0.2, ge=0, le=1, description="share of rows that may be unusable before the run stops with the list")
    limit: int | None = Field(None, ge=1, description="use only so many rows, drawn by the hash of their ids (a quick trial)")

    def with_sources(self, change: Callable[[str], str]) -> Self:
        """See `RowSettings`."""
        made = super().with_sources(change)
        added = made.added and made.added.model_copy(update={"source": change(made.added.source)})
        return made.model_copy(update={"added": added})

    @model_validator(mode="after")
    def _together(self) -> DataSettings:
        """What was one row stays on one side: windows of a recording overlap, and entries of a list share all the rest."""
        made = self.windows or self.each
        if made and self.split.group is None:
            group = self.each.once or self.each.name if self.each else made.name
            object.__setattr__(self, "split", self.split.model_copy(update={"group": group}))
        return self
