"""The turn lock: one process at a time, freed by death, never inherited."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys

import pytest

from trunkline.errors import LogError
from trunkline.sql.turnstile import Turnstile


def test_second_one_waits_until_the_first_leaves(tmp_path):
    """Whoever finds the turn taken is told so, and gets it after the leave."""
    one, other = Turnstile(tmp_path / "turn"), Turnstile(tmp_path / "turn")
    assert one.try_enter()
    assert not other.try_enter()
    one.leave()
    assert other.try_enter()
    other.close()
    assert one.try_enter()
    one.close()
    one.close()
    one.leave()


def test_death_frees_the_turn(tmp_path):
    """A process killed inside leaves the way free."""
    path = tmp_path / "turn"
    code = (
        "import sys, pathlib; from trunkline.sql.turnstile import Turnstile; "
        "t = Turnstile(pathlib.Path(sys.argv[1])); t.enter(); print('in', flush=True); "
        "sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout.readline() == b"in\n"
        turnstile = Turnstile(path)
        assert not turnstile.try_enter()
        child.kill()
        child.wait(10)
        turnstile.enter()
        turnstile.close()
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


def test_forked_child_does_not_keep_the_turn(tmp_path):
    """A child forked while its parent is inside holds nothing once the parent has left."""
    turnstile = Turnstile(tmp_path / "turn")
    turnstile.enter()
    context = multiprocessing.get_context("fork")
    go, done = context.Event(), context.Event()

    def stay():
        done.set()
        go.wait(10)

    child = context.Process(target=stay)
    child.start()
    try:
        assert done.wait(10)
        turnstile.close()
        other = Turnstile(tmp_path / "turn")
        assert other.try_enter(), "the child's copy of the lock is still open"
        other.close()
    finally:
        go.set()
        child.join(10)
        child.close()


def test_place_that_cannot_be_written_is_named(tmp_path):
    """A missing directory is an error that says what to do."""
    with pytest.raises(LogError, match="permission"):
        Turnstile(tmp_path / "missing" / "turn")
    assert not (tmp_path / "missing").exists()
