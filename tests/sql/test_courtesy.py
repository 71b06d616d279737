"""A busy loop gives way to threads whose jobs are overdue, and only to them."""

from __future__ import annotations

import asyncio
import threading
import time

from trunkline.sql.courtesy import Courtesy


async def turns(seconds):
    """Keep the loop busy for a while, without ever letting it block."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(0)


async def test_overdue_job_is_given_the_interpreter():
    """While a thread's job waits, the saturated loop gives way again and again; then no more."""
    loop = asyncio.get_running_loop()
    courtesy = Courtesy(loop)
    release = threading.Event()
    courtesy.begin()
    job = loop.run_in_executor(None, release.wait)
    while courtesy.given < 3:
        await turns(0.01)
    release.set()
    await job
    courtesy.end()
    await turns(0.02)
    given = courtesy.given
    await turns(0.05)
    assert courtesy.given == given


async def test_nothing_is_given_when_jobs_are_prompt():
    """Jobs that end at once cost the loop nothing."""
    courtesy = Courtesy(asyncio.get_running_loop())
    for _ in range(100):
        courtesy.begin()
        courtesy.end()
        await asyncio.sleep(0)
    await turns(0.02)
    assert courtesy.given == 0
