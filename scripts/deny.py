#!/usr/bin/env python3
"""What `cargo deny check` would say of bans and licences, for machines without cargo-deny.

Reads deny.toml and `cargo tree` (all platforms, without development dependencies), prints one line
a fault and exits 1 when there is any. Needs Python 3.11.
"""
import re
import subprocess
import sys
import tomllib

# One TLS stack with one crypto provider: rustls on aws-lc-rs.
FOREIGN_TLS = {"boring", "boring-sys", "native-tls", "openssl", "openssl-sys", "ring"}
LICENCE = re.compile(r"[A-Za-z0-9.+-]+(?: WITH [A-Za-z0-9.-]+)?")


def dependencies():
    """(name, version, licence expression) of all that gets compiled in."""
    tree = subprocess.run(
        ["cargo", "tree", "--locked", "--edges=normal,build", "--target=all", "--prefix=none", "--format={p}\t{l}"],
        check=True, stdout=subprocess.PIPE, text=True,
    ).stdout
    found = set()
    for line in tree.splitlines():
        package, _, licence = line.removesuffix(" (*)").partition("\t")
        name, version = package.split()[:2]
        found.add((name, version, licence))
    return sorted(found)


def acceptable(expression, allowed):
    """Whether an SPDX expression can be satisfied from the allowed licences."""

    def verdict(match):
        word = match.group()
        return word.lower() if word in ("AND", "OR") else str(word in allowed)

    formula = LICENCE.sub(verdict, expression.replace("/", " OR "))
    if not re.fullmatch(r"(?:True|False|and|or|[() ])+", formula):
        return False
    return eval(formula)  # nothing but True, False, and, or, brackets is left


def by_crate(entries):
    return {(e.get("crate") or e.get("name")).partition("@")[0]: e for e in entries}


def main():
    with open("deny.toml", "rb") as file:
        rules = tomllib.load(file)
    licences = rules.get("licenses", {})
    allowed = set(licences.get("allow", []))
    if not allowed:
        sys.exit("deny.toml has no list licenses.allow: write one, so that licences can be checked")
    exceptions = by_crate(licences.get("exceptions", []))
    clarified = by_crate(licences.get("clarify", []))
    banned = by_crate({"crate": e} if isinstance(e, str) else e for e in rules.get("bans", {}).get("deny", []))

    tree = dependencies()
    names = {name for name, _, _ in tree}
    faults = []
    if "rustls" in names and "aws-lc-rs" not in names:
        faults.append("rustls is in the tree without aws-lc-rs: enable its feature aws_lc_rs")
    for name, version, licence in tree:
        if name in FOREIGN_TLS or (name in banned and not banned[name].get("wrappers")):
            faults.append(f"{name} {version} is banned: see who brings it with `cargo tree --target=all -i {name}`")
        licence = clarified.get(name, {}).get("expression", licence)
        if not acceptable(licence, allowed | set(exceptions.get(name, {}).get("allow", []))):
            faults.append(f"{name} {version} has the licence '{licence or 'none'}', which deny.toml does not allow")
    print("\n".join(faults) or f"{len(tree)} crates: rustls on aws-lc-rs alone, all licences allowed")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
