"""The words under `data:` of a recipe."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from triptych.base.settings import Settings


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


class DataSettings(Settings):
    """Where the rows come from."""

    source: str = Field(
        min_length=1, description="folder of class folders, CSV or TSV file, or sample:NAME; relative to the recipe's folder"
    )
    split: SplitSettings = Field(SplitSettings(), description="how rows are divided")
    max_rejected: float = Field(0.2, ge=0, le=1, description="share of rows that may be unusable before the run stops with the list")
    limit: int | None = Field(None, ge=1, description="use only so many rows, drawn by the hash of their ids (a quick trial)")
