"""Problem documents."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import (
    AccessDeniedError,
    GrammarError,
    LimitExceededError,
    LogCorruptError,
    LogUnavailableError,
    MessageTooLargeError,
    OutcomeUnknownError,
    VersionConflictError,
)
from trunkline.wire.problem import parse_problem, problem, problem_of


def shown(made) -> dict:
    return json.loads(made.encode())


def test_a_problem_says_what_it_is_and_leaves_out_what_it_has_not():
    assert shown(problem(403, "access-denied", "ask for access")) == {
        "type": "urn:trunkline:problem:access-denied",
        "title": "Access denied",
        "status": 403,
        "detail": "ask for access",
    }


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (GrammarError("no"), 400, "grammar"),
        (AccessDeniedError("no"), 403, "access-denied"),
        (MessageTooLargeError(5, 4), 413, "message-too-large"),
        (VersionConflictError("/stream/a/1", 1, 2), 409, "version-conflict"),
    ],
)
def test_a_callers_mistake_keeps_its_words(error, status, code):
    made = problem_of(error)
    assert (made.status, made.code, made.detail) == (status, code, str(error))
    assert made.retry_after is None


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (LogUnavailableError("/srv/secret.db is locked"), 503, "log-unavailable"),
        (LogCorruptError("/srv/secret.db"), 500, "log-corrupt"),
        (ValueError("secret"), 500, "internal"),
    ],
)
def test_our_own_failures_keep_their_words_to_themselves(error, status, code):
    made = problem_of(error)
    assert (made.status, made.code) == (status, code)
    assert b"secret" not in made.encode()


def test_foreign_attributes_are_not_trusted():
    error = OSError("x")
    error.status, error.code = "high", 5
    assert (problem_of(error).status, problem_of(error).code) == (500, "internal")


def test_limits_are_named_and_tell_when_to_come_back():
    made = problem_of(LimitExceededError("rate", 10, retry_after=1.2))
    assert shown(made)["limit"] == "rate"
    assert shown(made)["allowed"] == 10
    assert "retry_after" not in shown(made)
    assert dict(made.headers())["retry-after"] == "2"
    assert dict(problem_of(LimitExceededError("rate", 10)).headers())["retry-after"] == "1"
    assert "retry-after" not in dict(
        problem_of(LimitExceededError("max_channels", 3, status=400)).headers()
    )
    assert dict(made.headers())["content-type"] == "application/problem+json"


def test_clients_read_problems():
    made = problem_of(LimitExceededError("rate", 10, retry_after=1.2), instance="/x")
    got = parse_problem(made.encode())
    assert got is not None
    assert (got.code, got.limit, got.allowed, got.instance) == ("limit-exceeded", "rate", 10, "/x")


@given(st.binary(max_size=60))
def test_any_bytes_are_a_problem_or_nothing(body):
    assert parse_problem(body) is None or body


def test_an_unknown_outcome_is_not_called_a_refusal():
    made = problem_of(OutcomeUnknownError("host.example went away"))
    assert (made.status, made.code) == (503, "outcome-unknown")
    assert "nothing was stored" not in made.detail
    assert "same key" in made.detail
    assert made.retry_after is not None
