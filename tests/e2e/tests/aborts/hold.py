"""Holds WebSockets and CONNECT tunnels to both versions of a service, and says when one is closed.

Arguments: `websocket HOST` or `tunnel PROXY HOST`. Opens until each version is met twice. Prints JSON
lines: {"open": ["v1", ...]}, then {"closed": VERSION, "at": UNIX TIME} for each that is; after SIGTERM
{"works": VERSION} for each that still does.
"""

import asyncio
import collections
import http.client
import json
import signal
import sys
import time

import websockets

EACH = 2
# None of a half or all of it by chance: once in 2^60.
TRIES = 60


class WebSocket:
    async def open(self, host):
        self.socket = await websockets.connect(f"ws://{host}/")
        self.version = await self.socket.recv()

    async def closed(self):
        await self.socket.wait_closed()

    async def works(self):
        await self.socket.send("still here")
        return await self.socket.recv() == "still here"


class Tunnel:
    async def open(self, proxy, host):
        address, port = proxy.split(":")
        self.client = http.client.HTTPConnection(address, int(port), timeout=20)
        self.client.set_tunnel(host, 80)
        self.version = self.ask()

    def ask(self):
        self.client.request("GET", "/")
        return json.loads(self.client.getresponse().read())["version"]

    async def closed(self):
        # Nothing was asked: readable is closed.
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.client.sock, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self.client.sock)

    async def works(self):
        return self.ask() == self.version


def say(**what):
    print(json.dumps(what), flush=True)


async def watch(held, still):
    await held.closed()
    say(closed=held.version, at=time.time())
    still.remove(held)


async def main(kind, *where):
    still = []
    for _ in range(TRIES):
        met = collections.Counter(held.version for held in still)
        if min(met["v1"], met["v2"]) >= EACH:
            break
        held = {"websocket": WebSocket, "tunnel": Tunnel}[kind]()
        await held.open(*where)
        still.append(held)
    watching = [asyncio.create_task(watch(held, still)) for held in still]
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    say(open=sorted(held.version for held in still))
    await ended.wait()
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    for held in still:
        if await held.works():
            say(works=held.version)


asyncio.run(main(*sys.argv[1:]))
