"""Requests that are many, that wait, and that are late."""

import http.client
import json
import threading
import time
from urllib.parse import urlsplit


class Load:
    """So many clients that ask again and again until it ends; nobody asks twice the same."""

    def __init__(self, url, clients, body, pause=0.0):
        self.where, self.body, self.pause = urlsplit(url), body, pause
        self.over = threading.Event()
        self.seen = {}
        self.threads = [threading.Thread(target=self.client, args=(number,)) for number in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def client(self, number):
        connection = http.client.HTTPConnection(self.where.hostname, self.where.port, timeout=60)
        asked = 0
        while not self.over.is_set():
            asked += 1
            body = self.body | {"seed": number * 1_000_000 + asked, "model": "sim"}
            body["messages"] = [{"role": "user", "content": f"question {asked} of {number}, {time.time()}"}]
            try:
                connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                self.seen[answer.status] = self.seen.get(answer.status, 0) + 1
            except (OSError, http.client.HTTPException):
                connection.close()
            self.over.wait(self.pause)
        connection.close()


QUICK = {"sim": {"tokens": 1}}
SLOW = {"max_tokens": 200, "sim": {"ttft_ms": 2000, "tokens": 1}}
LATE = {"stream": True, "max_tokens": 20, "sim": {"ttft_ms": 1600, "tokens": 1}}
