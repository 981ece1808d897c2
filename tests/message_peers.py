"""Receivers of messages for the tests: an MLLP listener of the hl7 library, a FHIR server whose
resources are fhir.resources' own. Both speak over loopback, and remember what they were sent."""

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import hl7
from fhir.resources.R4B.bundle import Bundle
from hl7.mllp import start_hl7_server

Answering = Callable[[bytes], bytes | None]  # a block -> what is written, None: nothing at all


def acknowledged(code: str) -> Answering:
    """An ACK of hl7's own making, in MLLP's frame."""

    def answer(block: bytes) -> bytes:
        message = hl7.parse(block.decode("utf-8"))
        return b"\x0b" + str(message.create_ack(code)).encode("utf-8") + b"\x1c\r"

    return answer


class MllpListener:
    """`answers` are given in turn, the last one for ever; an empty one closes the connection."""

    def __init__(self, *answers: Answering) -> None:
        self.blocks: list[bytes] = []
        self._answers = list(answers)
        self.port = 0

    async def _serve(self, reader, writer) -> None:
        try:
            block = await reader.readblock()
            self.blocks.append(block)
            answering = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            said = answering(block)
            if said is None:
                await asyncio.sleep(30)
            else:
                writer.write(said)
                await writer.drain()
        finally:
            writer.close()


@contextmanager
def mllp_listener(*answers: Answering, tls: ssl.SSLContext | None = None) -> Iterator[MllpListener]:
    listener = MllpListener(*answers)
    loop = asyncio.new_event_loop()

    async def start():
        return await start_hl7_server(
            listener._serve, "127.0.0.1", 0, limit=1 << 22, encoding="utf-8", ssl=tls
        )

    server = loop.run_until_complete(start())
    listener.port = server.sockets[0].getsockname()[1]
    running = threading.Thread(target=loop.run_forever)
    running.start()
    try:
        yield listener
    finally:
        server.close()
        loop.call_soon_threadsafe(loop.stop)
        running.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.close()


class FhirServer(ThreadingHTTPServer):
    """Takes transactions of conditional creates. `failing` are statuses given first, in turn."""

    daemon_threads = True

    def __init__(self, *failing: int) -> None:
        super().__init__(("127.0.0.1", 0), _FhirHandler)
        self.failing = list(failing)
        self.resources: dict[str, dict] = {}
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []

    @property
    def port(self) -> int:
        return self.server_address[1]

    def transaction(self, body: bytes) -> dict:
        Bundle.model_validate_json(body)
        entries = []
        for entry in json.loads(body)["entry"]:
            wanted = entry["request"]["ifNoneExist"]
            known = wanted in self.resources
            self.resources.setdefault(wanted, entry["resource"])
            entries.append({"response": {"status": "200 OK" if known else "201 Created"}})
        return {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}


class _FhirHandler(BaseHTTPRequestHandler):
    server: FhirServer

    def do_GET(self) -> None:
        self._note(b"")
        self._say(200, {"resourceType": "CapabilityStatement"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._note(body)
        if self.server.failing:
            status = self.server.failing.pop(0)
            issue = {"severity": "error", "code": "processing", "diagnostics": "Doe, Jane"}
            self._say(status, {"resourceType": "OperationOutcome", "issue": [issue]})
        else:
            self._say(200, self.server.transaction(body))

    def _note(self, body: bytes) -> None:
        self.server.requests.append((self.command, self.path, dict(self.headers), body))

    def _say(self, status: int, said: dict) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        if status == 307:
            self.send_header("Location", f"http://127.0.0.1:{self.server.port}/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Nothing on standard error."""


@contextmanager
def fhir_server(*failing: int, tls: ssl.SSLContext | None = None) -> Iterator[FhirServer]:
    with FhirServer(*failing) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        running = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        running.start()
        try:
            yield server
        finally:
            server.shutdown()
            running.join()
