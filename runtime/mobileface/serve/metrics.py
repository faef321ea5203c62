"""Counters for Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Metrics:
    """The counters of one service.

    Args:
        depth: Gives the number of functions that run or wait.

    Attributes:
        requests: Requests by route, method and status.
        seconds: Time from a request to the end of its answer, by route.
        faces: Faces found in pictures of requests.
        frames: Frames of cameras, by camera and fate: "analysed", "still" (nothing moved) or
            "dropped" (a newer one came).
        events: Events of cameras, by camera and type.
        reconnects: How often a camera was opened again, by camera.
    """

    def __init__(self, depth: Callable[[], float]) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter(
            "mobileface_requests", "Requests.", ("route", "method", "status"), registry=registry
        )
        self.seconds = Histogram(
            "mobileface_request_seconds",
            "Time from a request to the end of its answer.",
            ("route",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self.faces = Counter("mobileface_faces", "Faces found in pictures.", registry=registry)
        self.frames = Counter(
            "mobileface_frames", "Frames of cameras.", ("camera", "fate"), registry=registry
        )
        self.events = Counter(
            "mobileface_events", "Events of cameras.", ("camera", "type"), registry=registry
        )
        self.reconnects = Counter(
            "mobileface_reconnects", "Cameras opened again.", ("camera",), registry=registry
        )
        queue = Gauge("mobileface_queue_depth", "Requests that run or wait.", registry=registry)
        queue.set_function(depth)

    def text(self) -> bytes:
        """All counters in Prometheus' text format."""
        return generate_latest(self._registry)
