#!/usr/bin/env python3
"""Sends one request each of many tenants and says what that took of a proxy's memory, and what it kept of it.

usage: tenants.py ADDRESS ADMIN PID COUNT IDLE_SECONDS
"""

import http.client
import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

address, admin, pid, count, idle = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])
CONNECTIONS = 8
# So many requests are on their way on one connection.
TOGETHER = 16
BODY = b'{"model":"sim","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}'


def resident_mib():
    with open(f"/proc/{pid}/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def accounts():
    connection = http.client.HTTPConnection(admin, timeout=30)
    connection.request("GET", "/metrics")
    for line in connection.getresponse().read().decode().splitlines():
        if line.startswith("outrigger_rate_limit_accounts"):
            return int(float(line.split()[-1]))
    return 0


def send(first):
    """The requests of every CONNECTIONS-th tenant, on one connection."""
    host, port = address.split(":")
    done = 0
    with socket.create_connection((host, int(port)), timeout=60) as stream:
        answers = stream.makefile("rb")
        tenants = list(range(first, count, CONNECTIONS))
        for start in range(0, len(tenants), TOGETHER):
            some = tenants[start : start + TOGETHER]
            head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            asked = [
                f"{head}authorization: Bearer sk-{tenant}\r\ncontent-length: {len(BODY)}\r\n\r\n".encode() + BODY
                for tenant in some
            ]
            stream.sendall(b"".join(asked))
            for _ in some:
                status, length = answers.readline(), 0
                while (line := answers.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                answers.read(length)
                done += status.split()[1] == b"200"
    return done


before = resident_mib()
begun = time.monotonic()
with ThreadPoolExecutor(CONNECTIONS) as pool:
    done = sum(pool.map(send, range(CONNECTIONS)))
took = time.monotonic() - begun
full, kept = resident_mib(), accounts()
time.sleep(idle)
after, left = resident_mib(), accounts()
result = {
    "tenants": count,
    "answered": done,
    "seconds": round(took, 1),
    "resident_mib_before": round(before, 1),
    "resident_mib_full": round(full, 1),
    "resident_mib_idle": round(after, 1),
    "bytes_a_tenant": round((full - before) * 1024 * 1024 / count),
    "accounts_full": kept,
    "accounts_idle": left,
}
print(json.dumps(result, indent=2))
sys.exit(0 if done == count and left == 0 else 1)
