"""Whether the node still lets in who asked, and did all along; and whether it let in nobody who was nobody."""

import json
import os

import client

with open(os.environ["FUZZ_NOTES"], encoding="utf-8") as file:
    notes = json.load(file)
if notes["open"]:
    raise SystemExit(f"these answered to nobody: {notes['open']}")
if client.WHO != "nobody":
    status, answer = client.call("GET", "/v1/me", token=client.sign_in())
    if status != 200:
        raise SystemExit(f"{client.WHO} is nobody any more: {status} {answer}")
    turned_away = notes["turned_away"] / max(notes["asked"], 1)
    if turned_away > 0.05:
        raise SystemExit(f"{turned_away:.0%} of {notes['asked']} requests were turned away at the door")
print(f"asked {notes['asked']} times, turned away at the door {notes['turned_away']} times")
