"""Foreign clients through a real gateway. See scripts/foreign-clients.sh."""

import asyncio
import datetime
import json
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc
import jwt
import websockets
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import upstream

HOST = "acme.example.test"
TENANT = "00000000-0000-0000-0000-000000000001"
EDGE = """
hostnames:
  - {{ hostname: {host}, tenant: acme, certificate: {{ chain: edge.crt, key: edge.key }}, services: [calls, sockets] }}
tenants:
  - {{ slug: acme, id: {tenant} }}
issuers:
  - {{ issuer: "https://id.example.test", jwks: {{ file: jwks.json }}, audiences: [foreign], algorithms: [ES256], tenant_claim: tid }}
upstreams:
  - {{ name: calls, peers: ["127.0.0.1:{grpc}"], plaintext: true, http2: true, assertion: off, timeouts: {{ read: 2s }} }}
  - {{ name: sockets, peers: ["127.0.0.1:{ws}"], plaintext: true, assertion: off, timeouts: {{ read: 2s }} }}
services:
  - name: calls
    upstream: calls
    routes:
      - {{ path: /open.Service/**, access: public }}
      - {{ path: /closed.Service/**, access: authenticated }}
  - name: sockets
    upstream: sockets
    routes:
      - {{ path: /open, access: public }}
      - {{ path: /closed, access: authenticated }}
      - {{ path: /short, access: authenticated, max_stream: 3s }}
"""


def holds(what, condition):
    print(f"{'ok  ' if condition else 'FAIL'} {what}", flush=True)
    holds.failed |= not condition


holds.failed = False


def certificate(folder):
    """A certificate of its own authority for HOST, as PEM files; the PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    (folder / "edge.crt").write_bytes(pem)
    (folder / "edge.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return pem


def issuer(folder):
    """Writes the issuer's key set; a function that mints tokens."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    public |= {"kid": "1", "alg": "ES256", "use": "sig"}
    (folder / "jwks.json").write_text(json.dumps({"keys": [public]}))

    def mint(seconds):
        now = int(time.time())
        claims = {"iss": "https://id.example.test", "sub": "ann", "aud": "foreign", "tid": TENANT, "iat": now}
        return jwt.encode(claims | {"exp": now + seconds}, key, "ES256", {"kid": "1"})

    return mint


def serving(gateway, folder):
    """Starts the gateway; it and its port."""
    config = "listen: { https: '127.0.0.1:0', http: null, metrics: '127.0.0.1:0' }\nfeed: { file: edge.yaml }\n"
    (folder / "gateway.yaml").write_text(config)
    log = open(folder / "log", "w+")
    process = subprocess.Popen([gateway, "--config", "gateway.yaml"], cwd=folder, stderr=log)
    for _ in range(200):
        for line in (folder / "log").read_text().splitlines():
            line = json.loads(line) if line.startswith("{") else {}
            if line.get("message") == "serving":
                return process, int(line["https"].strip("[]").split(",")[0].rsplit(":", 1)[1])
        if process.poll() is not None:
            break
        time.sleep(0.1)
    sys.exit("the gateway does not serve:\n" + (folder / "log").read_text())


async def calls(port, pem, mint):
    options = (("grpc.ssl_target_name_override", HOST), ("grpc.default_authority", HOST))
    credentials = grpc.ssl_channel_credentials(root_certificates=pem)
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=options) as channel:
        token = (("authorization", f"Bearer {mint(300)}"),)
        unary = channel.unary_unary("/closed.Service/Unary")
        call = unary(b"hello", metadata=token, timeout=30)
        answer = await call
        first, last = dict(await call.initial_metadata()), dict(await call.trailing_metadata())
        holds("grpc: a unary call, and its deadline at the server", answer == b"hello with a deadline")
        holds("grpc: metadata before and after the answer", first.get("x-first") == "1" and last.get("x-last") == "1")
        holds("grpc: the server is told the tenant", last.get("x-tenant") == TENANT)

        times = []
        async for message in channel.unary_stream("/open.Service/Count")(b"10"):
            times.append((message, time.monotonic()))
        holds("grpc: a stream of answers, all of them", [m for m, _ in times] == [str(n).encode() for n in range(10)])
        holds("grpc: each as it comes", times[-1][1] - times[0][1] > 0.3)

        async def pieces():
            for _ in range(64):
                yield b"x" * 65536

        answer = await channel.stream_unary("/open.Service/Total")(pieces())
        holds("grpc: a stream of requests", answer == str(64 * 65536).encode())

        both = channel.stream_stream("/open.Service/Echo")()
        said = []
        for word in (b"one", b"two", b"three"):
            await both.write(word)
            said.append(await both.read())
        await asyncio.sleep(3)
        await both.write(b"late")
        said.append(await both.read())
        await both.done_writing()
        end = await both.read()
        holds("grpc: words both ways, each answered before the next", said[:3] == [b"one", b"two", b"three"])
        holds("grpc: and after a silence longer than the upstream's read timeout", said[3] == b"late")
        holds("grpc: which ends well", end is grpc.aio.EOF and await both.code() == grpc.StatusCode.OK)

        large = await channel.unary_unary("/open.Service/Unary")(b"x" * 3_000_000)
        holds("grpc: a message of 3 MB each way", len(large) == 3_000_000)

        for path, metadata, code in (
            ("/open.Service/Fail", (), grpc.StatusCode.NOT_FOUND),
            ("/open.Service/Nothing", (), grpc.StatusCode.UNIMPLEMENTED),
            ("/closed.Service/Unary", (), grpc.StatusCode.UNAUTHENTICATED),
            ("/closed.Service/Unary", (("authorization", "Bearer nonsense"),), grpc.StatusCode.UNAUTHENTICATED),
            ("/unknown.Service/Unary", token, grpc.StatusCode.UNIMPLEMENTED),
        ):
            try:
                await channel.unary_unary(path)(b"", metadata=metadata)
                got = grpc.StatusCode.OK
            except grpc.aio.AioRpcError as error:
                got = error.code()
                if path.endswith("Fail"):
                    holds("grpc: a failure has its words", error.details() == "no such thing: \u00fc")
            holds(f"grpc: {path} {'with' if metadata else 'without'} a credential is {got.name}", got == code)

        short = (("authorization", f"Bearer {mint(3)}"),)
        stream = channel.unary_stream("/closed.Service/Forever")(b"", metadata=short)
        began, code = time.monotonic(), None
        try:
            async for _ in stream:
                pass
        except grpc.aio.AioRpcError as error:
            code = error.code()
        took = time.monotonic() - began
        holds(f"grpc: a stream ends with its token ({took:.1f} s, {code.name if code else 'OK'})", code and took < 6)


async def sockets(port, pem, mint):
    context = ssl.create_default_context(cadata=pem.decode())

    def connect(path, token=None, **more):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        url = f"wss://{HOST}:{port}{path}"
        return websockets.connect(
            url, ssl=context, host="127.0.0.1", port=port, additional_headers=headers, max_size=None, **more
        )

    async with connect("/closed", mint(300), ping_interval=None) as socket:
        for message in ("text \u00fc", b"\x00bytes\xff", "x" * 1_000_000):
            await socket.send(message)
            holds(f"websocket: {type(message).__name__} of {len(message)}", await socket.recv() == message)
        await (await socket.ping())
        holds("websocket: ping and pong", True)
        await asyncio.sleep(3)
        await socket.send("late")
        holds("websocket: after a silence longer than the upstream's read timeout", await socket.recv() == "late")
        await socket.close(4000, "enough")
    holds("websocket: closed as it was asked for", socket.close_code == 4000)

    for path, token, status in (("/closed", None, 401), ("/closed", "nonsense", 401), ("/nowhere", mint(300), 404)):
        try:
            await connect(path, token)
            got = 101
        except websockets.InvalidStatus as error:
            got = error.response.status_code
        holds(f"websocket: {path} {'with' if token else 'without'} a credential is {got}", got == status)

    for path, token, why in (("/closed", mint(3), "token"), ("/short", mint(300), "route")):
        began = time.monotonic()
        async with connect(path, token, ping_interval=None) as socket:
            await socket.send("hello")
            await socket.recv()
            try:
                await asyncio.wait_for(socket.recv(), 10)
                ended = False
            except websockets.ConnectionClosed:
                ended = True
        took = time.monotonic() - began
        holds(f"websocket: ends with its {why} ({took:.1f} s)", ended and 2 < took < 6)


async def main(gateway):
    server, grpc_port, socket_server, ws_port = await upstream.start()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        pem, mint = certificate(folder), issuer(folder)
        (folder / "edge.yaml").write_text(EDGE.format(host=HOST, tenant=TENANT, grpc=grpc_port, ws=ws_port))
        process, port = serving(gateway, folder)
        try:
            print(f"grpcio {grpc.__version__}, websockets {websockets.__version__}, gateway on port {port}")
            await calls(port, pem, mint)
            await sockets(port, pem, mint)
        finally:
            process.terminate()
            process.wait()
    await server.stop(None)
    socket_server.close()
    sys.exit(1 if holds.failed else 0)


asyncio.run(main(str(Path(sys.argv[1]).resolve())))
