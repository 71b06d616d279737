"""Apps: made, changed, found, given secrets, entered and removed."""

from __future__ import annotations

import base64
import logging
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.webhooks.school import Lesson, LessonSignal, installed, resolved, school
from trunkline.webhooks.entry import EntryVerifier, MemoryTokens
from trunkline.webhooks.errors import SignalError, TakenError, UnknownAppError
from trunkline.wire.signature import SigningKey, VerifyingKey
from trunkline.wire.token import EntryRefusedError

KEY = base64.b64encode(b"k" * 32).decode()


class Hours:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = 1_700_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


async def test_an_app_is_kept_whole(ground):
    async with school(ground) as (line, _):
        made = await line.apps.create(
            "Quiz",
            description="asks",
            indicator="quiz",
            entry_url="https://quiz.example/in?a=1",
            signal_url="https://quiz.example/hook",
            signals=["lesson", "user", "lesson"],
            account_types=["account"],
            configuration={"color": {"r": [1, 2]}},
            options={"format": "demux"},
        )
        assert made == await line.apps.get(made.id) == await line.apps.find("quiz")
        assert made.signals == ("lesson", "user")
        assert made.configuration == {"color": {"r": [1, 2]}}
        assert made.options == {"format": "demux"}
        assert made.endpoint_state == "enabled"
        assert await line.apps.list() == [made]
        assert await line.apps.find("other") is None
        with pytest.raises(UnknownAppError):
            await line.apps.get("app_0")


async def test_an_indicator_is_one_apps(ground):
    async with school(ground) as (line, _):
        await line.apps.create("A", indicator="a")
        other = await line.apps.create("B", indicator="b")
        with pytest.raises(TakenError):
            await line.apps.create("C", indicator="a")
        with pytest.raises(TakenError):
            await line.apps.update(other.id, indicator="a")
        await line.apps.update(other.id, indicator="b", name="B2")
        assert [one.name for one in await line.apps.list()] in (["A", "B2"], ["B2", "A"])


@pytest.mark.parametrize(
    "fields",
    [
        {"signals": "lesson"},
        {"signals": [""]},
        {"signals": ["a,b"]},
        {"signals": [None]},
        {"signal_url": ""},
        {"signal_url": "ftp://x.example/"},
        {"signal_url": "https://"},
        {"signal_url": "//x.example"},
        {"signal_url": "https://u:p@x.example/"},
        {"signal_url": "https://x.example/#top"},
        {"signal_url": "https://x.example/\nhost: y"},
        {"entry_url": "javascript:alert(1)"},
        {"signal_url": "https://x.example:99999/"},
        {"indicator": ""},
        {"indicator": "a b"},
        {"account_types": [""]},
        {"options": {"format": "xml"}},
    ],
)
async def test_fields_that_make_no_sense_are_refused(sqlite_ground, fields):
    async with school(sqlite_ground) as (line, _):
        with pytest.raises(SignalError):
            await line.apps.create("App", **fields)
        with pytest.raises(SignalError):
            await line.apps.create(" ")
        assert await line.apps.list() == []


async def test_a_removed_app_leaves_nothing_behind(ground):
    async with school(ground) as (line, mailbox):
        app = await installed(line, 1)
        Lesson.save(4, "a")
        await line.signal(LessonSignal(4, account_id=1), "updated")
        await resolved(line)
        await line.apps.delete(app.id)
        [one] = await line.transmissions.list()
        assert (one.state, one.due_at) == ("withdrawn", None)
        assert await line.connections.list() == []
        with pytest.raises(UnknownAppError):
            await line.apps.delete(app.id)
        await line.signal(LessonSignal(4, account_id=1), "updated")
        await resolved(line)
        assert await mailbox.take() == []


async def test_a_new_address_forgets_what_was_held_against_the_old_one(ground):
    async with school(ground) as (line, mailbox):
        app = await installed(line, 1)
        table = "trunkline_endpoint"
        table = table if ground.dialect == "sqlite" else f"{mailbox.schema}.{table}"
        async with line.transaction() as tx:
            await tx.execute(f"UPDATE {table} SET state = 'disabled', failures = 9")
        assert (await line.apps.update(app.id, name="B")).endpoint_state == "disabled"
        moved = await line.apps.update(app.id, signal_url="https://b.example/")
        assert (moved.endpoint_state, moved.endpoint_id) == ("enabled", app.endpoint_id)
        gone = await line.apps.update(app.id, signal_url=None)
        assert (gone.signal_url, gone.endpoint_id) == (None, None)
        back = await line.apps.update(app.id, signal_url="https://c.example/")
        assert back.endpoint_state == "enabled"


# -- secrets ----------------------------------------------------------------------------------


async def test_secrets_rotate_with_an_overlap(ground):
    clock = Hours()
    line = ground.line(clock=clock, webhooks={"secret_grace": "1h"})
    async with line:
        app = await line.apps.create("App")
        first = await line.apps.reveal_secret(app.id)
        clock.at += 10
        second = await line.apps.rotate_secret(app.id)
        assert first != second == await line.apps.reveal_secret(app.id)
        infos = [one for one in await line.apps.secrets(app.id) if one.purpose == "signal"]
        assert [one.expires_at for one in infos] == [None, clock.at + 3600]
        clock.at += 3601
        infos = [one for one in await line.apps.secrets(app.id) if one.purpose == "signal"]
        assert [one.hint[-4:] for one in infos] == [second[-4:]]
        await line.apps.rotate_secret(app.id, grace=0)
        assert len(await line.apps.secrets(app.id)) == 2  # the new one, and the entry's


async def test_what_is_sent_is_signed_with_all_that_are_valid(ground):
    async with school(ground) as (line, mailbox):
        app = await installed(line, 1)
        first = await line.apps.reveal_secret(app.id)
        second = await line.apps.rotate_secret(app.id)
        third = await line.apps.rotate_secret(app.id, "signal_ed25519")
        await line.signal(LessonSignal(4, account_id=1), "destroyed")
        await resolved(line)
        [outgoing] = await mailbox.prepare(await mailbox.claim())
        assert outgoing.secrets[0] == SigningKey.read(third)
        assert set(outgoing.secrets) == {SigningKey.read(one) for one in (first, second, third)}


async def test_secrets_are_sealed_in_the_store_and_never_logged(ground, caplog):
    caplog.set_level(logging.DEBUG)
    line = ground.line(webhooks={"secret_keys": [KEY]})
    async with line:
        app = await line.apps.create("App", entry_url="https://a.example/")
        found = [await line.apps.reveal_secret(app.id, one) for one in ("signal", "entry")]
        database = line._store.database
        rows = await database.fetch(f"SELECT sealed FROM {database.schema}trunkline_app_secret")
        for secret in found:
            assert not any(secret.encode() in bytes(row[0]) for row in rows)
            assert secret not in caplog.text
            assert secret not in repr(await line.apps.get(app.id))
        assert KEY not in caplog.text
    shown = {one.name: one.value for one in line.settings.effective()}
    assert KEY not in repr(shown)
    assert KEY not in repr(line.settings)


async def test_one_secret_for_everything_as_demux_had_it(sqlite_ground):
    async with school(sqlite_ground) as (line, _):
        app = await line.apps.create("App", secret="x" * 24)
        for purpose in ("signal", "entry"):
            assert await line.apps.reveal_secret(app.id, purpose) == "x" * 24
        for bad in ("short", "whsk_" + base64.b64encode(b"x" * 32).decode(), "x" * 30 + "\n"):
            with pytest.raises(SignalError) as told:
                await line.apps.rotate_secret(app.id, value=bad)
            assert bad not in str(told.value)
        with pytest.raises(SignalError):
            await line.apps.rotate_secret(app.id, "other")


async def test_access_keys_are_kept_by_fingerprint(ground):
    async with school(ground) as (line, _):
        app = await line.apps.create("App")
        key, private = await line.apps.generate_access_key(app.id)
        assert private.startswith("-----BEGIN PRIVATE KEY-----")
        assert key.fingerprint.startswith("SHA256:")
        assert await line.apps.access_keys(app.id) == [key]
        with pytest.raises(TakenError):
            await line.apps.add_access_key(app.id, key.public_pem)
        for bad in ("", "x", private):
            with pytest.raises(SignalError):
                await line.apps.add_access_key(app.id, bad)
        assert await line.apps.remove_access_key(app.id, key.fingerprint)
        assert not await line.apps.remove_access_key(app.id, key.fingerprint)
        again = await line.apps.add_access_key(app.id, key.public_pem)
        assert again.fingerprint == key.fingerprint


# -- entering ---------------------------------------------------------------------------------


def token_of(url):
    return parse_qs(urlsplit(url).query)["token"][0]


async def test_an_entry_is_verified_once_for_all_processes(ground):
    async with school(ground) as (line, _):
        app = await line.apps.create("App", entry_url="https://a.example/in?lang=de")
        connection = await line.connections.connect(app.id, account_id=7)
        secret = await line.apps.reveal_secret(app.id, "entry")
        url = await line.connections.entry_url(
            connection.id, {"user_id": 42, "account_id": 666, "account_type": "x"}
        )
        assert url.startswith("https://a.example/in?lang=de&token=")
        first, second = (line.webhooks.entry_verifier(app.id, [secret]) for _ in range(2))
        entry = await first.verify(token_of(url))
        assert entry.data == {"user_id": 42, "account_id": 7, "account_type": "account"}
        for verifier in (first, second):
            with pytest.raises(EntryRefusedError):
                await verifier.verify(token_of(url))
        other = line.webhooks.entry_verifier("app_other", [secret])
        with pytest.raises(EntryRefusedError):
            await other.verify(token_of(await line.apps.entry_url(app.id)))


async def test_the_apps_side_needs_no_line(sqlite_ground):
    clock = Hours()
    line = sqlite_ground.line(clock=clock)
    async with line:
        app = await line.apps.create("App", entry_url="https://a.example/")
        secret = await line.apps.reveal_secret(app.id, "entry")
        token = token_of(await line.apps.entry_url(app.id, {"a": 1}))
        verifier = EntryVerifier(app.id, [secret], clock=clock)
        assert (await verifier.verify(token)).data == {"a": 1}
        with pytest.raises(EntryRefusedError):
            await verifier.verify(token)
        late = token_of(await line.apps.entry_url(app.id))
        clock.at += 120
        with pytest.raises(EntryRefusedError):
            await verifier.verify(late)


async def test_demuxs_entry_has_nothing_but_data_and_expiry(sqlite_ground):
    import jwt

    async with school(sqlite_ground) as (line, _):
        app = await line.apps.create(
            "App", entry_url="https://a.example/", secret="s" * 24, options={"format": "demux"}
        )
        url = await line.apps.entry_url(app.id, {"account_id": 1})
        assert jwt.get_unverified_header(token_of(url)) == {"alg": "HS256", "typ": "JWT"}
        claims = jwt.decode(token_of(url), options={"verify_signature": False})
        assert claims.keys() == {"data", "exp"}
        entry = await EntryVerifier(None, ["s" * 24]).verify(token_of(url))
        assert entry.account_id == 1


async def test_an_app_without_an_entry_says_so(sqlite_ground):
    async with school(sqlite_ground) as (line, _):
        app = await line.apps.create("App")
        with pytest.raises(SignalError, match="entry_url"):
            await line.apps.entry_url(app.id)
        entered = await line.apps.update(app.id, entry_url="https://a.example/")
        with pytest.raises(SignalError, match="bytes"):
            await line.apps.entry_url(entered.id, {"a": "x" * 5000})


async def test_memory_forgets_what_has_expired_and_refuses_when_it_is_full():
    clock = Hours()
    used = MemoryTokens(clock, limit=2)
    assert await used.use("a", clock.at + 10)
    assert not await used.use("a", clock.at + 10)
    assert await used.use("b", clock.at + 20)
    assert not await used.use("c", clock.at + 20)
    clock.at += 15
    assert await used.use("c", clock.at + 20)


def test_a_public_key_verifies_what_its_secret_signs():
    from trunkline.webhooks.ring import new_secret, public_key

    secret = new_secret("signal_ed25519")
    key = VerifyingKey.read(public_key(secret))
    assert key.scheme == "v1a"
