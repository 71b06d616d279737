"""The checker: from what everybody wrote down to what was lost, and to every broken promise.

Pure: the evidence goes in, a verdict comes out. Its rules are guarantees 1 to 3 and 6:

* ``durable``: an acknowledged publish is in the log, under the ids that it was given.
* ``once``: nothing is in the log twice; a group is there whole or not at all.
* ``dense``: ids are 1, 2, 3 … on the line and in each channel, and time does not run backwards.
* ``order``: a publisher that waited for one answer before its next publish is kept in order; a
  listener sees ids increase, and nothing twice, also over its own death.
* ``truth``: what a listener was told is what the log holds.
* ``told``: a listener has every message after its start, or was told what is gone.
* ``effects``: what a durable consumer does about a message is done once, in its channel's order.
* ``outcome``: a publish that raised is not in the log, unless it said that this is not known.

A message that is gone is lost silently, unless the line's epoch changed and whoever listens was
told so: then its loss was announced.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from trunkline.errors import OutcomeUnknownError

#: What a publish raises when it is not known whether it is stored.
UNKNOWN = OutcomeUnknownError.__name__


class Ack(NamedTuple):
    """A publish that was acknowledged, as its publisher wrote it down."""

    task: str
    nonce: str
    channel: str
    message_id: int
    global_id: int
    epoch: str


class Stored(NamedTuple):
    """A message that the log holds in the end."""

    nonce: str
    channel: str
    message_id: int
    global_id: int
    published_at: float = 0.0


class Heard(NamedTuple):
    """A message as a listener was told of it; no epoch where its protocol has none."""

    nonce: str
    channel: str
    message_id: int
    global_id: int
    epoch: str


class Gap(NamedTuple):
    """What a listener was told is gone: by ``trimmed`` all up to the floor, by ``reset`` all."""

    reason: str
    after: int
    epoch: str
    position: int
    floor: int


@dataclass
class Listening:
    """One listener's whole record, over all its lives.

    Args:
        who: Its name.
        channels: What it listened to, from the oldest message on.
        told: What it was told, in that order.
        by_channel: Whether its protocol counts per channel and knows no epoch.
    """

    who: str
    channels: frozenset[str]
    told: Sequence[Heard | Gap]
    by_channel: bool = False


@dataclass
class Evidence:
    """All that was written down.

    Args:
        acks: Acknowledged publishes, each publisher's in its order.
        epoch: The line's epoch in the end.
        log: The line's messages in the end, in the order they were read.
        listenings: The listeners' records.
        refused: What publishes raised, by nonce.
        effects: Channel and nonce of what a durable consumer did, in its order; None without one.
    """

    acks: Sequence[Ack]
    epoch: str
    log: Sequence[Stored]
    listenings: Sequence[Listening] = ()
    refused: Mapping[str, frozenset[str]] = field(default_factory=dict)
    effects: Sequence[tuple[str, str]] | None = None


class Breach(NamedTuple):
    """A broken promise."""

    rule: str
    who: str
    what: str


@dataclass
class Verdict:
    """What the evidence says.

    Args:
        breaches: Broken promises.
        lost_silently: Messages that somebody lost without being told, counted once each.
        lost_announced: Messages that are gone and were said to be.
        resets: The resets that listeners were told of.
        doubtful: Publishes that raised and yet are stored: the answer was lost with the link.
        messages: Acknowledged publishes.
        heard: Messages told to listeners.
        effects: What a durable consumer did.
    """

    breaches: list[Breach] = field(default_factory=list)
    lost_silently: set[str] = field(default_factory=set)
    lost_announced: set[str] = field(default_factory=set)
    resets: list[tuple[str, Gap]] = field(default_factory=list)
    doubtful: int = 0
    messages: int = 0
    heard: int = 0
    effects: int = 0

    @property
    def is_clean(self) -> bool:
        """Tell whether every promise was kept."""
        return not self.breaches and not self.lost_silently


def examine(evidence: Evidence) -> Verdict:
    """Apply every rule to the evidence."""
    verdict = Verdict(messages=len(evidence.acks))
    _check_acks(evidence, verdict)
    verdict.breaches += _once(evidence.log)
    verdict.breaches += _dense(evidence.log)
    verdict.breaches += _publishers_order(evidence.acks)
    for listening in evidence.listenings:
        verdict.heard += sum(isinstance(one, Heard) for one in listening.told)
        gaps = [one for one in listening.told if isinstance(one, Gap)]
        verdict.resets += [(listening.who, one) for one in gaps if one.reason == "reset"]
        check = _by_channel if listening.by_channel else _by_line
        check(listening, evidence, verdict)
    if evidence.effects is not None:
        _check_effects(evidence.effects, evidence.log, verdict)
    stored = {one.nonce for one in evidence.log}
    answered = {one.nonce for one in evidence.acks}  # those that were asked again under their key
    doubtful = (evidence.refused.keys() & stored) - answered
    verdict.doubtful = len(doubtful)
    for nonce in sorted(doubtful):
        if UNKNOWN not in (raised := evidence.refused[nonce]):
            what = f"raised {', '.join(sorted(raised))} and is stored"
            verdict.breaches.append(Breach("outcome", nonce, what))
    return verdict


def _check_acks(evidence: Evidence, verdict: Verdict) -> None:
    at = {one.global_id: one for one in evidence.log}
    stored = {one.nonce for one in evidence.log}
    for ack in evidence.acks:
        if ack.epoch != evidence.epoch:
            if ack.nonce not in stored:
                verdict.lost_announced.add(ack.nonce)
            continue
        found = at.get(ack.global_id)
        if found is not None and found[:4] == ack[1:5]:
            continue
        verdict.breaches.append(Breach("durable", ack.task, f"{ack} but stored is {found}"))
        if ack.nonce not in stored:
            verdict.lost_silently.add(ack.nonce)


def _once(log: Iterable[Stored]) -> Iterator[Breach]:
    places: dict[str, list[Stored]] = defaultdict(list)
    for one in log:
        places[one.nonce].append(one)
    for nonce, found in places.items():
        if len(found) > 1:
            yield Breach("once", nonce, f"stored {len(found)} times: {[one[1:] for one in found]}")
    groups: dict[str, set[str]] = defaultdict(set)
    for nonce in places:
        name, mark, part = nonce.partition("#")
        if mark:
            groups[name].add(part)
    for name, parts in groups.items():
        whole = int(next(iter(parts)).partition("/")[2])
        if len(parts) != whole:
            yield Breach("once", name, f"{len(parts)} of a group of {whole} are stored")


def _dense(log: Iterable[Stored]) -> Iterator[Breach]:
    last, last_at = 0, 0.0
    channels: Counter[str] = Counter()
    for one in log:
        if one.global_id != last + 1:
            yield Breach("dense", "line", f"{one.global_id} after {last}")
        channels[one.channel] += 1
        if one.message_id != channels[one.channel]:
            yield Breach("dense", one.channel, f"{one.message_id}, not {channels[one.channel]}")
            channels[one.channel] = one.message_id
        if one.published_at < last_at:
            yield Breach("dense", "time", f"{one} was published before the one before it")
        last, last_at = one.global_id, one.published_at


def _publishers_order(acks: Iterable[Ack]) -> Iterator[Breach]:
    last: dict[tuple[str, str], int] = {}
    for ack in acks:
        place = (ack.task, ack.epoch)
        if ack.global_id <= last.get(place, 0):
            yield Breach("order", ack.task, f"{ack.global_id} after {last[place]}")
        last[place] = ack.global_id


def _check_effects(
    effects: Sequence[tuple[str, str]], log: Iterable[Stored], verdict: Verdict
) -> None:
    verdict.effects = len(effects)
    counts = Counter(effects)
    wanted: dict[str, list[str]] = defaultdict(list)
    for one in log:
        wanted[one.channel].append(one.nonce)
        if (times := counts.pop((one.channel, one.nonce), 0)) != 1:
            verdict.breaches.append(Breach("effects", one.nonce, f"{times} effects of {one}"))
            if not times:
                verdict.lost_silently.add(one.nonce)
    for channel, nonce in counts:
        verdict.breaches.append(Breach("effects", nonce, f"nothing on {channel} has this effect"))
    done: dict[str, list[str]] = defaultdict(list)
    for channel, nonce in effects:
        done[channel].append(nonce)
    for channel, nonces in wanted.items():
        if sorted(nonces) == sorted(done[channel]) and nonces != done[channel]:
            verdict.breaches.append(Breach("effects", channel, "effects are not in order"))


class _Era:
    """Be the stretch of a listener's life under one epoch, from a position on."""

    def __init__(self, epoch: str, after: int) -> None:
        self.epoch = epoch
        self.after = after
        self.at = after
        self.seen: dict[int, Heard] = {}
        self.excused: list[tuple[int, int]] = []

    def lacks(self, number: int) -> bool:
        """Tell whether an id should have come, and did not, and was not said to be gone."""
        return (
            number > self.after
            and number not in self.seen
            and not any(after < number <= floor for after, floor in self.excused)
        )


def _eras(listening: Listening, verdict: Verdict, channel: str | None = None) -> list[_Era]:
    """Cut a record into eras, by line or for one channel, and check the order within each."""
    eras: list[_Era] = []
    for one in listening.told:
        if isinstance(one, Gap):
            if one.reason == "reset" or not eras:
                start = one.after if one.reason == "trimmed" else one.position
                eras.append(_Era(one.epoch, start))
            if one.reason == "trimmed":
                eras[-1].excused.append((one.after, one.floor))
            continue
        number = one.global_id if channel is None else one.message_id
        if not eras:
            eras.append(_Era(one.epoch, 0))
        era = eras[-1]
        if one.epoch != era.epoch:
            what = f"{era.epoch} became {one.epoch} at {number} without a word"
            verdict.breaches.append(Breach("told", listening.who, what))
            eras.append(era := _Era(one.epoch, 0))
        if number <= era.at:
            verdict.breaches.append(Breach("order", listening.who, f"{one} after {era.at}"))
        era.at = max(era.at, number)
        era.seen[number] = one
    return eras


def _by_line(listening: Listening, evidence: Evidence, verdict: Verdict) -> None:
    eras = _eras(listening, verdict)
    if not eras or eras[-1].epoch != evidence.epoch:
        where = eras[-1].epoch if eras else "nowhere"
        what = f"ended in epoch {where}, the line in {evidence.epoch}"
        verdict.breaches.append(Breach("told", listening.who, what))
        eras.append(_Era(evidence.epoch, 0))
    mine = [one for one in evidence.log if one.channel in listening.channels]
    _compare(listening, eras[-1], {one.global_id: one for one in mine}, verdict)
    # In the epochs before, the log is gone; the acknowledgements tell what it held.
    for era in eras[:-1]:
        for ack in evidence.acks:
            was_passed = ack.epoch == era.epoch and ack.global_id < era.at
            if was_passed and ack.channel in listening.channels and era.lacks(ack.global_id):
                verdict.breaches.append(Breach("told", listening.who, f"never heard {ack}"))
                verdict.lost_silently.add(ack.nonce)


def _by_channel(listening: Listening, evidence: Evidence, verdict: Verdict) -> None:
    (channel,) = listening.channels
    eras = _eras(listening, verdict, channel) or [_Era("", 0)]
    mine = {one.message_id: one for one in evidence.log if one.channel == channel}
    _compare(listening, eras[-1], mine, verdict)


def _compare(listening: Listening, era: _Era, mine: dict[int, Stored], verdict: Verdict) -> None:
    """Hold what a listener was told in the last era against what the log holds."""
    for number, heard in era.seen.items():
        stored = mine.get(number)
        if stored is None or stored[:4] != heard[:4]:
            what = f"{heard} but stored is {stored}"
            verdict.breaches.append(Breach("truth", listening.who, what))
    for number, stored in mine.items():
        if not era.lacks(number):
            if number not in era.seen and number > era.after:
                verdict.lost_announced.add(stored.nonce)
            continue
        verdict.breaches.append(Breach("told", listening.who, f"never heard {stored}"))
        verdict.lost_silently.add(stored.nonce)
