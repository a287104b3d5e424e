"""What a full queue says to whom it turns away: in how many seconds those who wait are answered."""

import math
from typing import Any

from gradio.queueing import Queue


def say_the_wait(queue: Queue) -> None:
    """Have a queue name the waiting time when it is full; `gradio_words.js` shows it.

    Args:
        queue: Of a page; only the instance is changed.
    """
    push = queue.push

    async def push_or_say(*args: Any, **kwargs: Any) -> tuple:
        taken, said, state = await push(*args, **kwargs)
        if state == "queue_full":
            said = (
                f"expected a place in the queue, found all {queue.max_size} taken; try again in about "
                f"{_seconds(queue)} seconds."
            )
        return taken, said, state

    queue.push = push_or_say


def _seconds(queue: Queue) -> int:
    """Until all who wait are answered, by how long each event took so far; a second where none did."""
    waits = [
        sum(queue.process_time_per_fn[event.fn].avg_time or 1 for event in line.queue)
        / (line.concurrency_limit or 1)
        for line in queue.event_queue_per_concurrency_id.values()
    ]
    return math.ceil(max(waits, default=1))
