#!/usr/bin/env python3
"""An authenticator in software, to try passkeys and codes with curl. Its keys lie open in a file: it protects nothing.

    authenticator.py create ORIGIN    reads the answer of a `…/begin`, makes a passkey, prints the body of `…/complete`
    authenticator.py get ORIGIN       the same, signing with the passkey that it made
    authenticator.py code SECRET [N]  the six digits of an authenticator app (RFC 6238), of N times 30 s from now

The key is kept in $PASSKEY_DIR (default: .portcullis). Needs python3 and openssl.
"""

import base64
import hashlib
import hmac
import json
import os
import struct
import subprocess
import sys
import time

FOLDER = os.environ.get("PASSKEY_DIR", ".portcullis")
KEY, ABOUT = os.path.join(FOLDER, "passkey.pem"), os.path.join(FOLDER, "passkey.json")


def text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def data(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def openssl(*arguments, given=b""):
    run = subprocess.run(["openssl", *arguments], input=given, capture_output=True)
    if run.returncode != 0:
        sys.exit(f"openssl {arguments[0]}: {run.stderr.decode()}")
    return run.stdout


def client_data(kind, options, origin):
    said = {"type": kind, "challenge": options["challenge"], "origin": origin, "crossOrigin": False}
    return json.dumps(said).encode()


def authenticator_data(about, made):
    # User present, user verified, and a key beside where one was made (WebAuthn Level 2 §6.1).
    flags = 0x01 | 0x04 | (0x40 if made else 0)
    return hashlib.sha256(about["rp_id"].encode()).digest() + struct.pack(">BI", flags, about["count"])


def cbor_bytes(data):
    return b"\x59" + struct.pack(">H", len(data)) + data


def create(begun, origin):
    options = begun["options"]
    os.umask(0o077)
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", KEY)
    point = openssl("ec", "-in", KEY, "-pubout", "-outform", "DER")[-64:]
    about = {"id": text(os.urandom(32)), "user": options["user"]["id"], "rp_id": options["rp"]["id"], "count": 1}
    # {1: 2 (EC2), 3: -7 (ES256), -1: 1 (P-256), -2: x, -3: y} (RFC 9053 §7.1.1)
    key = b"\xa5\x01\x02\x03\x26\x20\x01\x21" + cbor_bytes(point[:32]) + b"\x22" + cbor_bytes(point[32:])
    own = data(about["id"])
    kept = authenticator_data(about, True) + bytes(16) + struct.pack(">H", len(own)) + own + key
    made = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData" + cbor_bytes(kept)
    client = client_data("webauthn.create", options, origin)
    return about, {"clientDataJSON": text(client), "attestationObject": text(made), "transports": ["internal"]}


def get(begun, origin):
    with open(ABOUT) as file:
        about = json.load(file)
    about["count"] += 1
    client, said = client_data("webauthn.get", begun["options"], origin), authenticator_data(about, False)
    signature = openssl("dgst", "-sha256", "-sign", KEY, given=said + hashlib.sha256(client).digest())
    return about, {
        "clientDataJSON": text(client),
        "authenticatorData": text(said),
        "signature": text(signature),
        "userHandle": about["user"],
    }


def ceremony(act, origin):
    begun = json.load(sys.stdin)
    if "challenge_id" not in begun:
        sys.exit(f"this is no challenge: {json.dumps(begun)}")
    about, response = act(begun, origin)
    with open(ABOUT, "w") as file:
        json.dump(about, file)
    credential = {"id": about["id"], "rawId": about["id"], "type": "public-key", "response": response}
    body = {"challenge_id": begun["challenge_id"], "credential": {**credential, "clientExtensionResults": {}}}
    print(json.dumps(body))


def code(secret, steps="0"):
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    step = struct.pack(">Q", int(time.time()) // 30 + int(steps))
    digest = hmac.new(key, step, hashlib.sha1).digest()
    at = digest[-1] & 15
    print(f"{(struct.unpack('>I', digest[at : at + 4])[0] & 0x7FFFFFFF) % 1000000:06}")


match sys.argv[1:]:
    case ["create", origin]:
        ceremony(create, origin)
    case ["get", origin]:
        ceremony(get, origin)
    case ["code", secret, *steps] if len(steps) < 2:
        code(secret, *steps)
    case _:
        sys.exit(__doc__)
