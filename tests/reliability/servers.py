"""MLflow servers that are sick in one of many ways, and what a run loses by them."""

from __future__ import annotations

import itertools
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from rrl.tracking import MLflowRunLogger
from rrl.tracking.remote_run import connect

Answer = Callable[[BaseHTTPRequestHandler], None]


PATIENCE = 300.0
"""Seconds in which what waits must have arrived at a server that is well, on a machine that is busy."""


@dataclass
class Visit:
    """What a run has lost by a sick server, and how long it has waited."""

    lost: list[str] = field(default_factory=list)
    longest: float = 0.0
    """Longest wait in one call, seconds."""


def refuse(status: int, body: bytes = b"", **headers: str) -> Answer:
    """Answer every request alike."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def trickle(request: BaseHTTPRequestHandler) -> None:
    """Send a byte now and then."""
    try:
        for byte in itertools.cycle(b"HTTP/1.1 200 OK\r\nX: "):
            request.wfile.write(bytes([byte]))
            time.sleep(0.2)
    except OSError:
        pass


def hang(request: BaseHTTPRequestHandler) -> None:
    """Take the request and say nothing."""
    time.sleep(30)


def hang_up(request: BaseHTTPRequestHandler) -> None:
    """Close the connection without an answer."""
    request.connection.close()


def stop_halfway(request: BaseHTTPRequestHandler) -> None:
    """Promise more than is sent."""
    request.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"run": ')
    request.connection.close()


def babble(request: BaseHTTPRequestHandler) -> None:
    """Speak another protocol."""
    request.wfile.write(b"220 mail.example.org ESMTP\r\n" * 100)


SICK: dict[str, Answer] = {
    "a byte now and then": trickle,
    "429": refuse(429, Retry_After="3600"),
    "503": refuse(503, Retry_After="3600"),
    "403": refuse(403),
    "404": refuse(404),
    "500": refuse(500),
    "502 with a page": refuse(502, b"<html>Bad gateway</html>", Content_Type="text/html"),
    "a page to log in": refuse(200, b"<html>Please log in</html>", Content_Type="text/html"),
    "answers nothing of use": refuse(200, b"{}", Content_Type="application/json"),
    "leads in a circle": refuse(302, Location="/"),
    "no answer": hang,
    "hangs up": hang_up,
    "stops halfway": stop_halfway,
    "another protocol": babble,
}
"""What a server does with each request."""


@contextmanager
def server(answer: Answer) -> Iterator[str]:
    """Run a server on this machine; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer(self)

        do_POST = do_PATCH = do_GET  # noqa: N815  # the names are those of the standard library

        def log_message(self, *args: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:
            pass

    with Quiet(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def try_server(kind: str, count: int, folder: Path) -> Visit:
    """Log to a sick server and end; then let MLflow be well, and see what is there and what is not."""
    visit = Visit()

    def timed(call: Callable[[], object]) -> None:
        begin = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
        visit.longest = max(visit.longest, time.monotonic() - begin)

    with server(SICK[kind]) as address:
        sick = MLflowRunLogger(root=str(folder), run_name="run", tracking_uri=address)
        for step in range(count):
            timed(lambda step=step: sick.log_metrics({"a": float(step)}, step=step))  # type: ignore[misc]
        timed(lambda: sick.finalize("success"))
    well = MLflowRunLogger(root=str(folder), run_name="run")
    well.log_metrics({"a": float(count)}, step=count)
    end = time.monotonic() + PATIENCE
    while well._outbox.flush() and time.monotonic() < end:
        time.sleep(1)
    client = connect(well.tracking_uri)
    found = [metric.step for metric in client.get_metric_history(str(well.run_id), "a")]
    if found != list(range(count + 1)):
        visit.lost.append(f"of the steps 0 to {count} only {found} are there")
    return visit
