"""Publishing from the command line: one message, or many lines, whole and in order."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from tests.cli.conftest import Shell

LINES = [f"line {n} ünï" for n in range(5000)]
TEXT = "".join(f"{line}\n" for line in LINES)


def stored(shell: Shell, channel: str) -> list[object]:
    return [one["data"] for one in shell.objects("backlog", channel)]


def test_json_is_taken_as_such_and_all_else_as_text(shell: Shell) -> None:
    given = ['{"a":[1,null]}', "3", '"x"', "hello", "{broken", "NaN", "-5"]
    for data in given:
        shell.run("publish", "/a", *(["--"] if data.startswith("-") else []), data)
    assert stored(shell, "/a") == [{"a": [1, None]}, 3, "x", "hello", "{broken", "NaN", -5]


def test_one_message_prints_its_id(shell: Shell) -> None:
    assert shell.out("publish", "/a", "x") == "published 1 message: id 1\n"
    (told,) = shell.objects("publish", "/a", "x")
    assert (told["first_id"], told["last_id"], told["count"]) == (2, 2, 1)
    assert told["position"].endswith("-2")


def test_lines_are_published_whole_and_in_order(shell: Shell) -> None:
    out = shell.out("publish", "--max-backlog-size", "100000", "/files", "-", given=TEXT)
    assert out == "published 5000 messages: first id 1, last id 5000\n"
    assert stored(shell, "/files") == LINES
    assert shell.out("last-id", "/files") == "5000\n"


def test_lines_are_kept_to_the_byte(shell: Shell) -> None:
    shell.run("publish", "/a", "-", given='  blanks \n\n{"no":"json"}\ntab\there\r\nlast')
    assert stored(shell, "/a") == ["  blanks ", "", '{"no":"json"}', "tab\there\r", "last"]


def test_lines_may_be_json(shell: Shell) -> None:
    shell.run("publish", "/a", "-", "--json-lines", given='{"a":1}\n[2]\n"x"\n')
    assert stored(shell, "/a") == [{"a": 1}, [2], "x"]


def test_nothing_given_publishes_nothing(shell: Shell) -> None:
    assert shell.out("publish", "/a", "-") == "nothing published\n"


@pytest.mark.parametrize(
    ("given", "flags", "words"),
    [
        (b"ok\n\xff\nlater\n", [], ["line 2 is not UTF-8", "--errors replace"]),
        (b'{"a":1}\n{\n3\n', ["--json-lines"], ["line 2 is no JSON"]),
        (b'1\n"\\ud800"\n3\n', ["--json-lines"], ["line 2 is no JSON"]),
        (b"ok\n" + b"x" * 1_100_000 + b"\nlater\n", [], ["line 2 is longer"]),
        (b"ok\n" + b"\x01" * 500_000 + b"\nlater\n", [], ["line 2 is longer", "as JSON"]),
    ],
)
def test_a_bad_line_is_named_and_what_stood_before_it_is_stored(
    shell: Shell, given: bytes, flags: list[str], words: list[str]
) -> None:
    done = shell.run("publish", "/a", "-", *flags, given=given, status=1)
    assert all(word in done.stderr for word in words)
    assert "stored before the error: 1, the last with id 1" in done.stderr
    assert len(stored(shell, "/a")) == 1


def test_a_bad_line_far_in_is_named_exactly(shell: Shell) -> None:
    given = b"".join(b"%d\n" % n for n in range(3210)) + b"\xff\n" + b"later\n" * 3000
    done = shell.run("publish", "/a", "-", "--max-backlog-size", "9999", given=given, status=1)
    assert "line 3211 is not UTF-8" in done.stderr
    assert stored(shell, "/a") == [str(n) for n in range(3210)]


def test_bad_bytes_may_be_replaced(shell: Shell) -> None:
    shell.run("publish", "/a", "-", "--errors", "replace", given=b"a\xffb\n")
    assert stored(shell, "/a") == ["a�b"]


def test_a_run_with_a_key_may_be_repeated(shell: Shell) -> None:
    for given in ("a\nb\n", "a\nb\nc\n"):
        shell.run("publish", "/a", "-", "--key", "run", given=given)
    assert stored(shell, "/a") == ["a", "b", "c"]
    done = shell.run("publish", "/a", "-", "--key", "run", given="a\nX\nc\n", status=1)
    assert "line 2 cannot be published" in done.stderr


def test_the_flags_are_publishs_options(shell: Shell) -> None:
    shell.run(
        *("publish", "/a", "x", "--user-id", "7", "--user-id", '"8"', "--user-id", "ann"),
        *("--group-id", "g", "--client-id", "c1", "--client-id", "c2", "--site-id", "north"),
    )
    (message,) = shell.objects("backlog", "/a", "--site-id", "north")
    assert message["user_ids"] == [7, "8", "ann"]
    assert message["group_ids"] == ["g"]
    assert message["client_ids"] == ["c1", "c2"]
    assert message["site_id"] == "north"
    assert shell.out("last-id", "/a") == "0\n"


def test_limits_hold_for_the_publish(shell: Shell) -> None:
    shell.run("publish", "/a", "-", given="1\n2\n3\n")
    shell.run("publish", "/a", "4", "--max-backlog-size", "2", "--max-backlog-age", "7d")
    assert stored(shell, "/a") == ["3", 4]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["nochannel", "x"], 1, ["must start with '/'", "/nochannel"]),
        (["/__x", "x"], 1, ["reserved"]),
        (["/a"], 2, ["DATA"]),
        (["/a", "x", "--max-backlog-size", "0"], 1, ["max_backlog_size"]),
        (["/a", "x", "--max-backlog-age", "soon"], 2, ["--max-backlog-age", "15s"]),
        (["/a", "x", "--errors", "ignore"], 2, ["strict or replace"]),
        (["/a", "x", "--log", "nosuch://h"], 2, ["no engine", "sqlite"]),
        (["/a", "x", "--log", "sqlite:////no/such/place.db"], 1, ["/no/such", "create"]),
        (["/a", "x" * 100_000, "--key", "k" * 300], 1, ["key"]),
    ],
)
def test_a_mistake_is_one_clear_line(
    shell: Shell, arguments: list[str], status: int, words: list[str]
) -> None:
    done = shell.run("publish", *arguments, status=status)
    assert all(word in done.stderr for word in words), done.stderr
    assert not done.stdout


def test_a_slow_producers_lines_do_not_wait_for_more(shell: Shell) -> None:
    tail = shell.start("tail", "/a", "--after", "0", "--count", "1")
    producer = shell.start("publish", "/a", "-")
    assert producer.stdin is not None
    producer.stdin.write(b"first\n")
    producer.stdin.flush()
    out, _ = tail.communicate(timeout=30)
    assert out == b"1\tfirst\n"
    assert producer.poll() is None
    producer.communicate(timeout=30)


def test_killed_in_the_middle_what_is_stored_is_a_prefix(shell: Shell) -> None:
    lines = [f"{n}" for n in range(60_000)]
    run = shell.start("publish", "--max-backlog-size", "1000000", "/a", "-")
    tail = shell.start("tail", "/a", "--after", "0", "--count", "600")
    script = "import sys; [print(n, flush=n % 1000 == 0) for n in range(60000)]"
    producer = subprocess.Popen([sys.executable, "-c", script], stdout=run.stdin)
    tail.communicate(timeout=60)
    run.kill()
    run.wait(30)
    producer.kill()
    producer.wait(30)
    for pipe in (run.stdin, run.stdout, run.stderr):
        assert pipe is not None
        pipe.close()
    kept = stored(shell, "/a")
    assert len(kept) >= 600
    assert kept == lines[: len(kept)]
    shell.run("publish", "/a", "after")
    assert shell.out("last-id", "/a") == f"{len(kept) + 1}\n"


def test_ctrl_c_ends_quietly(shell: Shell) -> None:
    run = shell.start("publish", "/a", "-")
    assert run.stdin is not None
    run.stdin.write(b"x\n")
    run.stdin.flush()
    shell.run("tail", "/a", "--after", "0", "--count", "1")
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=30)
    assert (run.returncode, out, err) == (130, b"", b"")


def test_switched_off_it_says_so(shell: Shell) -> None:
    out = shell.out("publish", "/a", "-", given=TEXT, TRUNKLINE_OFF="1")
    assert out == "nothing published (the line is switched off)\n"
    assert not list(shell.folder.iterdir())


def test_the_log_comes_from_the_flag_the_environment_or_a_default(shell: Shell) -> None:
    shell.run("publish", "/a", "x")
    shell.run("publish", "/a", "x", TRUNKLINE_LOG="sqlite:///env.db")
    shell.run("publish", "/a", "x", "--log", "sqlite:///flag.db", TRUNKLINE_LOG="sqlite:///no.db")
    made = {one.name for one in shell.folder.iterdir() if one.suffix == ".db"}
    assert made == {"trunkline.db", "env.db", "flag.db"}


def test_the_result_may_be_json(shell: Shell) -> None:
    told = json.loads(shell.out("publish", "/a", "-", "--json", given="a\nb\n"))
    assert (told["count"], told["first_id"], told["last_id"]) == (2, 1, 2)
