# SPDX-License-Identifier: BSD-3-Clause
"""app/front/ike.h for Python: its structs as ctypes has them, and its numbers.

The header is plain: structs of integers, of arrays and of structs before them.
"""

import ast
import ctypes
import os
import re

import swan

PATH = os.environ.get("PCPU_IKE_H", os.path.join(swan.TOP, "app", "front", "ike.h"))
INTEGERS = {f"{sign}int{bits}_t": getattr(ctypes, f"c_{sign}int{bits}")
            for sign in ("u", "") for bits in (8, 16, 32, 64)}
INTEGERS |= {f"rte_be{bits}_t": INTEGERS[f"uint{bits}_t"] for bits in (16, 32, 64)}
INTEGERS["char"] = ctypes.c_char


def value(text, names):
    """A constant expression: numbers, names, +, -, *, |, <<."""
    text = re.sub(r"\b(0x[\da-fA-F]+|\d+)[uUlL]+\b", r"\1", text.strip())
    text = re.sub(r"\b[A-Za-z_]\w*\b(?!')", lambda m: str(names[m.group(0)]), text) \
        if not text.startswith('"') else text
    tree = ast.parse(text, mode="eval")
    allowed = (ast.Expression, ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop)
    if not all(isinstance(node, allowed) for node in ast.walk(tree)):
        raise ValueError(f"ike.h: not a constant: {text}")
    return eval(compile(tree, "ike.h", "eval"))  # pylint: disable=eval-used


def parse(text):
    """Structs and numbers by name."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.S)
    text = text.replace("\\\n", " ")
    names = {}
    for name, expression in re.findall(r"^[ \t]*#[ \t]*define[ \t]+(\w+)[ \t]+(\S.*)$", text, re.M):
        try:
            names[name] = value(expression, names)
        except (KeyError, ValueError, SyntaxError):
            continue  # nothing that a test wants to know
    structs = {}
    for kind, name, body in re.findall(r"\b(enum|struct)\s*(\w*)\s*\{([^{}]*)\}[^;{}]*;", text):
        if kind == "enum":
            number = -1
            for item in filter(None, (i.strip() for i in body.split(","))):
                key, _, expression = item.partition("=")
                number = value(expression, names) if expression else number + 1
                names[key.strip()] = number
        else:
            structs[name] = struct(name, body, names, structs)
    return structs, names


def struct(name, body, names, structs):
    """A ctypes.Structure of the fields in a body."""
    fields = []
    for line in filter(None, (part.strip() for part in body.split(";"))):
        kind, rest = re.match(r"(struct\s+\w+|enum\s+\w+|\w+)\s+(.*)$", line, re.S).groups()
        base = structs[kind.split()[1]] if kind.startswith("struct") else INTEGERS[kind]
        for item in rest.split(","):
            field, *sizes = re.findall(r"\w[^\[\]]*", item.strip())
            this = base
            for size in reversed(sizes):
                this = this * value(size, names)
            fields.append((field.strip(), this))
    return type(name, (ctypes.Structure,), {"_fields_": fields})


with open(PATH, encoding="utf-8") as _f:
    STRUCTS, NUMBERS = parse(_f.read())

# Requests by number, and the struct of each
LAYOUT = {"HELLO": "hello", "ALLOC_SPI": "alloc_spi", "SA_ADD": "sa_add", "SA_UPDATE": "sa_update",
          "SA_DEL": "sa_ref", "SA_QUERY": "sa_ref", "SA_KEEP": "sa_ref", "POL_ADD": "policy",
          "POL_DEL": "policy", "SYNC_END": "sync_end", "FLUSH": "flush"}
TYPES = {NUMBERS[f"IKE_{n}"]: n for n in LAYOUT}


def layout(name):
    """The struct of a message."""
    return STRUCTS[f"ike_{name}"]
