#!/usr/bin/env python3
"""Checks what `gatehouse audit export` wrote, without Gatehouse: verify.py EXPORT.jsonl [CHECKPOINTS]

CHECKPOINTS is a file with what `gatehouse audit checkpoint` printed at another time, or with published checkpoints, one a line.
Signatures are checked where the package `cryptography` is there. docs/audit.md explains the form. Exit codes: 0 as written, 1 not
as written, 4 as written but for losses that the chain itself tells of."""
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
    claims["jws"] = sha(jws.strip())
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


def read_kept(path, header):
    for line in filter(None, map(str.strip, open(path, encoding="utf-8"))):
        jws = json.loads(line)["checkpoint"] if line.startswith("{") else line
        claims = json.loads(unpack(jws.split(".")[1]))
        if (claims["instance"], claims.get("chain")) == (header["instance"], header.get("chain")):
            yield read_checkpoint(jws, header["keys"])


wrong, notes, seals, checkpoints, kept, events, unattested = [], [], {}, [], [], 0, 0
for line in open(sys.argv[1], encoding="utf-8", newline="\n"):
    line = line.rstrip("\n")
    record = json.loads(line)
    if "format" in record:
        header = record
    elif "seal" in record:
        said = [header["instance"]] + [record[name] for name in ("seal", "at", "previous", "count", "contents")]
        form = "gatehouse-seal-1" + (" " + header["chain"] if "chain" in header else "")
        if sha(form + "\n" + "".join(f"{part}\n" for part in said)) != record["hash"]:
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
        if record["event"].get("doubt") in ("forged", "repeated"):
            wrong.append(f"event {name} was put in by somebody else: {record['event']['doubt']}")
        unattested += record["event"].get("doubt") == "unattested"
        events += 1
if len(sys.argv) > 2:
    kept += read_kept(sys.argv[2], header)

# Each checkpoint names the one before, unless a version signed it that named none; what was pruned is not there any more.
# The first of an export names one that is not in it.
checkpoints.sort(key=lambda claims: claims["seal"])
pruned = max((claims["seal"] for claims in checkpoints if claims.get("pruned")), default=0)
nameable, lost = None, []
for claims in checkpoints:
    if claims.get("pruned"):
        continue
    this, prev = {"seal": claims["seal"], "hash": claims["jws"]}, claims.get("prev")
    if prev and nameable is not None and prev not in nameable and prev["seal"] > pruned:
        wrong.append(f"the checkpoint of seal {prev['seal']}, which that of seal {claims['seal']} names, is missing")
    nameable = [this] if prev else (nameable or []) + [this]
    broken = claims.get("break")
    if broken:
        told = f"break at seal {claims['seal']}: {broken['cause']}, known {broken['known']}, found {broken['found']}"
        is_loss = broken["cause"] in ("database-went-back", "chain-went-back")
        # Right after an upgrade from a version that remembered nothing, it is as it has to be.
        is_upgrade = broken["cause"] == "nothing-remembered" and not any(
            "prev" in other for other in checkpoints if other["seal"] < claims["seal"]
        )
        if not is_upgrade:
            (notes if is_loss else wrong).append(told)
        if is_loss:
            lost.append((broken["found"]["seal"], broken["known"]["seal"]))

newest = max(seals, default=0)
for claims in checkpoints + kept:
    number = claims["seal"]
    following = seals.get(number + 1, {}).get("previous", claims["hash"])
    is_other = seals.get(number, {"hash": following})["hash"] != claims["hash"] or number > newest
    if (claims["instance"], claims.get("chain")) != (header["instance"], header.get("chain")):
        wrong.append(f"the checkpoint of seal {number} is of another instance or chain")
    elif is_other and claims in kept and any(found < number <= known for found, known in lost):
        notes.append(f"seal {number}, which a kept checkpoint tells of, was lost in a break")
    elif is_other and not (number > newest and claims in checkpoints):
        wrong.append(f"seal {number} is not the one that was signed")
signed = max((claims["seal"] for claims in checkpoints + kept), default=0)
wrong += [f"seal {number} is not signed" for number in seals if number > signed]
# The house signs every minute, and its newest seal before it puts another behind it: no signature may cover more time.
stretch = []
signatures = {claims["seal"]: claims for claims in checkpoints}
for number in sorted(seals):
    stretch.append(number)
    if number in signatures:
        first = not signatures[number].get("prev") or signatures[number].get("break", {}).get("cause") == "nothing-remembered"
        if not first and seals[number]["at"] - seals[stretch[0]]["at"] > 600_000_000:
            wrong.append(f"seals {stretch[0]} to {number} were not signed in time")
        stretch = []

if unattested:
    print(f"{unattested} events were written without a code: by a version that wrote none, or by somebody else")
print("\n".join(wrong + notes) or f"{events} events in {len(seals)} seals are as they were written")
sys.exit(1 if wrong else 4 if notes else 0)
