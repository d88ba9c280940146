"""What the control API's processor time is for each of a few things that are asked of it very often.

    measure.py FOLDER PID     FOLDER as control_api.py leaves it; PID is the control API's
"""

import http.client
import json
import os
import sys
import threading
import time

FOLDER, PID = sys.argv[1:]
SECONDS, AT_ONCE = float(os.environ.get("EACH", "5")), int(os.environ.get("CLIENTS", "8"))
os.environ["FUZZ_NODE"] = os.path.join(FOLDER, "ready.json")
import client  # noqa: E402

TENANT = client.TENANT
ADMIN = TENANT["users"][0]
with open(os.path.join(FOLDER, "service.key"), encoding="utf-8") as file:
    SERVICE_KEY = file.read()


class Connection:
    """One connection to a listener, which asks one thing after another."""

    def __init__(self, address, token=None, host=None):
        self.to = http.client.HTTPConnection(address, timeout=60)
        self.headers = {"content-type": "application/json"}
        if token:
            self.headers["authorization"] = f"Bearer {token}"
        if host:
            self.headers["host"] = host

    def ask(self, method, path, body=None):
        self.to.request(method, path, json.dumps(body) if body is not None else None, self.headers)
        answer = self.to.getresponse()
        read = answer.read()
        if answer.status not in (200, 201):
            raise SystemExit(f"{method} {path} answered {answer.status}: {read.decode()}")
        return json.loads(read)


def internal():
    return Connection(client.NODE["internal"], SERVICE_KEY)


def signing_in():
    to = Connection(client.NODE["control_api"], host=TENANT["hostname"])
    body = {"username": ADMIN["username"], "password": ADMIN["password"]}
    return lambda: to.ask("POST", "/api/v1/tenant/auth/login", body)


def refreshing():
    tokens, to = signing_in()(), internal()

    def refresh():
        body = {"refresh_token": tokens["refresh_token"], "tenant_id": TENANT["id"]}
        tokens.update(to.ask("POST", "/v1/internal/tokens/refresh", body))

    return refresh


def looking_up_permissions():
    to, path = internal(), f"/v1/internal/users/{ADMIN['id']}/permissions?tenant_id={TENANT['id']}"
    return lambda: to.ask("GET", path)


def verifying_a_token():
    token, to = signing_in()()["access_token"], internal()
    return lambda: to.ask("POST", "/v1/internal/tokens/verify", {"token": token, "tenant_id": TENANT["id"]})


def verifying_a_key():
    token, to = signing_in()()["access_token"], internal()
    own = Connection(client.NODE["control_api"], token)
    key = own.ask("POST", "/v1/api-keys", {"name": f"costs {threading.get_ident()}", "tenant_id": TENANT["id"]})["secret"]
    return lambda: to.ask("POST", "/v1/internal/api-keys/verify", {"key": key, "tenant_id": TENANT["id"]})


def processor_seconds():
    """Of the whole process so far (proc_pid_stat(5), utime and stime)."""
    with open(f"/proc/{PID}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(what, begin):
    """Has it done by all clients at once for a while."""
    doing, counts, failed = [begin() for _ in range(AT_ONCE)], [0] * AT_ONCE, []
    over = threading.Event()

    def run(at):
        try:
            while not over.is_set():
                doing[at]()
                counts[at] += 1
        except (Exception, SystemExit) as error:  # said below, where it ends the program
            failed.append(error)

    threads = [threading.Thread(target=run, args=(at,)) for at in range(AT_ONCE)]
    began, before = time.monotonic(), processor_seconds()
    for thread in threads:
        thread.start()
    over.wait(SECONDS)
    over.set()
    for thread in threads:
        thread.join()
    took, used = time.monotonic() - began, processor_seconds() - before
    if failed:
        raise SystemExit(f"{what}: {failed[0]}")
    print(f"| {what} | {sum(counts) / took:.0f} | {used / sum(counts) * 1e6:.0f} |", flush=True)


THINGS = {
    "sign-in": signing_in,
    "refresh": refreshing,
    "permission look-up": looking_up_permissions,
    "token verified": verifying_a_token,
    "API key verified": verifying_a_key,
}
ASKED = os.environ.get("ONLY")
print("| What | a second | CPU of the control API, µs each |\n|---|---|---|")
for what, begin in THINGS.items():
    if ASKED in (None, what):
        measured(what, begin)
