"""Near vectors of very many: every one is compared below a size; above it Lance's index is asked, and how well it does is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import lance
    import numpy as np

VECTOR = "vector"
METRIC = "cosine"
EXACT_UP_TO = 50_000
"""Rows up to which all vectors are compared."""
STALE = 0.2
"""Share of the rows that are not in the index yet from which they are taken into it; until then they are compared one by one."""
DEPTH = 10
WANTED = 0.97
"""Recall at `DEPTH` that looking further is stopped at; what is promised is 0.95."""
ASKED = 200
"""Rows whose neighbours are looked for to measure it."""
PROBES = (4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
SHORT = {"IVF_SQ": 2, "IVF_PQ": 8}
"""Kinds of short forms: of how many times the rows asked for the vectors themselves are compared after them.

A byte a number (SQ) is nearly right by itself; a byte for every four (PQ) takes a quarter of the memory, and four times as many vectors
must be read.
"""
LARGE = 2 * 2**30
"""Bytes of short forms up to which there is a byte a number: they lie in memory while questions are asked."""


def prepared(dataset: lance.LanceDataset, near: dict[str, Any], voice: Any) -> dict[str, Any]:
    """Make or renew the vector index where the rows are many; what is to be kept of it. `near` is what was kept before."""
    rows = dataset.count_rows()
    if rows <= EXACT_UP_TO:
        return {}
    refine = near.get("refine")
    if not near:
        with voice.waiting(f"making an index of {rows:,} vectors"):
            refine = SHORT[make(dataset)]
    elif unindexed(dataset) > STALE * rows:
        with voice.waiting("taking the new vectors into the index"):
            dataset.optimize.optimize_indices()
    else:
        return near
    return measured(dataset, refine, voice)


def make(dataset: lance.LanceDataset) -> str:
    """Partitions of about the root of the rows, and in them a short form of each vector; its kind, one of `SHORT`."""
    rows, width = dataset.count_rows(), dataset.schema.field(VECTOR).type.list_size
    kind = "IVF_SQ" if rows * width <= LARGE else "IVF_PQ"
    pieces = next(n for n in (width // 4, width // 2, width) if n and width % n == 0)
    words = {"num_sub_vectors": pieces} if kind == "IVF_PQ" else {}
    dataset.create_index(VECTOR, kind, metric=METRIC, num_partitions=partitions(rows), replace=True, **words)
    return kind


def partitions(rows: int) -> int:
    """The root of the rows."""
    return max(1, round(rows**0.5))


def warm(dataset: lance.LanceDataset) -> None:
    """Read the vector index into memory, where there is one: the first questions are then as quick as the later ones."""
    for index in dataset.describe_indices():
        dataset.prewarm_index(index.name)


def unindexed(dataset: lance.LanceDataset) -> int:
    """Rows that are not in the index yet."""
    (name,) = [index.name for index in dataset.describe_indices()]
    return int(dataset.stats.index_stats(name)["num_unindexed_rows"])


def measured(dataset: lance.LanceDataset, refine: int | None, voice: Any) -> dict[str, Any]:
    """How many partitions must be looked at, tried on rows of the index itself: `probes`, `refine`, `recall`, `asked`."""
    import numpy as np

    rows = dataset.count_rows()
    places = np.random.default_rng(0).choice(rows, min(ASKED, rows), replace=False)
    queries_QD = vectors_of(dataset.take(sorted(places.tolist()), columns=[VECTOR]))
    exact = nearest_of(dataset, queries_QD)
    found: dict[str, Any] = {}
    for probes in voice.track(PROBES, len(PROBES), "measuring the index"):
        told = {"probes": probes, "refine": refine}
        found = {**told, "recall": recall(dataset, queries_QD, exact, told), "asked": len(places)}
        if found["recall"] >= WANTED:
            break
    return found


def recall(dataset: lance.LanceDataset, queries_QD: np.ndarray, exact: list[set[int]], near: dict[str, Any]) -> float:
    """Share of the nearest rows that the index finds."""
    hits = 0
    for query_D, best in zip(queries_QD, exact, strict=True):
        found = dataset.to_table(columns=["_distance"], with_row_id=True, nearest=asked(query_D, DEPTH, near))
        hits += len(best & set(found["_rowid"].to_pylist()))
    return hits / sum(map(len, exact))


def nearest_of(dataset: lance.LanceDataset, queries_QD: np.ndarray) -> list[set[int]]:
    """The ids of the `DEPTH` nearest rows of each query, all vectors compared; the vectors are read once, piece by piece."""
    import numpy as np

    best_QK, ids_QK = np.full((len(queries_QD), 0), 0, np.float32), np.zeros((len(queries_QD), 0), np.int64)
    for batch in dataset.to_batches(columns=[VECTOR], with_row_id=True, batch_size=65_536):
        similar_QN = queries_QD @ vectors_of(batch).T
        ids_N = np.asarray(batch["_rowid"].to_numpy(zero_copy_only=False), np.int64)
        best_QK = np.concatenate([best_QK, similar_QN], axis=1)
        ids_QK = np.concatenate([ids_QK, np.broadcast_to(ids_N, similar_QN.shape)], axis=1)
        top_QK = np.argsort(-best_QK, axis=1, kind="stable")[:, :DEPTH] if best_QK.shape[1] <= 4 * DEPTH else _top(best_QK)
        best_QK, ids_QK = np.take_along_axis(best_QK, top_QK, 1), np.take_along_axis(ids_QK, top_QK, 1)
    return [set(row.tolist()) for row in ids_QK]


def _top(scores_QN: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.argpartition(-scores_QN, DEPTH - 1, axis=1)[:, :DEPTH]


def vectors_of(found: Any) -> np.ndarray:
    """The vectors of an Arrow table or batch as (N, D) float32."""
    import numpy as np

    column = found[VECTOR]
    column = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float32).reshape(len(column), -1)


def asked(query_D: np.ndarray, limit: int, near: dict[str, Any] | None, further: bool = False) -> dict[str, Any]:
    """A query in Lance's words; without `near` every vector is compared.

    `further`: where the partitions that are looked at hold fewer than `limit` rows, others are looked at too. That takes longer
    even where they hold enough.
    """
    query: dict[str, Any] = {"column": VECTOR, "q": query_D, "k": limit, "metric": METRIC}
    if not near:
        return {**query, "use_index": False}
    most = {} if further else {"maximum_nprobes": near["probes"]}
    return {**query, "minimum_nprobes": near["probes"], "refine_factor": near["refine"], **most}
