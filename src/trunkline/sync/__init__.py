"""The line for code that can't await: Django, Flask, scripts and shells.

Everything runs on the one implementation, on an event loop in a background thread::

    from trunkline.sync import Trunkline

    with Trunkline("sqlite:///app.db") as line:
        line.publish("/orders", {"id": 7})
        for message in line.subscribe("/orders", after=0):
            print(message.data)
"""

from __future__ import annotations

from trunkline.sync.iteration import Iteration
from trunkline.sync.line import Trunkline

__all__ = ["Iteration", "Trunkline"]
