"""Messages on their way: HL7 v2 over MLLP, FHIR over HTTP; one connection for one message.

In      a message as issued, its destination
Out     Acknowledgement: the peer's own word, or why there was none; what a peer does is no exception
Source  HL7 v2.5.1 2.9, MLLP release 1 (framing is hl7's), FHIR R4 http (transport is httpx's)
Nothing but the destination is called: no proxy, no redirect, no credentials of the environment. Every
answer is bounded in time and in size.
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import Awaitable

import httpx
from hl7.mllp import InvalidBlockError, open_hl7_connection

from leukonode.settings import FhirDestination, Hl7Destination
from reporting import fhir, hl7
from reporting.answers import (
    Acknowledgement,
    Answer,
    acknowledgement_of,
    transaction_answer,
)

__all__ = ["call", "send_bundle", "send_message"]

_FHIR_JSON = "application/fhir+json; fhirVersion=4.0"
_MOST_ANSWER_BYTES = 4 << 20
_MOST_ACK_BYTES = 1 << 16
_CONNECT_SECONDS = 10.0
_CLOSE_SECONDS = 1.0


def send_message(
    message: bytes, *, to: Hl7Destination, delivery_id: str, seconds: float
) -> Acknowledgement:
    """Send an ORU and wait for its acknowledgement. The control id is the delivery's, the same at each
    attempt, so that a receiver that has the message already knows it."""
    control_id = hl7.control_id_of(delivery_id)
    ready = hl7.addressed(
        message,
        application=to.receiving_application,
        facility=to.receiving_facility,
        control_id=control_id,
    )
    return asyncio.run(_answered(_exchange(ready, to, control_id, seconds), seconds))


def send_bundle(bundle: bytes, *, to: FhirDestination, seconds: float) -> Acknowledgement:
    """Post a transaction to the server's base address."""
    ready = fhir.addressed(bundle, patient_system=to.patient_system)
    return asyncio.run(_answered(_post(ready, to, seconds), seconds))


def call(destination: Hl7Destination | FhirDestination, *, seconds: float) -> str:
    """Whether a destination is there, without telling it anything: why not, empty when it is."""
    asked = (
        _ask_metadata(destination, seconds)
        if isinstance(destination, FhirDestination)
        else _connect_only(destination, seconds)
    )
    return asyncio.run(_answered(asked, seconds)).reason


async def _answered(sending: Awaitable[Acknowledgement], seconds: float) -> Acknowledgement:
    """What came of it; a fault of the line is an answer that may be another one later."""
    try:
        async with asyncio.timeout(seconds):
            return await sending
    except TimeoutError:
        reason = f"no answer within {seconds:g} s"
    except asyncio.IncompleteReadError:
        reason = "the peer closed the connection without an answer"
    except (InvalidBlockError, httpx.HTTPError, httpx.InvalidURL) as error:
        reason = f"the exchange failed ({type(error).__name__})"
    except ssl.SSLCertVerificationError as error:
        reason = f"the peer's certificate is not to be believed: {error.verify_message}"
    except (FileNotFoundError, PermissionError) as error:
        reason = f"a file that the destination names cannot be read ({type(error).__name__})"
    except OSError as error:
        reason = f"cannot connect: {error.strerror or type(error).__name__}"
    except ValueError:  # no host name, or an answer longer than is read
        reason = "no valid host name, or an answer that is too long"
    return Acknowledgement(answer=Answer.UNKNOWN, reason=reason)


async def _exchange(
    message: bytes, to: Hl7Destination, control_id: str, seconds: float
) -> Acknowledgement:
    async with asyncio.timeout(min(_CONNECT_SECONDS, seconds)):
        reader, writer = await open_hl7_connection(
            to.host, to.port, limit=_MOST_ACK_BYTES, ssl=_tls(to) if to.tls else None
        )
    try:
        writer.writeblock(message)
        await writer.drain()
        return acknowledgement_of(await reader.readblock(), control_id=control_id)
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), _CLOSE_SECONDS)


async def _connect_only(to: Hl7Destination, seconds: float) -> Acknowledgement:
    async with asyncio.timeout(min(_CONNECT_SECONDS, seconds)):
        _, writer = await asyncio.open_connection(
            to.host, to.port, ssl=_tls(to) if to.tls else None
        )
    writer.close()
    return Acknowledgement(answer=Answer.ACCEPTED)


async def _post(bundle: bytes, to: FhirDestination, seconds: float) -> Acknowledgement:
    headers = {"Content-Type": _FHIR_JSON, "Prefer": "return=minimal"}
    async with _client(to, seconds) as client:
        status, body = await _read(client, "POST", to.url, content=bundle, headers=headers)
    return transaction_answer(status, body, entries=len(json.loads(bundle)["entry"]))


async def _ask_metadata(to: FhirDestination, seconds: float) -> Acknowledgement:
    async with _client(to, seconds) as client:
        status, _ = await _read(client, "GET", f"{to.url.rstrip('/')}/metadata")
    said = "" if status == 200 else f"the server answered {status} to metadata"
    return Acknowledgement(answer=Answer.ACCEPTED, reason=said)


def _client(to: FhirDestination, seconds: float) -> httpx.AsyncClient:
    headers = {"Accept": _FHIR_JSON, "Accept-Encoding": "identity"}
    if to.token_file is not None:
        headers["Authorization"] = f"Bearer {to.token_file.read_text(encoding='ascii').strip()}"
    return httpx.AsyncClient(
        headers=headers,
        verify=_tls(to) if to.url.startswith("https:") else True,
        timeout=httpx.Timeout(seconds, connect=min(_CONNECT_SECONDS, seconds)),
        follow_redirects=False,
        trust_env=False,
    )


async def _read(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    content: bytes = b"",
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    """Status and body. Raises ValueError for a body longer than is read."""
    body = bytearray()
    async with client.stream(method, url, content=content, headers=headers) as response:
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > _MOST_ANSWER_BYTES:
                raise ValueError("the answer is too long")
    return response.status_code, bytes(body)


def _tls(to: Hl7Destination | FhirDestination) -> ssl.SSLContext:
    """TLS 1.2 or later, the peer's certificate and name checked (BCP 195)."""
    context = ssl.create_default_context(cafile=to.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if to.certificate is not None:
        context.load_cert_chain(to.certificate, to.key)
    return context
