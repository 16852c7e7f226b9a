"""Websockets by Debian's python3-websockets. Argument: the server."""

import asyncio
import sys

import websockets


async def main(server):
    async with websockets.connect(
        f"ws://{server}/chat", subprotocols=["chat"], max_size=1 << 24
    ) as socket:
        assert socket.subprotocol == "chat", socket.subprotocol
        for message in ["short", "ü" * 100_000, bytes(range(256)) * 8192, ""]:
            await socket.send(message)
            assert await socket.recv() == message
        await asyncio.wait_for(await socket.ping(), 30)
    assert socket.close_code == 1000, socket.close_code
    try:
        await websockets.connect(f"ws://{server}/closed")
    except websockets.InvalidStatusCode as refused:
        assert refused.status_code == 403, refused
    else:
        raise AssertionError("it was let in")


asyncio.run(main(sys.argv[1]))
print("ok")
