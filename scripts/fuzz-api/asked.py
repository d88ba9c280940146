"""Whether the node still lets in who asked."""

import client

status, answer = client.call("GET", "/v1/me", token=client.sign_in())
if status != 200:
    raise SystemExit(f"{client.WHO} is nobody any more: {status} {answer}")
