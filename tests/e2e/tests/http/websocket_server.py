"""A WebSocket server that echoes, and refuses the path /closed."""

import asyncio
import http
import sys

import websockets


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def refuse(path, headers):
    if path == "/closed":
        return http.HTTPStatus.FORBIDDEN, [], b"closed\n"


async def main(host, port):
    options = {"process_request": refuse, "subprotocols": ["chat"], "max_size": 1 << 24}
    async with websockets.serve(echo, host, int(port), **options):
        await asyncio.Future()


asyncio.run(main(*sys.argv[1].split(":")))
