#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Make C headers of test vectors, at build time.

gen_vectors.py esp FILE.json    whole ESP packets, from esp_aead_vectors.json
gen_vectors.py aead             AES-GCM and ChaCha20-Poly1305 known answers, from the
                                package python3-cryptography-vectors where it is there
"""

import importlib.util
import json
import os
import re
import sys

COUNT_PER_GROUP = 5  # of the 15 that each group of a NIST file has


def c_row(*fields):
    return "\t{" + ", ".join(f if f in ("true", "false") else f'"{f}"' for f in fields) + "},"


def gcm_algo(key, tag):
    return f"aes{len(key) * 4}gcm{len(tag) // 2}"


def esp_rows(path):
    with open(path, encoding="ascii") as f:
        vectors = json.load(f)
    for v in vectors:
        gcm = v["alg"] == "AES-GCM-ESP"
        algo = gcm_algo(v["key"], "0" * 32) if gcm else "chacha20poly1305"
        yield c_row(algo, v["key"], v["nonce"], v["spi"], v["seq"], v["aad"], v["plaintext"],
                    v["ciphertext_icv"])


def records(path):
    """The records of a file of "name = value" lines, parted by empty lines."""
    record = {}
    with open(path, encoding="latin-1") as f:
        for line in f:
            line = line.strip()
            m = re.match(r"(\w+)\s*[=:]\s*(.*)", line)
            if m and not line.startswith("#"):
                record[m[1].lower()] = m[2]
            elif line.upper() == "FAIL":
                record["fail"] = line
            elif not line and record:
                yield record
                record = {}
    if record:
        yield record


def to_hex(value):
    """A value of the ChaCha20-Poly1305 files: text in quotes, or hex."""
    return value[1:-1].encode().hex() if value.startswith('"') else value.lower()


def gcm_rows(folder):
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".rsp"):
            continue
        for r in records(os.path.join(folder, name)):
            if "key" not in r or int(r["count"]) >= COUNT_PER_GROUP:
                continue
            if len(r["iv"]) != 24 or len(r["tag"]) not in (32, 24, 16):
                continue
            fail = "true" if "fail" in r else "false"
            yield c_row(gcm_algo(r["key"], r["tag"]), r["key"], r["iv"], r["aad"],
                        r.get("pt", ""), r["ct"], r["tag"], fail)


def chacha_rows(folder):
    for name in sorted(os.listdir(folder)):
        for r in records(os.path.join(folder, name)):
            if "key" not in r:
                continue
            nonce, aad = r.get("nonce", r.get("iv", "")), to_hex(r.get("ad", r.get("aad", "")))
            pt, ct = r.get("in", r.get("plaintext", "")), r.get("ct", r.get("ciphertext", ""))
            if len(nonce) != 24 or len(r["tag"]) != 32 or len(aad) > 400 or '\\' in pt:
                continue
            fail = "true" if "result" in r else "false"
            yield c_row("chacha20poly1305", r["key"].lower(), nonce.lower(), aad, to_hex(pt),
                        to_hex(ct), r["tag"].lower(), fail)


def aead_rows():
    spec = importlib.util.find_spec("cryptography_vectors")
    if spec is None or spec.origin is None:
        return
    ciphers = os.path.join(os.path.dirname(spec.origin), "ciphers")
    yield from gcm_rows(os.path.join(ciphers, "AES", "GCM"))
    yield from chacha_rows(os.path.join(ciphers, "ChaCha20Poly1305"))


def main():
    if sys.argv[1] == "esp":
        print("static const struct esp_vector esp_vectors[] = {")
        print("\n".join(esp_rows(sys.argv[2])))
    else:
        print("static const struct aead_vector aead_vectors[] = {")
        print("\n".join(aead_rows()))
    # Ends the table, so that it is valid C where there are no vectors at all.
    print("\t{0},\n};")


if __name__ == "__main__":
    main()
