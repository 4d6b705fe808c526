"""Step 1: what routing needs from the body, and nothing else. The rest stays bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.domain.dialects import Endpoint, Operation, required_fields
from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.node import Dialect

if TYPE_CHECKING:
    from orchestrator.services.gateway.exchange import Exchange


class RoutingFields(msgspec.Struct):
    """The few fields that decide where a request goes. Fields that are not named here are skipped, not kept."""

    model: str = ""
    name: str = ""
    stream: bool | None = None
    messages: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()


MAX_MODEL = 256  # characters
_decode = msgspec.json.Decoder(RoutingFields).decode
_decode_whole = msgspec.json.Decoder(dict[str, Any]).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_EMPTY = (b"", b"[]", b'""', b"null")


def parse(exchange: Exchange, ollama_stream_default: bool) -> None:
    """Fills in model and stream. Raises InvalidRequest naming the field."""
    endpoint = exchange.endpoint
    try:
        if not exchange.body.isascii():
            exchange.body.decode()  # the parts that are passed on unread must be UTF-8 too
        fields = _decode(exchange.body)
    except msgspec.ValidationError as error:
        raise InvalidRequest(_explain(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None
    name = fields.model or fields.name
    if len(name) > MAX_MODEL or not name.isprintable():
        raise InvalidRequest(
            f"A model's name has at most {MAX_MODEL} printable characters.", details={"param": "model"}
        )
    exchange.model = name
    material = fields.messages or fields.prompt or fields.input
    empty = len(memoryview(material)) <= 4 and bytes(material) in _EMPTY
    if empty or not fields.model:
        required_fields(endpoint, whole(exchange.body))
        exchange.empty = empty
    if fields.stream is not None:
        exchange.stream = fields.stream and endpoint.streams
    elif endpoint.dialect is Dialect.OLLAMA:
        exchange.stream = endpoint.stream_default and ollama_stream_default
        exchange.stream_forced = endpoint.stream_default and not ollama_stream_default
    else:
        exchange.stream = False
    if exchange.empty and endpoint.operation is not Operation.EMBED:
        exchange.stream_forced = False


def whole(body: bytes | bytearray) -> dict[str, Any]:
    """The body as plain data. Raises InvalidRequest."""
    try:
        return _decode_whole(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None


def replace(body: bytes | bytearray, **changes: Any) -> bytes:
    """The body with some top-level fields changed; every other byte of a value stays as the client wrote it."""
    fields: dict[str, Any] = dict(_decode_fields(body))
    fields.update(changes)
    return msgspec.json.encode(fields)


def _explain(error: msgspec.ValidationError) -> str:
    """msgspec's "Expected `str`, got `int` - at `$.model`" in the words of an API."""
    text, _, place = str(error).partition(" - at ")
    field = place.strip("`").removeprefix("$.")
    return f"{field}: {text}" if field and field != "$" else f"The body must be a JSON object: {text}"


def is_chat(endpoint: Endpoint) -> bool:
    """Whether an endpoint generates text, as opposed to embedding or counting it."""
    return endpoint.operation in (Operation.CHAT, Operation.COMPLETE)
