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
    "hub": {"event", "sync", "trace"},
    "runtime": set(),
    "serve": {"event", "hub", "runtime", "sync"},
    "test_util": {"grip", "runtime", "serve", "subscription"},
    "sync": set(),
    "trace": set(),
}
# The hub has no clock, starts no task and knows no HTTP.
NOT_IN_HUB = re.compile(r"\bhttp(_body)?::|Instant::now|SystemTime|thread::spawn|crate::runtime")

US = ("eventstream", "0.1.0")
# What users build: the most crates, and those that must not be among them. jwt-simple asks for a newer Rust than we do,
# and surf brings what is old: both are opt-in and documented as that.
GRAPHS = [
    ("lean", 40, {"async-std", "hyper", "tokio"}, ["--no-default-features"]),
    ("default", 75, {"async-std"}, []),
    ("opt-in", 100, set(), ["--features=async-std,rustls,smol,test-util,tokio,tracing"]),
]


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


def version(text: str | None) -> tuple[int, ...]:
    numbers = [int(part) for part in (text or "0").split(".")]
    return tuple(numbers + [0] * (3 - len(numbers)))


def crates(*features: str) -> set[tuple[str, str]]:
    """Name and version of all crates that users get with these features."""
    tree = ["cargo", "tree", "--locked", "--edges=normal", "--prefix=none", "--format={p}", *features]
    lines = subprocess.check_output(tree, text=True).splitlines()
    return {(name, number.removeprefix("v")) for name, number in (line.split()[:2] for line in lines if line)} - {US}


def graphs() -> list[str]:
    """How large the graphs are, and crates in them that declare a newer Rust than we do."""
    metadata = ["cargo", "metadata", "--locked", "--all-features", "--format-version=1"]
    packages = json.loads(subprocess.check_output(metadata))["packages"]
    asks = {(package["name"], package["version"]): version(package["rust_version"]) for package in packages}
    wrong = []
    for build, most, banned, features in GRAPHS:
        graph = sorted(crates(*features))
        print(f"{len(graph)} crates in the {build} build, of {most} at most")
        if len(graph) > most:
            wrong.append(f"the {build} build has {len(graph)} crates, over {most}")
        wrong += [f"the {build} build has {name}" for name, _ in graph if name in banned]
        new = [crate for crate in graph if asks[crate] > asks[US]]
        wrong += [f"{name} asks for Rust {'.'.join(map(str, asks[name, number]))}" for name, number in new]
    return wrong


if __name__ == "__main__":
    wrong = arrows() + graphs()
    print("\n".join(wrong) or "arrows, graphs and Rust versions hold")
    sys.exit(bool(wrong))
