"""Figures of a server for Prometheus."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from understudy.acting.scheduler import Scheduler

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)

# Names of the fields of SchedulerStats with what they count
GAUGES = {
    "queued": "Requests that wait.",
    "running": "Requests that are being answered.",
    "slots": "Most requests that are answered at once.",
    "prefix_bytes": "Memory of the prompts that are kept.",
}
COUNTERS = {
    "finished": "Replies that ended.",
    "tokens_made": "Tokens sampled.",
    "tokens_prefilled": "Prompt tokens computed.",
    "tokens_saved": "Prompt tokens that were found computed.",
    "prefix_hits": "Requests of which some of the prompt was found computed.",
    "steps": "Steps of the model.",
}


class Metrics(Collector):
    """The figures of one server; those of its schedulers are read when they are asked for."""

    def __init__(self, schedulers: Mapping[str, Scheduler]) -> None:
        self._schedulers = schedulers
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self.first_token = Histogram(
            "understudy_time_to_first_token_seconds",
            "From the request to its first token.",
            ["model"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self.responses = Counter(
            "understudy_http_responses", "Responses by route and status.", ["route", "status"], registry=self._registry
        )

    def text(self) -> bytes:
        """Return the figures in Prometheus's text format."""
        return generate_latest(self._registry)

    @override
    def collect(self) -> Iterator[Metric]:
        stats = {name: scheduler.stats() for name, scheduler in self._schedulers.items()}
        for kind, named in ((GaugeMetricFamily, GAUGES), (CounterMetricFamily, COUNTERS)):
            for field, meaning in named.items():
                family = kind(f"understudy_{field}", meaning, labels=["model"])
                for name, one in stats.items():
                    family.add_metric([name], getattr(one, field))
                yield family
        sizes = HistogramMetricFamily("understudy_batch_size", "Tokens sampled in a step.", labels=["model"])
        for name, one in stats.items():
            upto = [sum(n for size, n in one.batch_sizes.items() if size <= bound) for bound in SIZES]
            buckets = [*zip(map(str, map(float, SIZES)), upto, strict=True), ("+Inf", sum(one.batch_sizes.values()))]
            sizes.add_metric([name], buckets, sum(size * n for size, n in one.batch_sizes.items()))
        yield sizes
