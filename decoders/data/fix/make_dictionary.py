#!/usr/bin/env python3
"""Writes dictionary.txt and data_fields.txt from the FIX data dictionaries that the QuickFIX engine ships.

    pip download --no-deps --no-binary :all: quickfix==1.16.0    # the sdist; its spec/ folder holds FIX40.xml … FIXT11.xml
    tar xzf quickfix-1.16.0.tar.gz
    python3 make_dictionary.py quickfix-1.16.0/spec

The XML files are under the QuickFIX Software License 1.0 (LICENSE-QuickFIX.txt). What is kept: numbers and names of fields,
types and names of messages, members of repeating groups, and which field gives the length of which data field.
What is left out: enumerated values, required flags, data types. The formats are described in the first lines of each output.
"""

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

VERSIONS = ["FIX40", "FIX41", "FIX42", "FIX43", "FIX44", "FIX50", "FIX50SP1", "FIX50SP2", "FIXT11"]
SOURCE = "made by make_dictionary.py from the FIX data dictionaries of QuickFIX 1.16.0, see LICENSE-QuickFIX.txt"


class Groups:
    """Repeating groups of all messages; equal ones are stored once, inner ones before those that hold them."""

    def __init__(self):
        self.numbers = {}

    def add(self, count_tag, plain, inner):
        return self.numbers.setdefault((count_tag, tuple(sorted(plain)), tuple(sorted(inner))), len(self.numbers))


def members(node, tags, components, groups, path=()):
    """The plain tags and the group numbers that stand directly in a message, component or group."""
    plain, inner = [], []
    for child in node:
        name = child.get("name")
        if child.tag == "field":
            plain.append(tags[name])
        elif child.tag == "group":
            group_plain, group_inner = members(child, tags, components, groups, path)
            inner.append(groups.add(tags[name], group_plain, group_inner))
            plain.append(tags[name])
        elif child.tag == "component":
            if name in path:
                raise SystemExit(f"component {name} contains itself")
            more_plain, more_inner = members(components[name], tags, components, groups, path + (name,))
            plain += more_plain
            inner += more_inner
        else:
            raise SystemExit(f"unknown element {child.tag}")
    return plain, inner


def ranges(numbers):
    """1 2 3 7 as 1-3 7."""
    out = []
    for number in sorted(set(numbers)):
        if out and out[-1][1] == number - 1:
            out[-1][1] = number
        else:
            out.append([number, number])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in out)


def length_field(data_name, fields):
    """A data field's length field has its name with the ending Len or Length; where a name was shortened (41873), the number before."""
    by_name = {f.get("name"): int(f.get("number")) for f in fields}
    lengths = {int(f.get("number")) for f in fields if f.get("type") == "LENGTH"}
    for ending in ("Len", "Length"):
        if data_name + ending in by_name:
            return by_name[data_name + ending]
    if by_name[data_name] - 1 in lengths:
        return by_name[data_name] - 1
    raise SystemExit(f"no length field for {data_name}")


def main(spec):
    names, pairs, messages = {}, {}, []
    groups = Groups()
    roots = [ET.parse(spec / f"{version}.xml").getroot() for version in VERSIONS]
    # FIX 5.0 and later take their header from FIXT 1.1.
    transport = roots[-1]
    for index, root in enumerate(roots):
        tags = {f.get("name"): int(f.get("number")) for f in root.find("fields")}
        header_root = root if len(root.find("header")) else transport
        header_tags = {f.get("name"): int(f.get("number")) for f in header_root.find("fields")}
        for f in root.find("fields"):
            names.setdefault(int(f.get("number")), {}).setdefault(f.get("name"), []).append(index)
            if f.get("type") in ("DATA", "XMLDATA"):
                pairs[length_field(f.get("name"), list(root.find("fields")))] = int(f.get("number"))
        components = {c.get("name"): c for c in root.find("components")}
        header_components = {c.get("name"): c for c in header_root.find("components")}
        _, header_groups = members(header_root.find("header"), header_tags, header_components, groups)
        for m in root.find("messages"):
            _, inner = members(m, tags, components, groups)
            messages.append((index, m.get("msgtype"), m.get("name"), sorted(set(inner + header_groups))))

    lines = [
        f"# {SOURCE}",
        "# F tag name                    a field; where versions differ, each name with the versions that use it: name@0,1,2",
        "# G count_tag members > groups  a repeating group: its tags as ranges, and the numbers of the groups within; numbered from 0",
        "# M version type name groups    a message and the numbers of its groups",
        "# versions: " + " ".join(f"{i}={v}" for i, v in enumerate(VERSIONS)),
    ]
    for tag in sorted(names):
        variants = names[tag]
        if len(variants) == 1:
            lines.append(f"F {tag} {next(iter(variants))}")
        else:
            text = " ".join(f"{name}@{','.join(map(str, versions))}" for name, versions in variants.items())
            lines.append(f"F {tag} {text}")
    for count_tag, plain, inner in groups.numbers:
        lines.append(f"G {count_tag} {ranges(plain)} > {' '.join(map(str, inner))}".rstrip())
    for version, kind, name, inner in messages:
        if not re.fullmatch(r"[A-Za-z0-9]+", kind):
            raise SystemExit(f"odd message type {kind}")
        lines.append(f"M {version} {kind} {name} {' '.join(map(str, inner))}".rstrip())
    here = Path(__file__).resolve().parent
    (here / "dictionary.txt").write_text("\n".join(lines) + "\n")
    (here / "data_fields.txt").write_text(
        f"# {SOURCE}\n# tag of the length field, tag of the data field that follows it\n"
        + "".join(f"{length} {data}\n" for length, data in sorted(pairs.items()))
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
