"""Every kind of gRPC call, by grpcio. Arguments: the server; a sidecar's outbound port."""

import queue
import sys

import grpc

server, sidecar = sys.argv[1:]
channel = grpc.insecure_channel(server)


def refused(code, call):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, error
        return error
    raise AssertionError("it was answered")


unary = channel.unary_unary("/shop.Greeter/Unary")
answer, call = unary.with_call(b"x" * 100_000, timeout=30, wait_for_ready=True)
assert answer == b"x" * 100_000
assert ("x-seen", "100000") in call.trailing_metadata(), call.trailing_metadata()

stream = channel.unary_stream("/shop.Greeter/Stream")
assert [int(n) for n in stream(b"1000", timeout=30)] == list(range(1000))

total = channel.stream_unary("/shop.Greeter/Total")
assert total((str(n).encode() for n in range(1000)), timeout=30) == b"499500"

# Each message waits for the answer to the one before: nothing may be held back.
messages = queue.Queue()
echo = channel.stream_stream("/shop.Greeter/Echo")
answers = echo(iter(messages.get, None), timeout=50)
for number in range(100):
    messages.put(str(number).encode())
    assert next(answers) == str(number).encode()
messages.put(None)
assert list(answers) == []

fail = channel.unary_unary("/shop.Greeter/Fail")
error = refused(grpc.StatusCode.NOT_FOUND, lambda: fail(b"", timeout=30))
assert error.details() == "näh: 100 %", error.details()
nothing = channel.unary_unary("/shop.Greeter/Nothing")
refused(grpc.StatusCode.UNIMPLEMENTED, lambda: nothing(b"", timeout=30))

waiting = channel.unary_stream("/shop.Greeter/Wait")(b"", timeout=60)
assert next(waiting) == b"begun"
waiting.cancel()
was_cancelled = channel.unary_unary("/shop.Greeter/WasCancelled")
assert was_cancelled(b"", timeout=40) == b"yes"

# The server's event is set by now, so a stream whose requests never end stands for it.
endless = queue.Queue()
refused(
    grpc.StatusCode.DEADLINE_EXCEEDED,
    lambda: list(echo(iter(endless.get, None), timeout=0.5)),
)
endless.put(None)

# What the sidecar refuses itself, it refuses as gRPC does.
options = (("grpc.default_authority", "nothing.shop"),)
stranger = grpc.insecure_channel(sidecar, options=options)
error = refused(
    grpc.StatusCode.UNIMPLEMENTED,
    lambda: stranger.unary_unary("/shop.Greeter/Unary")(b"", timeout=30),
)
assert "WEFT-4001" in error.details(), error.details()
options = (("grpc.default_authority", "greeter.shop:50051"),)
through = grpc.insecure_channel(sidecar, options=options)
assert through.unary_unary("/shop.Greeter/Unary")(b"by sidecar", timeout=30) == b"by sidecar"
print("ok")
