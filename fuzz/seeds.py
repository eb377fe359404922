"""Writes the seeds that are the tests' vectors, in the form that each target reads. Run it at the top of the
repository after a change of tests/vectors/ and commit what it writes. Seeds of other names are kept."""

import json
from pathlib import Path

SEEDS = Path("fuzz/seeds")
VECTORS = Path("tests/vectors")


def cases(file: str) -> dict:
    return json.loads((VECTORS / f"{file}.json").read_text())


def write(target: str, name: str, seed: bytes) -> None:
    folder = SEEDS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"vector-{name}").write_bytes(seed)


def sized(text: str) -> bytes:
    """A text of `Input::text`: its length in one byte, then the text."""
    data = text.encode()
    return bytes([len(data)]) + data


for old in SEEDS.glob("*/vector-*"):
    old.unlink()

for case in cases("grip-url")["cases"]:
    if isinstance(case["input"], str):
        write("grip_url", case["name"], b"\0" + case["input"].encode())

for name, token in cases("grip-sig")["tokens"].items():
    if len(token) < 300:
        # A key, no issuer, and a value that nothing here made.
        write("grip_sig", name, b"\0\0\0" + token.encode())

for case in cases("direct-stream-bytes")["cases"]:
    expect, given = case["expect"], case["input"]
    if expect.get("body"):
        write("decoder", case["name"], b"\2\7" + expect["body"].encode()[:250])
    # Cases that are described in words have no list of pairs.
    publish = given.get("publish", []) if isinstance(given, dict) else []
    for _, event in (pair for pair in publish if len(pair) == 2):
        data = json.dumps(event.get("data"), ensure_ascii=False)
        name = event.get("event", "")
        if isinstance(name, str) and len(name.encode()) < 200:
            write("event", case["name"], b"\0" + sized(name) + b"\3\5" + data.encode()[:200])

for case in cases("hold-headers")["cases"]:
    channels = case["input"].get("channels", [])
    names = [name for name in channels if isinstance(name, str) and len(name.encode()) < 60][:4]
    if names:
        write("hold", case["name"], bytes([len(names)]) + b"".join(map(sized, names)))
