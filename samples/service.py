"""A small service for the samples to call: accounts, calls and refunds, kept in memory.

    python -m samples.service --port 8765

It is flaky on purpose: the first request that names a customer is answered 503 with `Retry-After`.
A repeated request with the same `Idempotency-Key` gets the answer of the first one again.

    POST /accounts {"customer", "email"}           201 {"id"}, 409 if the address has an account
    GET  /accounts?email=                          200 {"id"}, 404
    POST /calls    {"customer", "account"}         201 {"at"}, 409 if no slot is left
    POST /refunds  {"customer", "order", "amount"} 201 {"id"}, 404 unknown order, 409 too much
    GET  /requests                                 200 [[method, path, status], ...] so far
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

RETRY_AFTER_SECONDS = 1
MAX_BODY_BYTES = 65_536
# What may still be paid back of each order.
ORDERS = {"B-1001": 40.0, "B-1002": 320.0, "B-1003": 2_400.0}
SLOTS = ("Monday 10:00", "Monday 14:00", "Tuesday 09:00", "Tuesday 16:00")

Answer = tuple[int, Any]


class Desk:
    """What the service knows. One request at a time: `answer` holds the lock."""

    def __init__(self, slots: int = len(SLOTS)) -> None:
        self._lock = threading.Lock()
        self._greeted: set[str] = set()
        self._answers: dict[str, Answer] = {}
        self._accounts: dict[str, str] = {}
        self._slots = list(SLOTS[:slots])
        self._left = dict(ORDERS)
        self._refunds = 0
        self._log: list[tuple[str, str, int]] = []

    def answer(self, method: str, target: str, body: dict[str, Any], key: str) -> Answer:
        """The status and the JSON for one request."""
        parts = urlsplit(target)
        if (method, parts.path) == ("GET", "/requests"):
            return 200, self._log
        body = body or {name: values[0] for name, values in parse_qs(parts.query).items()}
        with self._lock:
            status, said = self._answer(method, parts.path, body, key)
            self._log.append((method, parts.path, status))
            return status, said

    def _answer(self, method: str, path: str, body: dict[str, Any], key: str) -> Answer:
        work = self._work().get((method, path))
        if work is None:
            return 404, {"error": f"There is no {method} {path} here."}
        customer = str(body.get("customer", ""))
        if customer and customer not in self._greeted:
            self._greeted.add(customer)
            return 503, {"error": "Busy; please come back."}
        if key in self._answers:
            return self._answers[key]
        try:
            answer = work(body)
        except (KeyError, TypeError, ValueError):
            return 400, {"error": "The request lacks something, or has it in the wrong form."}
        if key and answer[0] < 300:
            self._answers[key] = answer
        return answer

    def _work(self) -> dict[tuple[str, str], Callable[[dict[str, Any]], Answer]]:
        return {
            ("POST", "/accounts"): self._open_account,
            ("GET", "/accounts"): self._find_account,
            ("POST", "/calls"): self._book_call,
            ("POST", "/refunds"): self._refund,
        }

    def _open_account(self, body: dict[str, Any]) -> Answer:
        email = str(body["email"]).lower()
        if email in self._accounts:
            return 409, {"error": f"{email} has an account."}
        self._accounts[email] = f"A-{len(self._accounts) + 1}"
        return 201, {"id": self._accounts[email]}

    def _find_account(self, body: dict[str, Any]) -> Answer:
        account = self._accounts.get(str(body["email"]).lower())
        return (200, {"id": account}) if account else (404, {"error": "There is no such account."})

    def _book_call(self, body: dict[str, Any]) -> Answer:
        if body["account"] not in self._accounts.values():
            return 404, {"error": "There is no such account."}
        if not self._slots:
            return 409, {"error": "No slot is left."}
        return 201, {"at": self._slots.pop(0)}

    def _refund(self, body: dict[str, Any]) -> Answer:
        order, amount = body["order"], float(body["amount"])
        if order not in self._left:
            return 404, {"error": f"There is no order {order}."}
        if amount > self._left[order]:
            return 409, {"error": f"Only {self._left[order]:g} is left of order {order}."}
        self._left[order] -= amount
        self._refunds += 1
        return 201, {"id": f"R-{self._refunds}"}


class Handler(BaseHTTPRequestHandler):
    """HTTP around the desk."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    desk: Desk

    def do_GET(self) -> None:
        self._reply(*self.desk.answer("GET", self.path, {}, self._key()))

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._reply(413, {"error": f"At most {MAX_BODY_BYTES} bytes are read."})
            return
        try:
            body = json.loads(self.rfile.read(int(length)))
        except ValueError:
            body = None
        if not isinstance(body, dict):
            self._reply(400, {"error": "A JSON object was expected."})
            return
        self._reply(*self.desk.answer("POST", self.path, body, self._key()))

    def log_message(self, format: str, *args: Any) -> None:
        sys.stdout.write(f"{format % args}\n")
        sys.stdout.flush()

    def _key(self) -> str:
        return self.headers.get("Idempotency-Key", "")

    def _reply(self, status: int, answer: Any) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status == 503:
            self.send_header("Retry-After", str(RETRY_AFTER_SECONDS))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m samples.service", description="The service that the samples call."
    )
    parser.add_argument("--port", type=int, default=8765, help="0 takes a free one; 8765.")
    parser.add_argument(
        "--slots", type=int, default=len(SLOTS), help=f"Calls that can be booked; {len(SLOTS)}."
    )
    options = parser.parse_args()
    Handler.desk = Desk(options.slots)
    # This machine only: it has no passwords.
    with ThreadingHTTPServer(("127.0.0.1", options.port), Handler) as server:
        sys.stdout.write(f"Serving http://127.0.0.1:{server.server_address[1]} until Ctrl-C.\n")
        sys.stdout.flush()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            sys.stdout.write("Stopped.\n")


if __name__ == "__main__":
    main()
