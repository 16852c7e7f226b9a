"""Ten thousand messages on one stream, each of which must come back, in order.

Arguments: a sidecar's outbound port; a folder. Between the parts, a message now and then
keeps the stream in use until the folder has the file that the next part waits for. What has
come back is said on standard output: "<count>" after each part, "ok" after the stream's end.
"""

import os
import sys
import threading
import time

import grpc

sidecar, folder = sys.argv[1:]
PARTS = ((4_000, None), (9_000, "rotated"), (10_000, "drains"))
# Room below the next part's end for messages that are sent while waiting.
ROOM = 900
received = 0
news = threading.Condition()


def messages():
    number = 0
    for end, awaited in PARTS:
        spare = ROOM
        while awaited and not os.path.exists(os.path.join(folder, awaited)):
            if spare:
                spare -= 1
                yield str(number).encode()
                number += 1
            time.sleep(0.05)
        while number < end:
            yield str(number).encode()
            number += 1
        with news:
            if not news.wait_for(lambda: received >= end, timeout=300):
                print(f"{received} of {end}", flush=True)
                return
        print(end, flush=True)


options = (("grpc.default_authority", "greeter.shop:50051"), ("grpc.enable_retries", 0))
channel = grpc.insecure_channel(sidecar, options=options)

# The way is there once a call succeeds; the stream itself gets one try.
unary = channel.unary_unary("/shop.Greeter/Unary")
for _ in range(300):
    try:
        unary(b"", timeout=10)
        break
    except grpc.RpcError:
        time.sleep(0.2)

echo = channel.stream_stream("/shop.Greeter/Echo")
for answer in echo(messages(), wait_for_ready=True):
    assert int(answer) == received, (answer, received)
    with news:
        received += 1
        news.notify()
assert received == PARTS[-1][0], received
print("ok", flush=True)
