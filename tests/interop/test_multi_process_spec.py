"""Several processes on one file: what message_bus's own suite asks of them (item 86)."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path

from trunkline import Trunkline

CHILDREN, QUESTIONS = 10, 10
CHILD = """
import asyncio, os, sys
from trunkline import Trunkline

async def main():
    async with Trunkline(sys.argv[1]) as line:
        async with line.subscribe("/echo", after=0) as questions:
            async for question in questions:
                if question.data == "end":
                    return
                await line.publish("/response", [int(sys.argv[2]), question.data])

asyncio.run(main())
"""


async def test_ten_processes_answer_ten_messages_each_exactly_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'line.db'}"
    async with Trunkline(url) as line, line.subscribe("/response", after=0) as answers:
        children = [
            await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, url, str(number))
            for number in range(CHILDREN)
        ]
        for number in range(QUESTIONS):
            await line.publish("/echo", number)
        got = Counter()
        async with asyncio.timeout(60):
            for turn in range(CHILDREN * QUESTIONS):
                answer = await anext(answers)
                assert answer.message_id == turn + 1
                got[tuple(answer.data)] += 1
            assert got == Counter(
                (child, number) for child in range(CHILDREN) for number in range(QUESTIONS)
            )
            await line.publish("/echo", "end")
            assert [await child.wait() for child in children] == [0] * CHILDREN
        assert await line.last_id("/response") == CHILDREN * QUESTIONS
