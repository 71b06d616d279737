"""The browser client is served, revalidated, and is all that is served from its folder."""

from __future__ import annotations

import os

import pytest

from tests.gateway.edge import a_line, call, scope_of
from trunkline.gateway.request import Request
from trunkline.gateway.script import ScriptEndpoint


async def test_the_client_and_the_modules_it_imports_are_served():
    async with a_line() as line:
        app = line.gateway()
        told = await call(app, "GET", "/trunkline.js")
        assert told.status == 200
        assert told.headers["content-type"].startswith("text/javascript")
        assert b"export" in told.body
        for path in ("/trunkline/poll.js", "/trunkline/tabs.js", "/trunkline.global.js"):
            assert (await call(app, "GET", path)).status == 200
        again = await call(
            app, "GET", "/trunkline.js", headers=[("if-none-match", told.headers["etag"])]
        )
        assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/trunkline/none.js",
        "/trunkline/../package.json",
        "/trunkline/..%2fx.js",
        "/trunkline/a/b.js",
        "/trunkline/",
        "/trunkline.js/x",
        "/package.json",
        "/trunkline/x.global.js",
        "/react.js",
        "/trunkline/x.js\n",
    ],
)
async def test_nothing_else_is(path):
    async with a_line() as line:
        assert (await call(line.gateway(), "GET", path)).status == 404


async def test_a_changed_file_has_another_tag(tmp_path):
    file = tmp_path / "trunkline.js"
    file.write_text("export const a = 1;")
    endpoint = ScriptEndpoint(tmp_path)

    async def tag():
        answer = await endpoint(Request(scope_of("GET", "/trunkline.js"), None), None)
        return dict(answer.headers)["etag"]

    first = await tag()
    assert await tag() == first
    file.write_text("export const a = 2;")
    os.utime(file, ns=(1, 1))
    assert await tag() != first
