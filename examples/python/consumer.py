"""Prints the callpop connector's calls, a line of JSON each.

    pip install -r requirements.txt
    python consumer.py nats://127.0.0.1:4222

An event is acknowledged once its line is written: what a crash leaves comes again.
Repeats carry the same ce-id, and those among the last 10,000 are dropped.
"""

import asyncio
import json
import signal
import sys
from collections import OrderedDict

import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

TYPE, VERSION, WINDOW = "callpop.v1", 1, 10_000


class Wrong(Exception):
    """A message that will be as wrong at its next delivery."""


def decode(message):
    """Returns the event's id and body; raises Wrong, without anything personal."""
    headers = message.headers or {}
    event, kind = headers.get("ce-id"), headers.get("ce-type")
    if not event or kind != TYPE:
        raise Wrong(f"ce-id is {event!r}, ce-type {kind!r}: expected an id and {TYPE!r}")
    try:
        body = json.loads(message.data)
    except ValueError:
        raise Wrong(f"event {event!r} is no JSON") from None
    version = body.get("version") if isinstance(body, dict) else None
    if version != VERSION:
        raise Wrong(f"event {event!r} is of version {repr(version)[:40]}: expected {VERSION}")
    if body.get("id") != event:
        raise Wrong(f"event {event!r} has another id in its body")
    if not all(isinstance(body.get(part, {}), dict) for part in ("agent", "pop", "customer")):
        raise Wrong(f"event {event!r} is no {TYPE}")
    return event, body


def handle(body):
    """The effect: here goes what you do with a call."""
    mode = body.get("pop", {}).get("mode", "unknown")
    # The customer's number is in body["customer"]: it is personal, and not printed.
    line = {"id": body["id"], "key": body["key"], "agent": body.get("agent", {}).get("id", "unknown"), "mode": mode}
    print(json.dumps(line, ensure_ascii=False), flush=True)


async def main(url):
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    connection = await nats.connect(url, name="python", max_reconnect_attempts=-1)
    stream = connection.jetstream()
    calls = await stream.pull_subscribe(
        f"{TYPE}.>", durable="python",
        config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.EXPLICIT, ack_wait=30),
    )
    seen = OrderedDict()  # ids, the oldest first
    while not stop.is_set():
        try:
            messages = await calls.fetch(batch=100, timeout=1)
        except asyncio.TimeoutError:  # nothing now; nats.errors.TimeoutError is one of these
            continue
        for message in messages:
            try:
                event, body = decode(message)
            except Wrong as error:
                print(f"passed over: {error}", file=sys.stderr)
                await message.term()
                continue
            if event not in seen:
                handle(body)
                seen[event] = True
                if len(seen) > WINDOW:
                    seen.popitem(last=False)
            await message.ack()
    await connection.flush()  # the last acknowledgements
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "nats://127.0.0.1:4222"))
