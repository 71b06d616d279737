"""A cohort keeps framed stretches for as long as they serve, and no longer."""

from __future__ import annotations

import gc

from tests.gateway.edge import a_line
from tests.gateway.serving import serving
from tests.gateway.talker import talking, wait_until
from trunkline.gateway.options import GatewayOptions
from trunkline.gateway.stretch import Stretch

BEATS = 40


async def test_a_quiet_channel_on_a_busy_line_piles_nothing_up():
    """Each heartbeat finds the line's head elsewhere, and must not leave something behind."""
    async with a_line() as line:
        gateway = line.gateway(options=GatewayOptions(heartbeat_interval=0.02))
        async with serving(gateway) as port, talking(port) as talker, talking(port) as busy:
            await talker.ask("subscribe", channels=["/quiet"])
            await busy.ask("subscribe", channels=["/busy"])
            for _ in range(BEATS):
                receipt = await line.bus.publish("/busy", 1)
                while (await talker.until("position"))[-1]["position"] != str(receipt.position):
                    pass
            await wait_until(lambda: stretches() < BEATS / 2, within=1.0)


def stretches():
    gc.collect()
    return sum(isinstance(one, Stretch) for one in gc.get_objects())
