"""The description is OpenAPI 3.1, whole, and true to what the API reads and writes."""

from __future__ import annotations

from tests.gateway.edge import a_line, call
from trunkline import Trunkline
from trunkline.gateway.options import GatewayOptions
from trunkline.wire.problem import Problem
from trunkline.wire.publish import Published, PublishRequest


def references(value):
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for one in value.values():
            yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


def resolve(document, reference):
    assert reference.startswith("#/")
    found = document
    for step in reference[2:].split("/"):
        found = found[step]
    return found


async def fetch(**options):
    async with a_line() as line:
        app = line.gateway(options=GatewayOptions(**options))
        told = await call(app, "GET", f"{app.options.base_path}/api/openapi.json")
        assert (told.status, told.headers["content-type"]) == (200, "application/json")
        return told.json


async def test_the_document_is_whole():
    document = await fetch(base_path="/rt")
    assert document["openapi"] == "3.1.0"
    assert document["servers"] == [{"url": "/rt"}]
    found = set(references(document))
    assert found
    for one in found:
        assert resolve(document, one)["type"] == "object"
    assert document["security"] == [{"key": []}]
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


async def test_its_schemas_have_the_fields_of_what_is_read_and_written():
    schemas = (await fetch())["components"]["schemas"]
    for struct in (PublishRequest, Published):
        assert set(schemas[struct.__name__]["properties"]) == set(struct.__struct_fields__)
    assert set(schemas["Problem"]["properties"]) == set(Problem.__struct_fields__) - {"retry_after"}
    assert schemas["PublishRequest"]["required"] == ["channel", "data"]
    assert schemas["PublishRequest"]["additionalProperties"] is False
    assert all("description" in one for one in schemas["PublishRequest"]["properties"].values())


async def test_every_error_is_a_problem_and_limits_are_those_that_hold():
    operation = (await fetch(max_batch=7))["paths"]["/api/publish"]["post"]
    responses = operation["responses"]
    assert {"200", "400", "401", "403", "409", "413", "422", "429", "503"} <= set(responses)
    for status, response in responses.items():
        kind = "application/json" if status == "200" else "application/problem+json"
        assert list(response["content"]) == [kind]
    assert "Retry-After" in responses["429"]["headers"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert body["oneOf"][1]["maxItems"] == 7


async def test_who_is_there_is_described_as_it_is_answered():
    async with Trunkline("memory://") as line:
        app = line.gateway(open=True)
        document = (await call(app, "GET", "/api/openapi.json")).json
        operation = document["paths"]["/api/presence"]["get"]
        content = operation["responses"]["200"]["content"]["application/json"]
        answer = resolve(document, content["schema"]["$ref"])
        assert operation["security"] == []
        for one in references(document):
            assert resolve(document, one)

        told = await call(app, "GET", "/api/presence", query=b"channel=/chat/1&channel=/chat/2")
        assert told.status == 200
        assert set(told.json) <= set(answer["properties"])
        assert set(told.json) >= set(answer["required"])
        assert [one["channel"] for one in told.json["channels"]] == ["/chat/1", "/chat/2"]
        for query in (b"", b"channel=/chat/*"):
            told = await call(app, "GET", "/api/presence", query=query)
            assert str(told.status) in operation["responses"]
            assert told.status == 400
