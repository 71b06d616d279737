"""Secrets at rest: sealed, bound to their row, and readable while keys change."""

from __future__ import annotations

import base64

import pytest

from trunkline.errors import ConfigError
from trunkline.webhooks.errors import SecretError
from trunkline.webhooks.vault import Vault, hint

OLD, NEW = (base64.b64encode(bytes([one]) * 32).decode() for one in (1, 2))


def test_what_is_sealed_does_not_show_and_opens_for_its_owner_alone():
    vault = Vault([OLD])
    sealed = vault.seal("whsec_hidden", owner="app_1 sec_1")
    assert b"hidden" not in sealed
    assert vault.open(sealed, owner="app_1 sec_1") == "whsec_hidden"
    with pytest.raises(SecretError):
        vault.open(sealed, owner="app_2 sec_1")
    with pytest.raises(SecretError):
        vault.open(sealed[:-1] + bytes([sealed[-1] ^ 1]), owner="app_1 sec_1")


def test_two_seals_of_one_secret_differ():
    vault = Vault([OLD])
    assert vault.seal("x", owner="a") != vault.seal("x", owner="a")


def test_a_key_is_changed_by_putting_another_in_front():
    old = Vault([OLD]).seal("one", owner="a")
    both = Vault([NEW, OLD])
    assert both.open(old, owner="a") == "one"
    assert Vault([NEW]).open(both.seal("two", owner="a"), owner="a") == "two"
    with pytest.raises(SecretError, match="secret_keys"):
        Vault([NEW]).open(old, owner="a")


def test_without_a_key_secrets_stay_readable_and_a_key_may_come_later():
    plain = Vault().seal("open", owner="a")
    assert not Vault().is_sealing
    assert Vault([OLD]).open(plain, owner="a") == "open"


@pytest.mark.parametrize("key", ["", "x", "AAAA", base64.b64encode(b"x" * 31).decode(), None])
def test_a_key_that_is_none_is_refused(key):
    with pytest.raises(ConfigError):
        Vault([key])


def test_a_hint_tells_the_kind_and_little_else():
    assert hint("whsec_" + "a" * 40 + "WXYZ") == "whsec_…WXYZ"
    assert hint("correct horse battery staple") == "…aple"
    assert hint("short secret 123") == "…"
