"""The publish API described by OpenAPI 3.1, generated from the values it really reads."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from trunkline.cqrs.entry import Entry
from trunkline.cqrs.told import Told
from trunkline.gateway.answer import Answer, json_answer
from trunkline.gateway.context import Context
from trunkline.gateway.presence_page import PRESENCE
from trunkline.gateway.request import Request, Send
from trunkline.model.release import VERSION
from trunkline.wire.presence import Following
from trunkline.wire.problem import CONTENT_TYPE, Problem
from trunkline.wire.publish import Published, PublishRequest

JSON: Final = "application/json"
_STRUCTS: Final = (PublishRequest, Published, Problem)
_ARGUMENT = re.compile(r"^ {4}(\w+): (.+(?:\n {6,}.+)*)", re.MULTILINE)
_EXAMPLE: Final = {"channel": "/orders/7", "data": {"state": "paid"}, "key": "order-7-paid"}
_SUMMARIES: Final = {
    "PublishRequest": "A message to publish.",
    "Published": "The receipt of a stored message.",
    "Problem": "What is wrong, and what to do next (RFC 9457).",
}

# Status to what it means, for those answers that are problems.
_PROBLEMS: Final = {
    400: "The body is no JSON, or a channel's name is outside the grammar.",
    401: "The key is missing or wrong.",
    403: "The publish API is closed, or the page's origin is not allowed.",
    408: "The body took too long.",
    409: "An idempotency key returned with other content, or the channel is a stream.",
    413: "The body, the batch or a message is too large; `limit` or the detail says which.",
    422: "A message is wrong; the detail names its index in the batch and its field.",
    429: "Too many requests; Retry-After says when to come back.",
    503: "The log cannot be reached, or publishing is off; nothing was stored.",
}


# The same for commands.
_REFUSALS: Final = {
    400: "The body is no JSON.",
    401: "Nobody is known for this request.",
    403: "This identity may not send the command, or the page's origin is not allowed.",
    404: "No such command is exposed.",
    409: "The command was refused, its key returned with other fields, or others were quicker.",
    413: "The body is too large.",
    422: "A field is missing or of another type; the detail names it.",
    429: "Too many requests; Retry-After says when to come back.",
    500: "A handler failed; `instance` names the trace.",
    503: "The log cannot be reached.",
}

# The same for who is there.
_UNSEEN: Final = {
    400: "No channel is named, a name is outside the grammar, or it is a pattern.",
    401: "Nobody is known for this request.",
    403: "This identity may read none of the channels, or the page's origin is not allowed.",
    413: "Too many channels are named.",
    429: "Too many requests; Retry-After says when to come back.",
    503: "The log cannot be reached.",
}


class OpenAPIEndpoint:
    """Serve ``GET /api/openapi.json``.

    Args:
        context: What the gateway's endpoints share.
        entries: Commands that clients may send.
    """

    def __init__(self, context: Context, entries: Iterable[Entry] = ()) -> None:
        self._context = context
        self._entries = entries

    async def __call__(self, request: Request, send: Send) -> Answer:  # noqa: ARG002 - see Endpoint
        """Answer with the document."""
        root = str(request.scope.get("root_path", "")).rstrip("/")
        server = f"{root}{self._context.options.base_path}" or "/"
        document = describe(server, max_batch=self._context.options.max_batch)
        add_entries(document, self._entries)
        if self._context.presences is not None:
            add_presence(document)
        return json_answer(msgspec.json.encode(document))


def describe(server: str, *, max_batch: int) -> dict[str, Any]:
    """Make the OpenAPI document.

    Args:
        server: The path below which the API is served.
        max_batch: How many messages a batch may have.

    Returns:
        The document, ready to encode.
    """
    _, schemas = msgspec.json.schema_components(
        _STRUCTS, ref_template="#/components/schemas/{name}"
    )
    for struct in _STRUCTS:
        _document(struct, schemas[struct.__name__])
    # The wait is sent as a header, never in the document.
    schemas["Problem"]["properties"].pop("retry_after")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Trunkline publish API",
            "version": VERSION,
            "description": "Publish messages, durably and in order. A batch is stored whole or "
            "not at all; an idempotency key makes a repetition harmless.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": server}],
        "security": [{"key": []}],
        "paths": {"/api/publish": {"post": _operation(max_batch)}},
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "One of the server's `publish_keys`.",
                }
            },
        },
    }


def add_entries(document: dict[str, Any], entries: Iterable[Entry]) -> None:
    """Describe commands that clients may send.

    Args:
        document: The document, which is added to.
        entries: The commands.
    """
    found = list(entries)
    if not found:
        return
    kinds = [one.kind for one in found]
    refs, schemas = msgspec.json.schema_components(
        [*kinds, Told], ref_template="#/components/schemas/{name}"
    )
    document["components"]["schemas"].update(schemas)
    for entry, body in zip(found, refs, strict=False):
        document["paths"][f"/api/commands/{entry.name}"] = {"post": _command(entry, body, refs[-1])}


def add_presence(document: dict[str, Any]) -> None:
    """Describe how to ask who is there.

    Args:
        document: The document, which is added to.
    """
    (following,), schemas = msgspec.json.schema_components(
        [Following], ref_template="#/components/schemas/{name}"
    )
    document["components"]["schemas"].update(schemas)
    channels = {
        "name": "channel",
        "in": "query",
        "required": True,
        "schema": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "description": "A channel, or several, each by a parameter of its own.",
    }
    document["paths"][PRESENCE] = {
        "get": {
            "operationId": "presence",
            "summary": "Say who is on channels, in the order they came",
            "security": [],
            "parameters": [channels],
            "responses": {
                "200": {
                    "description": "Who is there; channels that may not be read are refused.",
                    "content": {JSON: {"schema": following}},
                },
                **{str(status): _problem(status, text) for status, text in _UNSEEN.items()},
            },
        }
    }


def _command(entry: Entry, body: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "schema": {"type": "string", "maxLength": 255},
        "description": "The same key again brings the first result and runs nothing.",
    }
    return {
        "operationId": entry.name,
        "summary": entry.summary or f"Send {entry.name}",
        # The application knows its users by means of its own, not by a publish key.
        "security": [],
        "parameters": [key],
        "requestBody": {"required": True, "content": {JSON: {"schema": body}}},
        "responses": {
            "200": {
                "description": "All it came to is stored.",
                "content": {JSON: {"schema": told}},
            },
            **{str(status): _problem(status, text) for status, text in _REFUSALS.items()},
        },
    }


def _operation(max_batch: int) -> dict[str, Any]:
    body = _one_or_more("PublishRequest", max_batch=max_batch)
    return {
        "operationId": "publish",
        "summary": "Publish one message, or a batch in one commit",
        "requestBody": {"required": True, "content": {JSON: {"schema": body, "example": _EXAMPLE}}},
        "responses": {
            "200": {
                "description": "Everything is stored and will survive a crash.",
                "content": {JSON: {"schema": _one_or_more("Published", max_batch=max_batch)}},
            },
            **{str(status): _problem(status, text) for status, text in _PROBLEMS.items()},
        },
    }


def _one_or_more(name: str, *, max_batch: int) -> dict[str, Any]:
    one = {"$ref": f"#/components/schemas/{name}"}
    return {"oneOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": max_batch}]}


def _problem(status: int, text: str) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": text,
        "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in {429, 503}:
        wait = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}
        response["headers"] = {"Retry-After": wait}
    return response


def _document(struct: type, schema: dict[str, Any]) -> None:
    """Give a schema the words of its struct's docstring, field by field."""
    text = inspect.getdoc(struct) or ""
    schema["description"] = _SUMMARIES[struct.__name__]
    words: Mapping[str, str] = dict(_ARGUMENT.findall(text))
    for name, field in schema["properties"].items():
        if name in words:
            field["description"] = " ".join(words[name].split()).replace("``", "`")
