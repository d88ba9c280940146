"""A gRPC server and a WebSocket server for clients.py. Messages are bytes: no protobuf is needed to show who carries them."""

import asyncio

import grpc
import websockets


def _metadata(context):
    return {key: value for key, value in context.invocation_metadata()}


async def unary(request, context):
    sent = _metadata(context)
    await context.send_initial_metadata((("x-first", "1"),))
    context.set_trailing_metadata((("x-last", "1"), ("x-tenant", sent.get("x-md-global-tenant-id", "-"))))
    # What is left of the client's deadline, as the server sees it.
    left = context.time_remaining()
    return request + (b" with a deadline" if left is not None and left < 60 else b"")


async def count(request, context):
    for number in range(int(request)):
        yield str(number).encode()
        await asyncio.sleep(0.05)


async def total(requests, context):
    length = 0
    async for request in requests:
        length += len(request)
    return str(length).encode()


async def echo(requests, context):
    async for request in requests:
        yield request


async def fail(request, context):
    await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: \u00fc")


async def forever(request, context):
    yield b"begun"
    await asyncio.sleep(3600)


def handlers():
    methods = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Total": grpc.stream_unary_rpc_method_handler(total),
        "Echo": grpc.stream_stream_rpc_method_handler(echo),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Forever": grpc.unary_stream_rpc_method_handler(forever),
    }
    # The same service behind a route for everybody and behind one for callers with a token.
    return [grpc.method_handlers_generic_handler(name, methods) for name in ("open.Service", "closed.Service")]


async def talk(socket):
    try:
        async for message in socket:
            await socket.send(message)
    except websockets.ConnectionClosed:
        pass


async def start():
    """Both servers; the port of each."""
    server = grpc.aio.server(options=(("grpc.max_receive_message_length", -1),))
    server.add_generic_rpc_handlers(handlers())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sockets = await websockets.serve(talk, "127.0.0.1", 0, max_size=None)
    return server, port, sockets, sockets.sockets[0].getsockname()[1]
