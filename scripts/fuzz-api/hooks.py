"""What schemathesis cannot know: how one signs in, and which ids are there.

A token that an operation ended (signing out is one) is replaced by another. Half of the ids that are drawn are replaced by those of
things that were made for this, so that operations come further than "there is no such thing"; what was deleted is made again.
"""

import atexit
import json
import os
import socket

import schemathesis

import client

# Who asks through the edge asks by the tenant's hostname, which is on this machine; not every resolver knows that.
look_up = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **named: look_up(
    "127.0.0.1" if str(host).endswith(".localhost") else host, *rest, **named
)

TOKEN = None
# How often things were made: names are taken once.
ROUNDS = 0
IDS = {}

# Members of bodies and of queries that hold the id of something.
MEMBERS = {
    "tenant_id": "tenants",
    "customer_id": "customers",
    "user_id": "users",
    "owner_id": "users",
    "role_id": "roles",
    "group_id": "groups",
    "ou_id": "org-units",
    "service_id": "services",
    "upstream_id": "upstreams",
    "hostname_id": "hostnames",
    "product_id": "products",
    "parent_id": "menus",
}


def token():
    global TOKEN
    if TOKEN is None:
        TOKEN = client.sign_in()
    return TOKEN


def make():
    """Makes one of everything, and notes its id by the part of a path that it stands behind."""
    global ROUNDS
    ROUNDS += 1
    name = f"fuzz-{os.getpid()}-{ROUNDS}"
    is_staff = client.WHO == "staff"

    def one(kind, path, body, method="POST"):
        status, answer = client.call(method, path, body, token())
        if status == 409 and kind in IDS:
            return
        # There are as many as there may be, made by who asked before: one of those does.
        if status == 409:
            status, listed = client.call("GET", path, None, token())
            answer = listed["items"][0]
        if status not in (200, 201, 202):
            raise SystemExit(f"{method} {path} answered {status}: {answer}")
        if "id" in answer:
            IDS[kind] = answer["id"]

    if is_staff:
        one("customers", "/v1/customers", {"code": name, "name": "Fuzz"})
        one("kyc", f"/v1/customers/{IDS['customers']}/kyc", {"status": "completed"}, "PUT")
        body = {"slug": name, "name": "Fuzz", "customer_id": IDS["customers"], "status": "active"}
        one("tenants", "/v1/tenants", body | {"issuer": f"https://{name}.localhost"})
        one("users", f"/v1/tenants/{IDS['tenants']}/users", {"username": name})
        one("hostnames", "/v1/hostnames", {"hostname": f"{name}.localhost", "tenant_id": IDS["tenants"]})
        one("upstreams", "/v1/upstreams", {"name": name, "peers": ["127.0.0.1:1"], "plaintext": True})
        one("services", "/v1/services", {"name": name, "upstream_id": IDS["upstreams"]})
        one("routes", "/v1/routes", {"service_id": IDS["services"], "path": f"/{name}/**", "access": "authenticated"})
        one("products", "/v1/products", {"key": name, "name": "Fuzz"})
    else:
        one("users", "/api/v1/tenant/users", {"username": name})
    of = {"tenant_id": IDS["tenants"]} if is_staff else {}
    query = f"?tenant_id={IDS['tenants']}" if is_staff else ""
    one("roles", f"/v1/roles{query}", {"name": name, "permissions": ["fuzz:fuzz:list"]})
    one("groups", f"/v1/groups{query}", {"name": name})
    one("org-units", f"/v1/org-units{query}", {"name": name})
    one("menus", f"/v1/menus{query}", {"key": name, "title": "Fuzz", "order": 1})
    one("api-keys", "/v1/api-keys", of | {"name": name, "scopes": [], "owner_id": IDS["users"]})
    one("webhooks", "/v1/webhooks", of | {"url": "https://example.com/fuzz", "events": ["*"]})


if client.WHO != "nobody":
    make()

# How often was asked; how often the door said no, whoever it is; which operations answered who has no token though they ask for one.
NOTES = {"asked": 0, "turned_away": 0, "open": []}


@atexit.register
def note():
    with open(os.environ["FUZZ_NOTES"], "w", encoding="utf-8") as file:
        json.dump(NOTES, file)


def takes_ours(value):
    """By what was drawn, so that a seed is the same run again."""
    return sum(map(ord, str(value))) % 2 == 0


def filled(drawn):
    if isinstance(drawn, dict):
        for name, kind in MEMBERS.items():
            if drawn.get(name) is not None and kind in IDS and takes_ours(drawn[name]):
                drawn[name] = IDS[kind]
    return drawn


@schemathesis.hook
def map_path_parameters(ctx, path_parameters):
    if not path_parameters:
        return path_parameters
    parts = ctx.operation.path.split("/")
    for before, part in zip(parts, parts[1:]):
        name = part.strip("{}")
        # Of what is under members of groups and units, users.
        kind = "users" if before == "members" else before
        if part.startswith("{") and kind in IDS and takes_ours(path_parameters.get(name)):
            path_parameters[name] = IDS[kind]
    return path_parameters


@schemathesis.hook
def map_query(ctx, query):
    # What is a tenant's is asked for by staff with the tenant.
    if client.WHO == "staff" and "tenant_id" in ctx.operation.query and takes_ours(query):
        query = (query or {}) | {"tenant_id": IDS["tenants"]}
    return filled(query)


@schemathesis.hook
def map_body(ctx, body):
    return filled(body)


@schemathesis.hook
def before_call(ctx, case, kwargs):
    headers = {name: value for name, value in (case.headers or {}).items() if name.lower() != "authorization"}
    if client.WHO != "nobody":
        headers["Authorization"] = f"Bearer {token()}"
    case.headers = headers


@schemathesis.hook
def after_call(ctx, case, response):
    global TOKEN
    status = response.status_code
    NOTES["asked"] += 1
    if client.WHO == "nobody":
        operation = case.operation
        # 404 and 405 are of addresses that are none, 400 of what is no HTTP.
        if operation.definition.raw.get("security") and status not in (400, 401, 404, 405):
            NOTES["open"].append(f"{status} {operation.label}")
        return
    if status == 401:
        TOKEN = None
    code = response.json().get("code", "") if status in (401, 429) else ""
    NOTES["turned_away"] += code in ("rate_limited", "credential_missing") or code.startswith("token_")
    ours = any(value in IDS.values() for value in (case.path_parameters or {}).values() if isinstance(value, str))
    if case.method.upper() == "DELETE" and status in (202, 204) and ours:
        make()
