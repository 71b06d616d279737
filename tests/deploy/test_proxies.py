"""Behind nginx, HAProxy and Caddy, configured as the pages show, streams pass as they come."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.talk import all_is_well
from tests.deploy.test_servers import LIVE, environment
from trunkline import Trunkline
from trunkline.testing.servers import Server, trunkline_serve

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs/deploy"
UNPACKED = ROOT / ".venv/proxies"


def blocks(page: str) -> list[str]:
    """Return the configuration that a page shows."""
    text = (PAGES / f"{page}.md").read_text()
    return re.findall(rf"^```{page}(?:file)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def at(text: str, *, port: int) -> str:
    """Put a server's port in the place of those that a page has."""
    return re.sub(r"127\.0\.0\.1:800[01]", f"127.0.0.1:{port}", text)


def program(name: str) -> str:
    """Return where a proxy is: on the path, or unpacked by tools/setup.py."""
    places = [UNPACKED / "usr/sbin" / name, UNPACKED / "usr/bin" / name]
    found = shutil.which(name) or next((str(one) for one in places if one.is_file()), None)
    assert found, f"no {name}: run python3 tools/setup.py proxies"
    return found


def libraries() -> dict[str, str]:
    folders = sorted(str(one.parent) for one in UNPACKED.glob("usr/lib/*/liblua*.so*"))
    return {"LD_LIBRARY_PATH": ":".join([*folders, os.environ.get("LD_LIBRARY_PATH", "")])}


def nginx(folder: Path, port: int) -> list[str]:
    location, mapping = blocks("nginx")
    temporary = "".join(
        f"{kind}_temp_path {folder / kind};"
        for kind in ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")
    )
    server = f"server {{ listen 127.0.0.1:PORT; {location} location / {{ proxy_pass SHOP; }} }}"
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder / 'pid'}; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {temporary} {mapping} {at(server, port=port)} }}".replace(
            "SHOP", f"http://127.0.0.1:{port}"
        )
    )
    return [program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf")]


def haproxy(folder: Path, port: int) -> list[str]:
    (text,) = blocks("haproxy")
    text = at(text, port=port).replace("127.0.0.1:8080", "127.0.0.1:PORT")
    (folder / "haproxy.conf").write_text(text)
    return [program("haproxy"), "-db", "-f", str(folder / "haproxy.conf")]


def caddy(folder: Path, port: int) -> list[str]:
    (text,) = blocks("caddy")
    text = at(text, port=port).replace(":8080", "http://:PORT")
    (folder / "caddy.conf").write_text("{\n\tadmin off\n}\n" + text)
    config = str(folder / "caddy.conf")
    return [program("caddy"), "run", "--adapter", "caddyfile", "--config", config]


class Proxy(Server):
    """Run a proxy whose port stands in its configuration file."""

    def __init__(self, command: list[str], **options: object) -> None:
        super().__init__(command, **options)
        config = next(Path(word) for word in command if word.endswith(".conf"))
        config.write_text(config.read_text().replace("PORT", str(self.port)))


PROXIES: dict[str, Callable[[Path, int], list[str]]] = {
    "nginx": nginx,
    "haproxy": haproxy,
    "caddy": caddy,
}


@pytest.mark.parametrize("name", PROXIES)
async def test_streams_pass_as_they_come(name: str, line: Trunkline, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    async with trunkline_serve(LIVE, environment=environment(tmp_path)) as server:
        command = PROXIES[name](folder, server.port)
        async with Proxy(command, environment={**libraries(), **home}) as proxy:
            await all_is_well(proxy.port, line)
