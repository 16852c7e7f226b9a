"""A gRPC server whose messages are bytes: grpcio's own, without generated code."""

import sys
import threading
from concurrent import futures

import grpc

cancelled = threading.Event()


def unary(request, context):
    context.set_trailing_metadata((("x-seen", str(len(request))),))
    return request


def stream(request, context):
    for number in range(int(request)):
        yield str(number).encode()


def total(requests, context):
    return str(sum(int(request) for request in requests)).encode()


def echo(requests, context):
    for request in requests:
        yield request


def fail(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "näh: 100 %")


def wait(request, context):
    context.add_callback(cancelled.set)
    yield b"begun"
    cancelled.wait(60)


def was_cancelled(request, context):
    return b"yes" if cancelled.wait(30) else b"no"


def handlers():
    return {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Stream": grpc.unary_stream_rpc_method_handler(stream),
        "Total": grpc.stream_unary_rpc_method_handler(total),
        "Echo": grpc.stream_stream_rpc_method_handler(echo),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Wait": grpc.unary_stream_rpc_method_handler(wait),
        "WasCancelled": grpc.unary_unary_rpc_method_handler(was_cancelled),
    }


server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
service = grpc.method_handlers_generic_handler("shop.Greeter", handlers())
server.add_generic_rpc_handlers((service,))
server.add_insecure_port(sys.argv[1])
server.start()
server.wait_for_termination()
