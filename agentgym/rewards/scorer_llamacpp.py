"""A scorer that runs a GGUF model inside this process, by llama.cpp (xllamacpp)."""

from __future__ import annotations

import hashlib
import http.client
import secrets
import threading
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from agentgym import models
from agentgym.errors import ConfigError, PolicyError, RegistryError, RewardError, StageTimeout
from agentgym.policy.llamacpp import start_engine
from agentgym.rewards.scorer import CachedScorer, Ids, asker


class LlamaScorer(CachedScorer):
    """Log-probabilities of a GGUF model that runs inside this process, by llama.cpp.

    Each target token is forced by a bias and its raw log-probability read off: one evaluation a
    token, all that came before being kept. One thread, one request at a time. The model is loaded
    at the first request; `close` frees it.

    Args:
        path: A GGUF file; the default model (`agentgym.models.find("smollm2")`) if None.
        context: Most tokens of context and target together.
        timeout_s: Longest one evaluation may take.
        cache_mb: Memory for the state of contexts that may come again.
        cached: Answers that are kept.

    Raises:
        ConfigError: There is no such file, or a number is out of range.
        RegistryError: xllamacpp is not installed.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        context: int = 8192,
        timeout_s: float = 60.0,
        cache_mb: int = 256,
        cached: int = 65_536,
    ) -> None:
        super().__init__(cached)
        if context < 64:
            raise ConfigError(f"context is {context!r}: give at least 64 tokens")
        if not timeout_s > 0:
            raise ConfigError(f"timeout_s is {timeout_s!r}: give a number of seconds above 0")
        if find_spec("xllamacpp") is None:
            raise RegistryError(
                "the llamacpp scorer needs xllamacpp: pip install 'agentgym-env[llamacpp]'"
            )
        self.path = models.find("smollm2") if path is None else Path(path)
        if not self.path.is_file():
            raise ConfigError(f"{str(self.path)!r} is not a file: give the path of a GGUF model")
        self.context = context
        self.timeout_s = timeout_s
        self.cache_mb = cache_mb
        self._version = ""
        self._key = secrets.token_urlsafe(24)
        self._server: Any = None
        self._connection: http.client.HTTPConnection | None = None
        self._lock = threading.RLock()

    @property
    def weight_version(self) -> str:
        """The file's name and the start of its SHA-256."""
        if not self._version:
            with self.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._version = f"{self.path.name}:{digest[:16]}"
        return self._version

    def tokenize(self, text: str, *, start: bool = False) -> Ids:
        """As the model does, special tokens as such."""
        asked = {"content": text, "add_special": start, "parse_special": True}
        return tuple(self._post("/tokenize", asked)["tokens"])

    def detokenize(self, ids: Sequence[int]) -> str:
        """As the model does."""
        return str(self._post("/detokenize", {"tokens": list(ids)})["content"])

    def measure(self, context: Ids, target: Ids, about: str) -> Sequence[float]:
        """Token by token."""
        if not context:
            raise RewardError(f"{asker(about)}there is no context: give at least one token")
        if (needed := len(context) + len(target)) > self.context:
            raise RewardError(
                f"{asker(about)}{needed} tokens do not fit the scorer's context of {self.context}: "
                f"LlamaScorer(context={needed})"
            )
        seen, found = list(context), []
        for token in target:
            reply = self._post(
                "/completion",
                {
                    "prompt": seen,
                    "n_predict": 1,
                    "n_probs": 1,
                    "logit_bias": [[token, 1e4]],
                    "samplers": ["temperature"],
                    "temperature": 1.0,
                    "cache_prompt": True,
                    "response_fields": ["completion_probabilities"],
                },
                about,
            )
            told = reply.get("completion_probabilities") or [{}]
            if told[0].get("id") == token:
                found.append(float(told[0]["logprob"]))
            else:  # it ends within a character: nothing is said of what cannot be shown
                found.append(self._listed(seen, token, about))
            seen.append(token)
        return found

    def _listed(self, seen: list[int], token: int, about: str) -> float:
        """Its log-probability, from the list of the likeliest tokens, as long as need be."""
        for count in (256, 4096, 2**24):
            asked = {
                "prompt": seen,
                "n_predict": 1,
                "n_probs": count,
                "grammar": 'root ::= ""',  # an end of turn, which is always reported on
                "samplers": ["temperature"],
                "cache_prompt": True,
                "response_fields": ["completion_probabilities"],
            }
            for place in self._post("/completion", asked, about)["completion_probabilities"]:
                for entry in place["top_logprobs"]:
                    if entry["id"] == token:
                        return float(entry["logprob"])
        raise PolicyError(f"{asker(about)}llama.cpp does not tell how likely token {token} is")

    def close(self) -> None:
        """Stop the engine and free the model; closing twice is fine."""
        with self._lock:
            self._hang_up()
            self._server = None  # its destructor stops the threads and waits for them

    def __enter__(self) -> LlamaScorer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()  # which stops what it was computing

    def _post(self, path: str, payload: Mapping[str, Any], about: str = "") -> Any:
        request = orjson.dumps(payload)
        with self._lock:
            try:
                try:
                    status, body = self._once(path, request)
                except (ConnectionError, http.client.RemoteDisconnected):
                    self._hang_up()  # the engine does not keep idle connections
                    status, body = self._once(path, request)
            except TimeoutError as error:
                self._hang_up()
                raise StageTimeout(
                    f"{asker(about)}llama.cpp gave no answer in {self.timeout_s:g} s: give the "
                    "scorer a larger timeout_s, or shorter episodes"
                ) from error
            except (OSError, http.client.HTTPException) as error:
                self._hang_up()
                what = f"{type(error).__name__}: {error}"
                raise PolicyError(f"{asker(about)}llama.cpp: {what}") from error
        if status == 200:
            return orjson.loads(body)
        raise RewardError(
            f"{asker(about)}llama.cpp will not have it (HTTP {status}: "
            f"{body[:200].decode(errors='replace')}): are these another model's tokens? Score with "
            "the model that played"
        )

    def _once(self, path: str, body: bytes) -> tuple[int, bytes]:
        if self._server is None:
            self._server = start_engine(
                self.path, context=self.context, parallel=1, cache_mb=self.cache_mb, key=self._key
            )
        if self._connection is None:
            address = urlsplit(self._server.listening_address)
            self._connection = http.client.HTTPConnection(address.netloc, timeout=self.timeout_s)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
        self._connection.request("POST", path, body, headers)
        response = self._connection.getresponse()
        return response.status, response.read()
