"""A control API that is fuzzed by itself: its configuration, and a tenant with an administrator, as a standalone's demo has them.

    control_api.py configure FOLDER     writes control-api.yaml
    control_api.py populate FOLDER      waits until it serves, makes the tenant and writes ready.json
"""

import json
import os
import secrets
import socket
import sys
import time
import urllib.error

STEP, FOLDER = sys.argv[1:]
FILE = os.path.join(FOLDER, "ready.json")


def write(name, text):
    with open(os.path.join(FOLDER, name), "w", encoding="utf-8") as file:
        file.write(text)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def configure():
    node = {
        "control_api": f"127.0.0.1:{free_port()}",
        "internal": f"127.0.0.1:{free_port()}",
        "platform_admin": {"username": "platform-admin", "password": secrets.token_urlsafe(24) + "aA1-"},
        "tenants": [{"hostname": "acme.localhost", "users": []}],
    }
    write("ready.json", json.dumps(node))
    write("master.key", secrets.token_hex(32))
    write("admin.password", node["platform_admin"]["password"])
    write(
        "control-api.yaml",
        f"""environment: dev
database: {{ url: "postgres://set-by-the-environment", migrate: true, master_key: "file:{FOLDER}/master.key" }}
listeners:
  public: "127.0.0.1:{free_port()}"
  admin: "{node['control_api']}"
  internal: "{node['internal']}"
  metrics: "127.0.0.1:{free_port()}"
bootstrap: {{ admin_password: "file:{FOLDER}/admin.password" }}
""",
    )


def populate():
    os.environ["FUZZ_NODE"] = FILE
    import client

    for _ in range(600):
        try:
            if client.call("GET", "/readyz")[0] == 200:
                break
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.1)
    else:
        raise SystemExit("it does not serve")
    staff = client.sign_in()

    def made(method, path, body):
        status, answer = client.call(method, path, body, staff)
        if status not in (200, 201, 202):
            raise SystemExit(f"{method} {path} answered {status}: {answer}")
        return answer

    tenant = client.NODE["tenants"][0]
    customer = made("POST", "/v1/customers", {"code": "acme", "name": "Acme"})["id"]
    made("PUT", f"/v1/customers/{customer}/kyc", {"status": "completed"})
    body = {"slug": "acme", "name": "Acme", "customer_id": customer, "status": "active"}
    tenant["id"] = made("POST", "/v1/tenants", body | {"issuer": "https://acme.localhost"})["id"]
    made("POST", "/v1/hostnames", {"hostname": tenant["hostname"], "tenant_id": tenant["id"]})
    roles = made("GET", f"/v1/roles?tenant_id={tenant['id']}", None)["items"]
    admin = next(role["id"] for role in roles if role["name"] == "admin")
    user = {"role": "admin", "username": "admin", "password": secrets.token_urlsafe(24) + "aA1-"}
    body = {"username": user["username"], "password": user["password"], "role_ids": [admin]}
    user["id"] = made("POST", f"/v1/tenants/{tenant['id']}/users", body)["id"]
    tenant["users"] = [user]
    write("ready.json", json.dumps(client.NODE))


{"configure": configure, "populate": populate}[STEP]()
