"""The peer's side of `search.py`, run by the interpreter of an environment that holds it.

PYTHON _search_peer.py serve CORPUS     a retrieval server as Search-R1's and SkyRL's examples
                                        have it: FastAPI, a query a call, bm25s
PYTHON _search_peer.py play PLAN        skyrl-gym's SearchEnv against a server
"""

import json
import re
import resource
import socket
import sys
import time
from typing import Any


def serve(path: str) -> None:
    """Serve a corpus, a passage a line: [id, title, [sentence, ...]]; print the port."""
    import bm25s
    import Stemmer
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    stemmer = Stemmer.Stemmer("english")

    def analysed(text: str) -> list[str]:
        words: list[str] = stemmer.stemWords(re.findall(r"\w+", text.lower()))
        return words

    documents = []
    tokens = []
    with open(path) as file:
        for line in file:
            id, title, sentences = json.loads(line)
            text = " ".join(sentences)
            documents.append({"id": id, "contents": f'"{title}"\n{text}'})
            tokens.append(analysed(title) * 2 + analysed(text))
    index = bm25s.BM25()
    index.index(tokens, show_progress=False)

    class QueryRequest(BaseModel):
        query: str
        topk: int | None = None
        return_scores: bool = False

    app = FastAPI()

    @app.post("/retrieve")
    def retrieve(request: QueryRequest) -> dict[str, Any]:
        known = [word for word in set(analysed(request.query)) if word in index.vocab_dict]
        if not known:
            return {"result": [[]]}
        places, scores = index.retrieve([known], k=request.topk or 3, show_progress=False)
        found = [
            {"document": documents[place], "score": score}
            for place, score in zip(places[0].tolist(), scores[0].tolist(), strict=True)
        ]
        return {"result": [found]}

    # Named as TCP, or asyncio leaves Nagle's delay on: 40 ms an answer.
    plug = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    plug.bind(("127.0.0.1", 0))
    print(plug.getsockname()[1], flush=True)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    server.run(sockets=[plug])


def play(plan: str) -> None:
    """Play episodes: what to say in each, from a file; print steps and seconds a round."""
    from skyrl_gym.envs.search.env import SearchEnv, SearchEnvConfig

    with open(plan) as file:
        asked = json.load(file)
    config = SearchEnvConfig(search_url=asked["url"], topk=3)
    print("ready", flush=True)
    for line in sys.stdin:
        count = int(line)
        begun, used = time.perf_counter(), _cpu_s()
        steps = 0
        for number in range(count):
            turns, answer = asked["episodes"][number % len(asked["episodes"])]
            extras = {"reward_spec": {"ground_truth": {"target": [answer]}}, "max_turns": 4}
            env = SearchEnv(config, extras)
            env.init([{"role": "user", "content": "?"}])
            for turn in turns:
                env.step(f"<search>{turn}</search>")
            env.step(f"<answer>{answer}</answer>")
            steps += len(turns) + 1
        print(json.dumps([steps, time.perf_counter() - begun, _cpu_s() - used]), flush=True)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    {"serve": serve, "play": play}[sys.argv[1]](sys.argv[2])
