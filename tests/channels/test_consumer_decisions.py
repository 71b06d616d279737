"""What a consumer decides at a gap and about failures, and which declarations make sense."""

from __future__ import annotations

import random

import pytest

from trunkline.channels.catchup import Gap
from trunkline.channels.consumer import KEEP, Retry, consumer_of, start_of
from trunkline.channels.consumer_decisions import clean, fail, meet_gap, set_aside
from trunkline.errors import ConfigError, GrammarError
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import EVERYTHING
from trunkline.model.message import Limits, Record
from trunkline.model.position import Position
from trunkline.store.consumer_table import Standing, Status
from trunkline.store.parked_table import ParkedState

HERE = Position("e", 7)
TRIMMED = Gap("trimmed", 7, HERE, 20)
RESET = Gap("reset", 7, Position("f", 0), 7)
RECORD = Record(channel=ChannelKey("/a"), message_id=1, global_id=8, published_at=1.0, data=b"1")


def declared(handler=print, **options):
    return consumer_of("c", EVERYTHING, handler, options)


def test_a_skipped_gap_is_noted_and_told_once():
    new, met = meet_gap(Standing(position=HERE), TRIMMED, on_gap="skip", now=5.0)
    assert (new.status, new.position, new.told) == (Status.RUNNING, HERE, 20)
    assert (met.reason, met.position, met.floor, met.met_at) == ("trimmed", "e-7", 20, 5.0)


def test_a_gap_stops_and_says_why_and_what_to_do():
    new, _ = meet_gap(Standing(position=HERE), TRIMMED, on_gap="stop", now=5.0)
    assert (new.status, new.position, new.told) == (Status.STOPPED, HERE, 20)
    assert "after e-7 up to 20 are gone (trimmed)" in new.reason
    assert "resume" in new.reason


@pytest.mark.parametrize("on_gap", ["stop", "skip"])
def test_after_a_reset_it_stands_at_the_start_of_the_new_epoch(on_gap):
    new, met = meet_gap(Standing(position=HERE, told=20), RESET, on_gap=on_gap, now=5.0)
    assert (new.position, new.told) == (Position("f", 0), 0)
    assert met.reason == "reset"


def test_tries_come_ever_later_and_end():
    retry = Retry(attempts=5, first=1.0, limit=3.0)
    delays = [retry.delay(n, chance=random.Random(n)) for n in range(1, 6)]
    assert delays[4] is None
    for delay, middle in zip(delays, [1.0, 2.0, 3.0, 3.0], strict=False):
        assert middle * 0.5 <= delay <= middle * 1.5


def test_a_failure_is_due_again_until_it_has_failed_often_enough():
    consumer = declared(retry=2)
    one = set_aside(RECORD, "e", key="k", now=1.0)
    assert one.state is ParkedState.BEHIND
    one = fail(one, ValueError("no"), consumer, now=1.0)
    assert (one.state, one.attempts, one.error) == (ParkedState.RETRYING, 1, "ValueError: no")
    assert one.due_at > 1.0
    one = fail(one, ValueError("no"), consumer, now=9.0)
    assert (one.state, one.attempts) == (ParkedState.PARKED, 2)


def test_errors_are_kept_as_text_that_every_database_stores():
    assert clean("a\0b\ud800" + "x" * 9, 5) == "a�b?x"


def test_the_second_parameter_is_the_transaction():
    assert not declared(lambda message: 0).takes_tx
    assert declared(lambda message, tx: 0).takes_tx
    assert declared(lambda message, tx=None: 0).takes_tx
    assert not declared(lambda message, log=None: 0).takes_tx
    assert not declared([].append).takes_tx


def test_keep_has_a_cap_of_its_own_or_yours():
    assert declared().keep is None
    assert declared(keep="consumed").keep == KEEP
    assert declared(keep=Limits(5)).keep == Limits(5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on_gap": "ignore"}, "on_gap='ignore'"),
        ({"keep": "all"}, "keep='all'"),
        ({"batch": 0}, "batch=0"),
        ({"batch": True}, "batch=True"),
        ({"max_parked": 0}, "max_parked=0"),
        ({"retry": "often"}, "retry='often'"),
        ({"retry": 0}, "makes no sense"),
        ({"handler": lambda: 0}, "takes a message"),
        ({"handler": lambda a, b, c: 0}, "takes a message"),
        ({"handler": 7}, "no function"),
    ],
)
def test_what_makes_no_sense_is_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        declared(**{"handler": print, **options})


@pytest.mark.parametrize("name", ["", "a b", "-a", "x" * 101, "ä", "a/b"])
def test_names_are_plain(name):
    with pytest.raises(ConfigError, match="a name has"):
        consumer_of(name, EVERYTHING, print, {})


def test_a_start_is_a_word_or_a_position():
    assert start_of("0") == start_of("oldest") == "oldest"
    assert start_of("now") == "now"
    assert start_of("e-7") == start_of(HERE) == HERE
    with pytest.raises(GrammarError):
        start_of("yesterday")
