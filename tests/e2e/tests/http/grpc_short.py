"""A few gRPC calls through a sidecar. Argument: its outbound port."""

import sys

import grpc

options = (("grpc.default_authority", "greeter.shop:50051"),)
channel = grpc.insecure_channel(sys.argv[1], options=options)
assert channel.unary_unary("/shop.Greeter/Unary")(b"x", timeout=30) == b"x"
stream = channel.unary_stream("/shop.Greeter/Stream")
assert [int(n) for n in stream(b"200", timeout=30)] == list(range(200))
echo = channel.stream_stream("/shop.Greeter/Echo")
words = [str(n).encode() for n in range(200)]
assert list(echo(iter(words), timeout=30)) == words
print("ok")
