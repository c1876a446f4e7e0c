"""Search over many vectors: build time, recall@10, time of one query, memory; the index of triptych beside FAISS, in one run.

    python -m benchmarks.search                                  1,000,000 vectors of 384 in random clusters, 1,000 questions
    python -m benchmarks.search --rows 60000 --questions 50
    python -m benchmarks.search --folder there               keeps vectors and index, and asks them again where they are there

Both have an inverted file with product quantisation: partitions of about the root of the rows, a byte for every 4 numbers of a vector.
Lance compares the vectors themselves after their short forms; FAISS is given the same (`IndexRefineFlat`), and both look at as many
partitions as reach recall@10 of 0.95 on questions that neither has met. A question is one call, on one thread; its rows come with it.
Each runs in a process of its own. FAISS holds everything in memory, Lance reads from the disk (here from the page cache).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

DEPTH, WANTED = 10, 0.95
PROBES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
PIECE = 50_000


def vectors(rows: int, width: int, seed: int) -> np.ndarray:
    """Unit vectors in `rows / 500` clusters of one width; the clusters are the same for every seed."""
    centres_CD = np.random.default_rng(0).standard_normal((max(rows // 500, 4), width), np.float32)
    return _around(centres_CD, rows, seed)


def _around(centres_CD: np.ndarray, count: int, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    found_ND = centres_CD[draw.integers(len(centres_CD), size=count)]
    found_ND += 0.7 * draw.standard_normal(found_ND.shape, np.float32)
    found_ND /= np.linalg.norm(found_ND, axis=1, keepdims=True)
    return found_ND


def questions(rows: int, width: int, count: int) -> np.ndarray:
    """Others of the same clusters."""
    centres_CD = np.random.default_rng(0).standard_normal((max(rows // 500, 4), width), np.float32)
    return _around(centres_CD, count, 2)


def exact(rows_ND: np.ndarray, asked_QD: np.ndarray) -> list[set[int]]:
    """The nearest rows of each question, every vector compared."""
    best: list[list[tuple[float, int]]] = [[] for _ in asked_QD]
    for start in range(0, len(rows_ND), PIECE):
        similar_QN = asked_QD @ rows_ND[start : start + PIECE].T
        top_QK = np.argpartition(-similar_QN, min(DEPTH, similar_QN.shape[1] - 1), axis=1)[:, :DEPTH]
        for found, similar_N, top_K in zip(best, similar_QN, top_QK, strict=True):
            found += [(float(similar_N[place]), start + int(place)) for place in top_K]
            found[:] = sorted(found, reverse=True)[:DEPTH]
    return [{place for _, place in found} for found in best]


def made(folder: Path, rows: int, width: int, count: int) -> None:
    """The vectors, the questions and what is right, in files that each process reads."""
    folder.mkdir(parents=True, exist_ok=True)
    rows_ND, asked_QD = vectors(rows, width, 1), questions(rows, width, count)
    np.save(folder / "rows.npy", rows_ND)
    np.save(folder / "asked.npy", asked_QD)
    (folder / "right.json").write_text(json.dumps([sorted(best) for best in exact(rows_ND, asked_QD)]))


def with_lance(rows_ND: np.ndarray, asked_QD: np.ndarray, right: list[set[int]], folder: Path) -> dict[str, Any]:
    """The index as `triptych search build` makes it, without the model; questions as `Catalogue.nearest` asks them."""
    from triptych.data.stored import import_lance

    import_lance()
    import lance
    import pyarrow as pa

    from triptych.run.progress import Voice
    from triptych.use import nearby

    kind = pa.list_(pa.float32(), rows_ND.shape[1])
    shape = pa.schema([pa.field("id", pa.string()), pa.field(nearby.VECTOR, kind)])

    def pieces() -> Any:
        for start in range(0, len(rows_ND), PIECE):
            some_ND = rows_ND[start : start + PIECE]
            held = pa.FixedSizeListArray.from_arrays(pa.array(some_ND.reshape(-1)), rows_ND.shape[1])
            yield pa.record_batch([pa.array([str(start + n) for n in range(len(some_ND))]), held], schema=shape)

    place, kept = str(folder / "rows.lance"), folder / "built.json"
    if kept.exists():
        dataset, (written, built, near) = lance.dataset(place), json.loads(kept.read_text())
    else:
        began = time.perf_counter()
        dataset = lance.write_dataset(pa.RecordBatchReader.from_batches(shape, pieces()), place, mode="overwrite")
        written = time.perf_counter() - began
        near = nearby.prepared(dataset, {}, Voice(quiet=True))
        built = time.perf_counter() - began
        kept.write_text(json.dumps([written, built, near]))
    nearby.warm(dataset)

    def ask(query_D: np.ndarray) -> set[int]:
        found = dataset.to_table(columns=["id", "_distance"], nearest=nearby.asked(query_D, DEPTH, near), prefilter=True)
        return set(map(int, found["id"].to_pylist()))

    return {"name": "triptych (Lance)", "write": written, "build": built, "probes": near.get("probes", 0), **timed(ask, asked_QD, right)}


def with_faiss(rows_ND: np.ndarray, asked_QD: np.ndarray, right: list[set[int]], folder: Path) -> dict[str, Any]:
    """The same of FAISS: as few partitions as reach the recall wanted."""
    import faiss

    from triptych.use.nearby import SHORT, partitions

    width, lists = rows_ND.shape[1], partitions(len(rows_ND))
    began = time.perf_counter()
    coarse = faiss.IndexFlatIP(width)
    inner = faiss.IndexIVFPQ(coarse, width, lists, width // 4, 8, faiss.METRIC_INNER_PRODUCT)
    index = faiss.IndexRefineFlat(inner)
    index.k_factor = SHORT["IVF_PQ"]
    index.train(rows_ND[np.random.default_rng(0).permutation(len(rows_ND))[: 100 * lists]])
    index.add(rows_ND)
    built = time.perf_counter() - began
    faiss.omp_set_num_threads(1)

    def ask(query_D: np.ndarray) -> set[int]:
        return set(index.search(query_D[None], DEPTH)[1][0].tolist())

    for probes in PROBES:
        inner.nprobe = probes
        found = timed(ask, asked_QD, right)
        if found["recall"] >= WANTED:
            break
    return {"name": "FAISS (IVF_PQ, refined)", "write": 0.0, "build": built, "probes": probes, **found}


def timed(ask: Any, asked_QD: np.ndarray, right: list[set[int]]) -> dict[str, float]:
    """Recall, and milliseconds of one question; the first 20 warm up."""
    for query_D in asked_QD[:20]:
        ask(query_D)
    hits, times = 0, []
    for query_D, best in zip(asked_QD, right, strict=True):
        began = time.perf_counter()
        found = ask(query_D)
        times.append(1e3 * (time.perf_counter() - began))
        hits += len(found & best)
    return {
        "recall": hits / sum(map(len, right)),
        "p50": float(np.percentile(times, 50)),
        "p99": float(np.percentile(times, 99)),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


WAYS = {"lance": with_lance, "faiss": with_faiss}


def main() -> None:
    """Make the vectors, run each in a process of its own, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="keep vectors and index here, and use what is here; of the same --rows")
    parser.add_argument("--one", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.one:
        folder = Path(said.one[1])
        rows_ND, asked_QD = np.load(folder / "rows.npy", mmap_mode="r"), np.load(folder / "asked.npy")
        right = [set(best) for best in json.loads((folder / "right.json").read_text())]
        print(json.dumps(WAYS[said.one[0]](rows_ND, asked_QD, right, folder)))
        return
    print(f"{said.rows:,} vectors of {said.width}, {said.questions:,} questions, load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = said.folder or Path(name)
        if not (folder / "right.json").exists():
            made(folder, said.rows, said.width, said.questions)
        print(f"{'':<26}{'build s':>9}{'recall@10':>11}{'p50 ms':>8}{'p99 ms':>8}{'peak GB':>9}{'partitions':>12}")
        for way in WAYS:
            words = [sys.executable, "-m", "benchmarks.search", "--one", way, str(folder)]
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
            t = json.loads(done.stdout.splitlines()[-1])
            print(
                f"{t['name']:<26}{t['build']:>9.1f}{t['recall']:>11.3f}{t['p50']:>8.2f}{t['p99']:>8.2f}{t['memory']:>9.2f}{t['probes']:>12}",
                flush=True,
            )


if __name__ == "__main__":
    main()
