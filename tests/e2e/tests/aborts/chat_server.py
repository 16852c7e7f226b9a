"""A WebSocket server that says its version, then echoes. Arguments: address, version."""

import asyncio
import sys

import websockets


async def main(address, version):
    async def chat(socket):
        await socket.send(version)
        async for message in socket:
            await socket.send(message)

    host, port = address.split(":")
    async with websockets.serve(chat, host, int(port)):
        await asyncio.Future()


asyncio.run(main(*sys.argv[1:]))
