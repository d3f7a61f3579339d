"""A mixed load of twenty seconds: streams, repeats, errors, several models and tenants, and a backend that fails for a while."""

import http.client
import json
import random
import threading
import time
from urllib.parse import urlsplit

from stage import fetch

SECONDS = 20
CLIENTS = 6
PAUSE = 0.16


def chat(model, text, **more):
    return "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": text}], **more}


def requests(random, number):
    """One request of the mix (its route, its body, who asks), and how often it comes at once."""
    tenant = random.choices(["acme", "beta", "walk-in-1", "walk-in-2"], [5, 3, 2, 1])[0]
    model = random.choices(["llama-70b", "llama-8b"], [2, 3])[0]
    fresh = f"question {number} of {tenant}: " + "words and more words " * random.randint(1, 12)
    kinds = {
        "plain": (25, chat(model, fresh, max_tokens=random.randint(4, 40))),
        "stream": (35, chat(model, fresh, stream=True, max_tokens=random.randint(8, 60))),
        "repeat": (16, chat("llama-8b", f"What is asked often, number {random.randint(1, 6)}?", max_tokens=12)),
        "together": (6, chat(model, f"What all ask now, {number}?", stream=True, max_tokens=40)),
        "lively": (6, chat(model, fresh, temperature=0.9, max_tokens=8)),
        "embed": (5, ("/v1/embeddings", {"model": "embed", "input": fresh})),
        "slow": (4, chat(model, fresh, stream=True, sim={"ttft_ms": 500})),
        "cut": (2, chat(model, fresh, stream=True, sim={"fault": "cut", "at": 3})),
        "stalls": (1.5, chat(model, fresh, stream=True, sim={"fault": "stall_after", "at": 2})),
        "refused": (2, chat(model, fresh, sim={"status": 429, "retry_after": "1"})),
        "unknown": (2, chat("no-such-model", fresh)),
        "broken": (1, ("/v1/chat/completions", {"messages": "none"})),
    }
    kind = random.choices(list(kinds), [weight for weight, _ in kinds.values()])[0]
    route, body = kinds[kind][1]
    headers = {"x-tenant": tenant, "x-outrigger-budget-tag": random.choice(["search", "chat"])}
    return (route, body, headers), 3 if kind == "together" else 1


def send(stage, request, leaves, seen):
    """One request on a connection of its own; who leaves does so in the middle of the answer."""
    where = urlsplit(stage.url("listen"))
    route, body, headers = request
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=15)
    try:
        connection.request("POST", route, json.dumps(body), {"content-type": "application/json", **headers})
        answer = connection.getresponse()
        answer.read(64 if leaves else None)
        seen.append(answer.status)
    except (OSError, http.client.HTTPException):
        seen.append("cut")
    finally:
        connection.close()


def client(stage, seed, until, seen):
    chance = random.Random(seed)
    number = seed
    while time.monotonic() < until:
        number += CLIENTS
        request, times = requests(chance, number)
        leaves = bool(request[1].get("stream")) and times == 1 and chance.random() < 0.05
        together = [threading.Thread(target=send, args=(stage, request, leaves, seen)) for _ in range(times)]
        for thread in together:
            thread.start()
        for thread in together:
            thread.join()
        time.sleep(PAUSE * chance.uniform(0.5, 1.5))


def backend_that_fails(stage, began):
    """From the seventh to the tenth second one backend fails, later it is slow."""
    for at, config in [(7, {"status": 500}), (10, {}), (14, {"ttft_ms": 150, "gap_ms": 12}), (18, {})]:
        time.sleep(max(0, began + at - time.monotonic()))
        fetch(stage.url("second") + "/sim/config", config)


def run(stage):
    """The statuses that clients saw."""
    began, seen = time.monotonic(), []
    threads = [threading.Thread(target=client, args=(stage, seed, began + SECONDS, seen)) for seed in range(CLIENTS)]
    threads.append(threading.Thread(target=backend_that_fails, args=(stage, began)))
    for thread in threads:
        # Who is told to end does not wait for them.
        thread.daemon = True
        thread.start()
    for thread in threads:
        thread.join()
    # The last scrape, and the rules after it.
    time.sleep(2.5)
    return {status: seen.count(status) for status in sorted(set(seen), key=str)}
