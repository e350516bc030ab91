#!/usr/bin/env python3
"""Checks what `gatehouse audit export` wrote, without Gatehouse: verify.py EXPORT.jsonl [CHECKPOINT]

CHECKPOINT is a file with what `gatehouse audit checkpoint` printed at another time. Signatures are checked where the package
`cryptography` is there. docs/audit.md explains the form."""
import base64
import hashlib
import json
import sys


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def unpack(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def read_checkpoint(jws, keys):
    signed, signature = jws.strip().rsplit(".", 1)
    head, claims = (json.loads(unpack(part)) for part in signed.split("."))
    try:
        from cryptography.hazmat.primitives.asymmetric import ec, utils
        from cryptography.hazmat.primitives.hashes import SHA256
    except ImportError:
        print("signatures are not checked: there is no package cryptography", file=sys.stderr)
        return claims
    key = next(key for key in keys if key["kid"] == head["kid"])
    x, y = (int.from_bytes(unpack(key[name]), "big") for name in "xy")
    r, s = (int.from_bytes(unpack(signature)[at : at + 32], "big") for at in (0, 32))
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    public.verify(utils.encode_dss_signature(r, s), signed.encode(), ec.ECDSA(SHA256()))
    return claims


wrong, seals, checkpoints, events = [], {}, [], 0
for line in open(sys.argv[1], encoding="utf-8", newline="\n"):
    line = line.rstrip("\n")
    record = json.loads(line)
    if "format" in record:
        header = record
    elif "seal" in record:
        said = [header["instance"]] + [record[name] for name in ("seal", "at", "previous", "count", "contents")]
        if sha("gatehouse-seal-1\n" + "".join(f"{part}\n" for part in said)) != record["hash"]:
            wrong.append(f"seal {record['seal']} was edited")
        if sha("".join(entry + "\n" for entry in record.get("entries", []))) != record["contents"] and "entries" in record:
            wrong.append(f"the entries of seal {record['seal']} were edited")
        if seals and seals.get(record["seal"] - 1, {}).get("hash") != record["previous"]:
            wrong.append(f"seal {record['seal']} does not follow the one before")
        seals[record["seal"]] = record
    elif "checkpoint" in record:
        checkpoints.append(read_checkpoint(record["checkpoint"], header["keys"]))
    else:
        # Byte for byte: what is parsed and written again may differ.
        before, event = line[:-1].split(',"event":', 1)
        name = record["event"]["id"]
        entry = f"{name} {record['event']['at']} {record['event']['kind']} {sha(event)}"
        if seals[record["of"]]["entries"][record["place"]] != entry:
            wrong.append(f"event {name} was edited or moved")
        if ',"person":{' in before and sha(before.split(',"person":', 1)[1]) != record["event"]["person"]:
            wrong.append(f"what identifies the person of event {name} was edited")
        events += 1
if len(sys.argv) > 2:
    checkpoints.append(read_checkpoint(open(sys.argv[2], encoding="utf-8").read(), header["keys"]))
for claims in checkpoints:
    following = seals.get(claims["seal"] + 1, {}).get("previous", claims["hash"])
    if claims["instance"] != header["instance"] or seals.get(claims["seal"], {"hash": following})["hash"] != claims["hash"]:
        wrong.append(f"seal {claims['seal']} is not the one that was signed")
newest = max((claims["seal"] for claims in checkpoints), default=0)
wrong += [f"seal {number} is not signed" for number in seals if number > newest]
print("\n".join(wrong) or f"{events} events in {len(seals)} seals are as they were written")
sys.exit(1 if wrong else 0)
