"""Checks what the compiler does not: which module may use which, and what Rust the dependencies ask for."""

import json
import re
import subprocess
import sys
from pathlib import Path

# A module may use the ones named here, and itself. What is not named here (the façade) may use all.
MAY_USE = {
    "event": set(),
    "grip": {"runtime", "trace"},
    "hub": {"event", "trace"},
    "runtime": set(),
    "serve": {"event", "hub", "runtime"},
    "test_util": {"grip", "runtime", "serve", "subscription"},
    "trace": set(),
}
# The hub has no clock, starts no task and knows no HTTP.
NOT_IN_HUB = re.compile(r"\bhttp(_body)?::|Instant::now|SystemTime|thread::spawn|crate::runtime")


def uses(file: Path) -> set[str]:
    """The crate's own modules that a file names in code."""
    code = re.sub(r"//.*", "", file.read_text())
    return set(re.findall(r"\bcrate::(\w+)", code)) & {path.stem for path in Path("src").iterdir()}


def arrows() -> list[str]:
    wrong = []
    for module, allowed in MAY_USE.items():
        for file in sorted(Path("src", module).rglob("*.rs")):
            wrong += [f"{file} uses `{used}`" for used in sorted(uses(file) - allowed - {module})]
            if module == "hub" and (found := NOT_IN_HUB.search(re.sub(r"//.*", "", file.read_text()))):
                wrong.append(f"{file} has `{found[0]}`")
    return wrong


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def is_normal(kind: dict) -> bool:
    """Whether users get it: neither for tests and builds, nor for the model checker."""
    return kind["kind"] is None and kind["target"] != "cfg(eventstream_loom)"


def rust_versions() -> list[str]:
    """Crates of the normal graph that declare a newer Rust than we do."""
    metadata = json.loads(subprocess.check_output(["cargo", "metadata", "--locked", "--format-version=1"]))
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    ours = version(packages[root]["rust_version"])
    seen, todo = set(), [root]
    while todo:
        if (node := todo.pop()) not in seen:
            seen.add(node)
            todo += [dep["pkg"] for dep in nodes[node]["deps"] if any(map(is_normal, dep["dep_kinds"]))]
    print(f"{len(seen) - 1} crates in the normal graph")
    asks = [(packages[id]["name"], packages[id]["rust_version"]) for id in seen]
    return [f"{name} asks for Rust {rust}" for name, rust in asks if rust and version(rust) > ours]


if __name__ == "__main__":
    wrong = arrows() + rust_versions()
    print("\n".join(wrong) or "arrows and Rust versions hold")
    sys.exit(bool(wrong))
