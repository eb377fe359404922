"""Checks what the compiler does not: which module may use which, how large rooms and graphs are, that every
fuzz target is complete, and what Rust the dependencies ask for."""

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

SRC = Path("src")
# The storeys of the house, from the ground up. A module may use those below its own storey, and the
# neighbours that are named here; anything else is an arrow that runs up or sideways.
STOREYS = [
    {"percent": set(), "sync": set(), "trace": set()},
    {"event": set(), "runtime": {"wake"}, "wake": set(), "limits": {"runtime"}},
    {"grip": set(), "hub": set()},
    {"serve": set()},
    {"error": set()},
    {"proxy": set()},
    {"publishing": set()},
    {"core": set()},
    {"run": set(), "stats": set(), "subscription": set()},
    {"handler": set()},
    {"draining": set()},
    {"event_stream": set()},
    {"test_util": set()},
]
# What a module must not use although it lies below.
NOT_FOR = {
    "serve": {"grip"},  # the front door does not know whether there is a proxy
    "hub": {"runtime"},  # the time is an argument
    "wake": {"event"},
    "test_util": {"core", "error", "event", "event_stream", "handler", "hub", "proxy", "run"},
}
# The hub has no clock, starts no task and knows no HTTP.
NOT_IN_HUB = re.compile(r"\bhttp(_body)?::|Instant::now|SystemTime|thread::spawn")
# A handle and its builder need each other, as `http::Request` and its builder do.
PAIRS = {("event_stream", "event_stream/builder")}
LONGEST = 600  # lines of a file without its tests
WIDTH = 100  # columns of a comment
SWITCHES = 40  # `feature = "grip"` outside of the rooms that are GRIP's

US = ("eventstream", "0.1.0")
# What users build: the most crates, and those that must not be among them. jwt-simple asks for a newer
# Rust than this crate does, and surf brings unmaintained crates: both are opt-in and documented so.
GRAPHS = [
    ("lean", 40, {"async-std", "hyper", "tokio"}, ["--no-default-features"]),
    ("default", 75, {"async-std"}, []),
    ("opt-in", 100, set(), ["--features=async-std,rustls,smol,test-util,tokio,tracing"]),
]


def code_of(file: Path) -> str:
    """A file without its comments and its tests."""
    text = file.read_text().split("#[cfg(test)]\nmod tests {")[0]
    return re.sub(r"//.*", "", text)


def files() -> dict[str, str]:
    """All modules as paths (`hub/log`), and their code. A `mod.rs` is its folder."""
    found = {}
    for file in sorted(SRC.rglob("*.rs")):
        name = str(file.relative_to(SRC).with_suffix(""))
        if name != "lib" and not name.endswith("/tests"):
            found[name.removesuffix("/mod")] = code_of(file)
    return found


def uses(code: str) -> set[str]:
    """Paths that the code names with `crate::` or `super::`, braces expanded, as segments."""
    flat = re.sub(r"\s+", " ", code)
    return set(re.findall(r"\b((?:crate|self|super)(?:::(?:\w+|\{[^;]*?\}))+)", flat))


def targets(module: str, modules: dict[str, str]) -> set[str]:
    """The modules that a module imports, as far down as they can be told."""
    found, here = set(), module.split("/")
    for path in uses(modules[module]):
        for full in expand(path):
            segments = full.split("::")
            base = [] if segments[0] == "crate" else here[: len(here) - segments.count("super")]
            place = base + [segment for segment in segments if segment not in ("crate", "self", "super")]
            while place and "/".join(place) not in modules:
                place = place[:-1]
            if place:
                found.add("/".join(place))
    return found - {module}


def expand(path: str) -> list[str]:
    """`a::{b, c::D}` as `a::b` and `a::c::D`."""
    before, brace, inside = path.partition("{")
    if not brace:
        return [path]
    depth, part, parts = 0, "", []
    for char in inside[:-1]:
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += char
    return [full for part in [*parts, part] for full in expand(before + part.strip())]


def arrows(modules: dict[str, str]) -> list[str]:
    storey = {name: level for level, names in enumerate(STOREYS) for name in names}
    beside = {name: neighbours for names in STOREYS for name, neighbours in names.items()}
    wrong = []
    rooms = {name.split("/")[0] for name in modules} - {"guide"}
    wrong += [f"{name} has no storey" for name in sorted(rooms - storey.keys())]
    for module in modules:
        room = module.split("/")[0]
        if room not in storey:
            continue
        for used in sorted({target.split("/")[0] for target in targets(module, modules)} - {room}):
            below = storey.get(used, -1) < storey[room] and used not in NOT_FOR.get(room, set())
            if not below and used not in beside[room]:
                wrong.append(f"src/{module} uses `{used}`")
        if room == "hub" and (found := NOT_IN_HUB.search(modules[module])):
            wrong.append(f"src/{module} has `{found[0]}`")
    return wrong


def circles(modules: dict[str, str]) -> list[str]:
    """Modules that import each other. A `mod.rs` and the files below it are one room, so they may."""
    imports = {module: targets(module, modules) for module in modules}
    rooms = defaultdict(set)
    for module, used in imports.items():
        rooms[module.split("/")[0]] |= {target.split("/")[0] for target in used}
    found = {tuple(sorted((a, b))) for a, used in rooms.items() for b in used if a != b and a in rooms[b]}
    for a, used in imports.items():
        for b in used:
            related = a.startswith(f"{b}/") or b.startswith(f"{a}/")
            if not related and a in imports[b]:
                found.add(tuple(sorted((a, b))))
    return [f"{a} and {b} import each other" for a, b in sorted(found - PAIRS)]


def sizes(modules: dict[str, str]) -> list[str]:
    lines = {}
    for module in modules:
        file = SRC / f"{module}.rs"
        file = file if file.exists() else SRC / module / "mod.rs"
        lines[module] = file.read_text().split("#[cfg(test)]\nmod tests {")[0].count("\n")
    longest = max(lines, key=lines.get)
    print(f"the longest file is {longest} with {lines[longest]} lines without its tests")
    switches = sum(
        code.count('feature = "grip"')
        for module, code in modules.items()
        if module.split("/")[0] not in ("grip", "proxy")
    ) + code_of(SRC / "lib.rs").count('feature = "grip"')
    print(f"{switches} switches for `grip` outside of grip/ and proxy/, of {SWITCHES} at most")
    wrong = [f"src/{name} has {count} lines, over {LONGEST}" for name, count in lines.items() if count > LONGEST]
    if switches > SWITCHES:
        wrong.append(f"{switches} switches for `grip` outside of grip/ and proxy/, over {SWITCHES}")
    return wrong


def widths() -> list[str]:
    """Comments that are wider than the code may be: rustfmt leaves them alone."""
    names = subprocess.check_output(["git", "ls-files", "*.rs"], text=True).splitlines()
    return [
        f"{name}:{number} has over {WIDTH} columns"
        for name in names
        for number, line in enumerate(Path(name).read_text().splitlines(), 1)
        if len(line) > WIDTH and line.lstrip().startswith("//")
    ]


def fuzz_targets() -> list[str]:
    """Targets that lack their code, their seeds or a mention where all of them are listed."""
    fuzz, wrong = Path("fuzz"), []
    lists = {name: (fuzz / name).read_text() for name in ("Cargo.toml", "README.md", "tests/seeds.rs")}
    for target in sorted(file.stem for file in (fuzz / "fuzz_targets").glob("*.rs")):
        if not (fuzz / "src" / f"{target}.rs").exists():
            wrong.append(f"fuzz/src/{target}.rs is missing")
        if not any((fuzz / "seeds" / target).glob("*")):
            wrong.append(f"fuzz/seeds/{target} is empty")
        for name, text in lists.items():
            mention = {"Cargo.toml": f'name = "{target}"', "README.md": f"| `{target}` |"}.get(name, f'("{target}", ')
            if mention not in text:
                wrong.append(f"fuzz/{name} does not name {target}")
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
    """How large the graphs are, and crates in them that declare a newer Rust than this crate does."""
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
    modules = files()
    wrong = arrows(modules) + circles(modules) + sizes(modules) + widths() + fuzz_targets() + graphs()
    print("\n".join(wrong) or "arrows, circles, sizes, widths, fuzz targets, graphs and Rust versions hold")
    sys.exit(bool(wrong))
