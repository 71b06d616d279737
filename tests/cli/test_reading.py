"""Reading on the command line: backlogs, live messages and last ids, as text or JSON."""

from __future__ import annotations

import signal
import subprocess

import pytest

from tests.cli.conftest import Shell, end
from trunkline.cli.reading import Printer
from trunkline.model.message import Message
from trunkline.model.position import Position


def test_a_backlog_is_printed_from_any_id(shell: Shell) -> None:
    shell.run("publish", "/a", "-", given="".join(f"m{n}\n" for n in range(1, 901)))
    assert shell.out("backlog", "/a", "--after", "898") == "899\tm899\n900\tm900\n"
    assert [one["message_id"] for one in shell.objects("backlog", "/a")] == list(range(1, 901))
    assert len(shell.objects("backlog", "/a", "--limit", "3")) == 3
    assert shell.out("backlog", "/a", "--limit", "0") == ""
    assert shell.out("backlog", "/nothing") == ""


def test_a_long_backlog_comes_page_by_page(shell: Shell) -> None:
    given = "".join(f"{n}\n" for n in range(3456))
    shell.run("publish", "/a", "-", "--max-backlog-size", "9999", given=given)
    assert [one["data"] for one in shell.objects("backlog", "/a")] == given.split()
    assert len(shell.objects("backlog", "/a", "--limit", "2345")) == 2345


def test_what_was_trimmed_is_told(shell: Shell) -> None:
    shell.run("publish", "/a", "-", given="1\n2\n3\n")
    shell.run("publish", "/a", "4", "--max-backlog-size", "1")
    done = shell.run("backlog", "/a", "--after", "1")
    assert done.stdout == "4\t4\n"
    assert "2 to 3 are trimmed" in done.stderr


def test_a_message_object_has_the_protocols_keys_in_order(shell: Shell) -> None:
    shell.run("publish", "/a", '{"x":1}')
    (message,) = shell.objects("backlog", "/a")
    assert list(message) == ["channel", "message_id", "global_id", "published_at", "data"]


def test_a_pattern_has_no_backlog(shell: Shell) -> None:
    assert "tail" in shell.run("backlog", "/a/**", status=2).stderr


def test_a_channel_that_nobody_published_to_is_told_beside_the_output(shell: Shell) -> None:
    done = shell.run("backlog", "/typo")
    assert not done.stdout
    assert "is the name right?" in done.stderr


def test_a_pattern_has_no_last_id(shell: Shell) -> None:
    assert "is a pattern" in shell.run("last-id", "/a/*", status=2).stderr


def test_the_last_id_is_a_number(shell: Shell) -> None:
    assert shell.out("last-id", "/a") == "0\n"
    shell.run("publish", "/a", "x")
    assert shell.out("last-id", "/a") == "1\n"
    assert shell.objects("last-id", "/a") == [{"channel": "/a", "last_id": 1}]


def test_tail_prints_what_there_is_and_then_what_comes(shell: Shell) -> None:
    shell.run("publish", "/a", "-", given="1\n2\n")
    tail = shell.start("tail", "/a", "--after", "1", "--count", "2")
    assert tail.stdout is not None
    assert tail.stdout.readline() == b"2\t2\n"
    shell.run("publish", "/b", "not this")
    shell.run("publish", "/a", "3")
    assert tail.communicate(timeout=30)[0] == b"3\t3\n"
    assert tail.returncode == 0


def test_tail_may_begin_with_the_last_few_and_follow_a_pattern(shell: Shell) -> None:
    shell.run("publish", "/a/1", "-", given="1\n2\n3\n")
    assert shell.out("tail", "/a/1", "--last", "2", "--count", "2") == "2\t2\n3\t3\n"
    tail = shell.start("tail", "/a/*", "--json")
    assert tail.stdout is not None
    shell.run("publish", "/a/2", "x")
    # The tail may begin after that one: it is certain to see one of many.
    for _ in range(100):
        shell.run("publish", "/a/3", "y")
        tail.poll()
        if _readable(tail):
            break
    assert b'"channel":"/a/' in tail.stdout.readline()
    assert end(tail, signal.SIGINT)[1] == ""
    assert tail.returncode == 130


def _readable(process: subprocess.Popen[bytes]) -> bool:
    import select

    assert process.stdout is not None
    return bool(select.select([process.stdout], [], [], 0.05)[0])


def test_tail_from_an_id_that_is_trimmed_says_what_is_missing(shell: Shell) -> None:
    shell.run("publish", "/a", "-", given="1\n2\n3\n")
    shell.run("publish", "/a", "4", "--max-backlog-size", "1")
    done = shell.run("tail", "/a", "--after", "1", "--count", "1")
    assert done.stdout == "4\t4\n"
    assert "missing here (trimmed)" in done.stderr


@pytest.mark.parametrize("command", ["backlog", "tail"])
def test_a_reader_that_leaves_ends_it_quietly(shell: Shell, command: str) -> None:
    given = "".join(f"{n} {'x' * 200}\n" for n in range(3000))
    shell.run("publish", "/a", "-", "--max-backlog-size", "9999", given=given)
    run = shell.start(command, "/a", "--after", "0")
    assert run.stdout is not None
    assert run.stderr is not None
    run.stdout.readline()
    run.stdout.close()
    assert run.wait(30) == 141
    assert run.stderr.read() == b""
    run.stderr.close()
    assert run.stdin is not None
    run.stdin.close()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["tail", "/a", "--after", "1", "--last", "1"], "one of"),
        (["tail", "/a/*", "--after", "1"], "position"),
        (["backlog", ""], "empty"),
        (["last-id", "/__trunkline/revoke"], "reserved"),
    ],
)
def test_what_makes_no_sense_is_one_line(shell: Shell, arguments: list[str], word: str) -> None:
    done = shell.run(*arguments, status=1)
    assert word in done.stderr
    assert done.stderr.count("\n") == 1


def _message(data: object) -> Message:
    return Message(
        channel="/a",
        site_id=None,
        message_id=1,
        global_id=1,
        position=Position("e", 1),
        published_at=0.0,
        data=data,
        audience=None,
        headers={},
    )


@pytest.mark.parametrize("nasty", ["\x1b[2J", "a\nb", "\x9b31m", "\x7f", "\r"])
def test_text_cannot_move_the_terminals_cursor(nasty: str) -> None:
    for data in (nasty, {"x": nasty}):
        text = Printer(as_json=False).text(_message(data))
        assert not any(ord(one) < 32 or 127 <= ord(one) < 160 for one in text.replace("\t", ""))
