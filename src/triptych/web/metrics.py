"""What a server counts, as Prometheus reads it: requests, times, rows that were computed together, what waits. No content."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
TIMES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Figures of one app; a registry of its own, so that several may live in one process."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.registry = CollectorRegistry()
        labels = ["method", "path"]
        self.requests = Counter("triptych_requests", "requests that were answered", [*labels, "status"], registry=self.registry)
        self.seconds = Histogram("triptych_request_seconds", "time of a request", labels, buckets=TIMES, registry=self.registry)
        self.received = Counter("triptych_received_bytes", "bytes of requests' bodies", registry=self.registry)
        self.sent = Counter("triptych_sent_bytes", "bytes of answers", registry=self.registry)
        self.batches = Histogram("triptych_batch_rows", "rows computed together", ["run"], buckets=SIZES, registry=self.registry)
        self.working = Gauge("triptych_requests_in_work", "requests that are worked on", registry=self.registry)

    def waits(self, run: str, count: Callable[[], int]) -> None:
        """Let the rows that wait for a run be asked for by `count`."""
        gauge = Gauge(f"triptych_rows_waiting_{_safe(run)}", f"rows that wait for run {run}", registry=self.registry)
        gauge.set_function(count)

    def batch(self, run: str, rows: int) -> None:
        """Rows of a run were computed together; called from the run's thread."""
        self.batches.labels(run).observe(rows)

    def request(self, method: str, path: str, status: int, seconds: float, received: int, sent: int) -> None:
        """A request was answered; `path` is one of the app's routes, so that callers cannot make new ones up."""
        self.requests.labels(method, path, str(status)).inc()
        self.seconds.labels(method, path).observe(seconds)
        self.received.inc(received)
        self.sent.inc(sent)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return bytes(generate_latest(self.registry))


def _safe(name: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
