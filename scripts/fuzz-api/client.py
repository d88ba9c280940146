"""A client of the node that is fuzzed: who asks, and a few calls."""

import json
import os
import urllib.error
import urllib.request

with open(os.environ["FUZZ_NODE"], encoding="utf-8") as file:
    NODE = json.load(file)
BASE = f"http://{NODE['control_api']}"
WHO = os.environ.get("FUZZ_AS", "staff")
TENANT = NODE["tenants"][0]


def call(method, path, body=None, token=None, host=None):
    """Status and body of an answer."""
    request = urllib.request.Request(BASE + path, method=method)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("content-type", "application/json")
    if token:
        request.add_header("authorization", f"Bearer {token}")
    if host:
        request.add_header("host", host)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


def sign_in():
    """An access token of whoever asks."""
    if WHO == "staff":
        person, path, host = NODE["platform_admin"], "/api/v1/auth/login", None
    else:
        person = next(user for user in TENANT["users"] if user["role"] == "admin")
        path, host = "/api/v1/tenant/auth/login", TENANT["hostname"]
    body = {"username": person["username"], "password": person["password"]}
    status, answer = call("POST", path, body, host=host)
    if status != 200:
        raise SystemExit(f"{WHO} cannot sign in: {status} {answer}")
    return answer["access_token"]
