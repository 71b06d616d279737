"""The checker finds every kind of broken promise, and nothing where all were kept."""

from __future__ import annotations

import dataclasses

import pytest

from tests.faults.checker import Ack, Evidence, Gap, Heard, Listening, Stored, examine

A, B = "/a", "/b"
LOG = [
    Stored("p.0", A, 1, 1, 10.0),
    Stored("g#0/2", B, 1, 2, 10.0),
    Stored("g#1/2", A, 2, 3, 11.0),
    Stored("p.1", B, 2, 4, 12.0),
    Stored("p.2", A, 3, 5, 12.0),
]
ACKS = [Ack("p" if one.nonce[0] == "p" else "g", *one[:4], "e") for one in LOG]
HEARD = [Heard(*one[:4], "e") for one in LOG]
OLD = [Heard("old.1", A, 1, 1, "d"), Heard("old.2", A, 2, 2, "d")]
OLD_ACKS = [Ack("o", *one) for one in OLD]
RESET = Gap("reset", 2, "e", 0, 2)


def listening(told, *, channels=(A, B), by_channel=False):
    return Listening("listener", frozenset(channels), told, by_channel=by_channel)


def evidence(**changes):
    whole = Evidence(acks=ACKS, epoch="e", log=LOG, listenings=[listening(HEARD)])
    return dataclasses.replace(whole, **changes)


def rules(found):
    return {one.rule for one in found.breaches}


def without(sequence, *places):
    return [one for place, one in enumerate(sequence) if place not in places]


def test_kept_promises_are_clean():
    """Nothing is found where everything is as promised."""
    found = examine(evidence())
    assert found.is_clean
    assert (found.messages, found.heard, found.doubtful) == (5, 5, 0)
    assert not found.lost_announced


def test_listener_of_one_channel_needs_only_that():
    """What others published elsewhere is not missed, by global or by message id."""
    mine = [one for one in HEARD if one.channel == A]
    bare = [one._replace(epoch="") for one in mine]
    both = [listening(mine, channels=[A]), listening(bare, channels=[A], by_channel=True)]
    assert examine(evidence(listenings=both)).is_clean


@pytest.mark.parametrize("gone", range(len(LOG)))
def test_lost_acknowledged_message_is_silent(gone):
    """Any message that was acknowledged and is not in the log counts, whichever it is."""
    found = examine(evidence(log=without(LOG, gone), listenings=[]))
    assert found.lost_silently == {LOG[gone].nonce}
    assert "durable" in rules(found)


def test_other_ids_than_acknowledged():
    """A message that is stored, but not under the ids in its receipt, breaks the promise."""
    acks = [ACKS[0]._replace(global_id=2), *ACKS[1:]]
    found = examine(evidence(acks=acks))
    assert rules(found) == {"durable"}
    assert not found.lost_silently


def test_stored_twice():
    """The same publish twice in the log is found."""
    log = [*LOG, LOG[0]._replace(message_id=4, global_id=6, published_at=13.0)]
    assert rules(examine(evidence(log=log, listenings=[]))) == {"once"}


def test_half_a_group():
    """A group of which a part is missing is found, though nothing of it was acknowledged."""
    log = [*LOG[:2], LOG[2]._replace(nonce="p.9"), *LOG[3:]]
    acks = [one for one in ACKS if one.task != "g"]
    assert rules(examine(evidence(log=log, acks=acks, listenings=[]))) == {"once"}


@pytest.mark.parametrize(
    ("place", "change"),
    [
        (4, {"global_id": 6}),
        (4, {"message_id": 4}),
        (3, {"message_id": 1}),
        (4, {"published_at": 1.0}),
    ],
)
def test_hole_double_or_time_running_backwards(place, change):
    """Ids that are not 1, 2, 3 … and times that decrease are found."""
    log = [*LOG[:place], LOG[place]._replace(**change), *LOG[place + 1 :]]
    assert "dense" in rules(examine(evidence(log=log, acks=[], listenings=[])))


def test_publisher_out_of_order():
    """Publishes that waited for one another are stored in their order."""
    first, last = ACKS[0], ACKS[4]
    swapped = [last._replace(task="p"), *ACKS[1:4], first]
    assert rules(examine(evidence(acks=swapped))) == {"order"}


@pytest.mark.parametrize("gone", range(len(LOG)))
def test_silent_gap(gone):
    """A listener that lacks any one message and was told nothing has lost it silently."""
    found = examine(evidence(listenings=[listening(without(HEARD, gone))]))
    assert found.lost_silently == {LOG[gone].nonce}
    assert rules(found) == {"told"}


def test_told_gap():
    """A listener that was told what is gone has lost it, announced."""
    told = [HEARD[0], Gap("trimmed", 1, "e", 1, 3), *HEARD[3:]]
    found = examine(evidence(listenings=[listening(told)]))
    assert found.is_clean
    assert found.lost_announced == {"g#0/2", "g#1/2"}


def test_gap_that_tells_too_little():
    """What lies above the floor of a gap is not excused by it."""
    told = [HEARD[0], Gap("trimmed", 1, "e", 1, 2), *HEARD[3:]]
    found = examine(evidence(listenings=[listening(told)]))
    assert found.lost_silently == {"g#1/2"}


@pytest.mark.parametrize(
    "told", [[HEARD[0], *HEARD], [*HEARD, HEARD[4]], [HEARD[1], HEARD[0], *HEARD[2:]]]
)
def test_heard_twice_or_out_of_order(told):
    """A repeated message, and one that comes after a later one, are found."""
    assert rules(examine(evidence(listenings=[listening(told)]))) == {"order"}


def test_heard_what_is_not_stored():
    """A message that the log does not hold, or holds otherwise, is found."""
    false = [*HEARD[:4], HEARD[4]._replace(nonce="p.7")]
    more = [*HEARD, Heard("p.9", A, 4, 6, "e")]
    for told in (false, more):
        assert rules(examine(evidence(listenings=[listening(told)]))) == {"truth"}


def test_announced_reset():
    """After a reset that everybody was told of, what is gone is gone, and announced."""
    listenings = [listening([*OLD, RESET, *HEARD])]
    found = examine(evidence(acks=[*OLD_ACKS, *ACKS], listenings=listenings))
    assert found.is_clean
    assert found.lost_announced == {"old.1", "old.2"}


def test_kept_over_a_reset_is_not_lost():
    """A failover keeps most: what is still there under the new epoch is no loss."""
    acks = [one._replace(epoch="d") for one in ACKS[:3]] + ACKS[3:]
    told = [one._replace(epoch="d") for one in HEARD[:2]] + [RESET, *HEARD]
    found = examine(evidence(acks=acks, listenings=[listening(told)]))
    assert found.is_clean
    assert not found.lost_announced


def test_reset_without_a_word():
    """A listener that meets another epoch and was not told of a reset is found."""
    found = examine(evidence(acks=[*OLD_ACKS, *ACKS], listenings=[listening([*OLD, *HEARD])]))
    assert rules(found) == {"told"}


def test_gap_in_an_epoch_that_is_gone():
    """A message skipped before the reset was lost silently, though the log is gone."""
    listenings = [listening([OLD[1], RESET, *HEARD])]
    found = examine(evidence(acks=[*OLD_ACKS, *ACKS], listenings=listenings))
    assert found.lost_silently == {"old.1"}


def test_listener_that_stands_in_an_old_epoch():
    """A listener that never heard of the reset, or of anything, is found and lacks all."""
    for told in (OLD, []):
        found = examine(evidence(acks=[*OLD_ACKS, *ACKS], listenings=[listening(told)]))
        assert "told" in rules(found)
        assert found.lost_silently == {one.nonce for one in LOG}


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_poll_that_skips_a_message_id(gone):
    """By channel the message ids decide."""
    mine = [one._replace(epoch="") for one in HEARD if one.channel == A]
    lacking = [listening(without(mine, gone), channels=[A], by_channel=True)]
    found = examine(evidence(listenings=lacking))
    assert found.lost_silently == {mine[gone].nonce}


def test_refused_yet_stored_is_counted():
    """A publish that raised and is stored counts as doubtful, unless it was asked again."""
    acks = [one for one in ACKS if one.nonce != "p.1"]
    unknown = frozenset({"OutcomeUnknownError", "LogUnavailableError"})
    found = examine(evidence(acks=acks, refused=dict.fromkeys(["p.1", "p.2", "never"], unknown)))
    assert found.is_clean
    assert found.doubtful == 1


def test_refused_for_certain_yet_stored():
    """A publish that is stored must not raise an error that says it is not."""
    acks = [one for one in ACKS if one.nonce != "p.1"]
    refused = {"p.1": frozenset({"LogUnavailableError"}), "never": frozenset({"LogError"})}
    assert rules(examine(evidence(acks=acks, refused=refused))) == {"outcome"}


EFFECTS = [(one.channel, one.nonce) for one in LOG]


def test_effects_once_each_and_in_order():
    """What was done once for each message, in each channel's order, is well."""
    found = examine(evidence(effects=EFFECTS))
    assert found.is_clean
    assert found.effects == len(LOG)


@pytest.mark.parametrize("number", range(len(EFFECTS)))
def test_effect_that_is_lost_doubled_or_invented(number):
    """A message without effect, one with two, and an effect of no message are found."""
    found = examine(evidence(effects=without(EFFECTS, number)))
    assert (rules(found), found.lost_silently) == ({"effects"}, {EFFECTS[number][1]})
    assert rules(examine(evidence(effects=[*EFFECTS, EFFECTS[number]]))) == {"effects"}
    assert rules(examine(evidence(effects=[*EFFECTS, ("/other", "x")]))) == {"effects"}


def test_effects_out_of_order():
    """Two effects of one channel that changed places are found."""
    mine = [one for one in EFFECTS if one[0] == A]
    rest = [one for one in EFFECTS if one[0] != A]
    assert rules(examine(evidence(effects=[*rest, *reversed(mine)]))) == {"effects"}
