"""A GGUF model inside this process, by llama.cpp (xllamacpp): no GPU and no set-up needed.

The engine is xllamacpp's server on a loopback port of its own behind a random key, talked to
through its token interface: messages are rendered by the model's chat template and tokenised, ids
go in, and ids with raw log-probabilities come out. Within a session only what was added since the
last turn is tokenised, so that a prompt is exactly what was seen and sampled before, plus the new:
text that is tokenised twice differs in a tenth to a half of all turns. HTTP rather than xllamacpp's
in-process calls, because closing a connection is the only way to stop a generation.

One thread, always: on cores shared with environments a second one waits in spin loops and costs a
factor of fifty.
"""

from __future__ import annotations

import asyncio
import secrets
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from agentgym import models
from agentgym.errors import ConfigError, ContextOverflow, PolicyError, RegistryError
from agentgym.policy import gbnf
from agentgym.policy.client import JsonClient, Malformed, Refused, clean
from agentgym.types import Completion, LogProbs, Message, Sampling

_FIELDS = ("content", "tokens", "completion_probabilities", "stop_type", "timings")
_FINISH = {"eos": "stop", "word": "stop", "limit": "length"}
_RANDOM_SEED = 0xFFFFFFFF
"""What llama.cpp takes for "draw one yourself"."""
_FEWEST_TOKENS = 8
"""A turn with less room than this is not begun: the context is full."""
_EVERY_TOKEN = 2**24
_SESSIONS = 1024
"""Sessions whose last turn is remembered."""
_LOGPROB = itemgetter("logprob")


@dataclass(frozen=True, slots=True)
class _Said:
    """The last turn of a session: its rendered text, prompt and completion, and their tokens."""

    text: str
    ids: array[int]
    ended: bool
    """The last token is the model's own end of turn."""


class LlamaCppPolicy:
    """Acts with a GGUF model that runs inside this process.

    The model is loaded at the first `act`. Loading holds the interpreter (half a second for the
    default model); generating does not.

    Args:
        path: A GGUF file; the default model (`agentgym.models.find("smollm2")`) if None.
        context: Tokens that one session may fill; cut to what the model was trained on.
        parallel: Sessions generated at once; each has its own `context`.
        constrain: Let the model write admissible actions only, where the world lists them.
        cache_mb: Memory for the state of sessions that wait their turn.

    Raises:
        ConfigError: There is no such file, or a number is out of range.
        RegistryError: xllamacpp is not installed.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        context: int = 8192,
        parallel: int = 4,
        constrain: bool = False,
        cache_mb: int = 512,
    ) -> None:
        if context < 64:
            raise ConfigError(f"context is {context!r}: give at least 64 tokens")
        if parallel < 1:
            raise ConfigError(f"parallel is {parallel!r}: give at least 1")
        if find_spec("xllamacpp") is None:
            raise RegistryError(
                "the llamacpp policy needs xllamacpp: pip install 'agentgym-env[llamacpp]'"
            )
        self.path = models.find("smollm2") if path is None else Path(path)
        if not self.path.is_file():
            raise ConfigError(f"{str(self.path)!r} is not a file: give the path of a GGUF model")
        self.context = context
        self.parallel = parallel
        self.constrain = constrain
        self.cache_mb = cache_mb
        self.wants = "admissible" if constrain else ""
        self._server: Any = None
        self._loading: asyncio.Lock | None = None
        self._client: JsonClient
        self._base = ""
        self._end_of_turn = ""
        self._sessions: OrderedDict[str, _Said] = OrderedDict()

    @property
    def provenance(self) -> dict[str, Any]:
        """What a manifest records."""
        return {
            "policy": "llamacpp",
            "model": self.path.name,
            "bytes": self.path.stat().st_size,
            "context": self.context,
            "constrain": self.constrain,
        }

    async def act(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling,
        session: str,
        admissible: Sequence[str] | None = None,
    ) -> Completion:
        """Generate what to do next.

        Raises:
            ContextOverflow: The conversation leaves no room for an answer.
            PolicyError: The engine failed.
            ConfigError: It is not a model, or cannot read the messages (images).
        """
        if self._server is None:
            await self._load()
        text, prompt = await self._prompt(messages, session)
        room = self.context - len(prompt)
        if room < _FEWEST_TOKENS:
            raise ContextOverflow(
                f"the conversation is {len(prompt)} tokens long and the context {self.context}: "
                "give a larger context, or show less history"
            )
        sent = _sampling(sampling, min(sampling.max_tokens, room))
        payload = {
            **sent,
            "prompt": prompt,
            "cache_prompt": True,
            "n_probs": 1,
            "return_tokens": True,
            "response_fields": _FIELDS,
        }
        choices = {str(action): action for action in admissible or ()} if self.constrain else {}
        if choices:
            payload["grammar"] = gbnf.one_of(choices)
        try:
            reply = await self._client.post(f"{self._base}/completion", payload, _read)
        except Refused as refused:
            if "context size" in refused.message:
                raise ContextOverflow(f"llama.cpp: {refused}") from refused
            raise
        said = reply["content"]
        if session:
            ids = array("i", prompt + reply["tokens"])
            self._remember(session, _Said(text + said, ids, reply["stop_type"] == "eos"))
        sent["max_tokens"] = sent.pop("n_predict")
        return Completion(
            text=choices.get(said, said),
            prompt_ids=np.array(prompt, dtype=np.int32),
            completion_ids=np.array(reply["tokens"], dtype=np.int32),
            logprobs=await self._logprobs(prompt, reply["tokens"], reply["about"]),
            logprob_kind="raw",
            finish_reason=_FINISH.get(reply["stop_type"], reply["stop_type"]),
            sampling=sent,
            usage={
                "prompt_tokens": len(prompt),
                "completion_tokens": len(reply["tokens"]),
                "cached_tokens": reply["timings"].get("cache_n", 0),
            },
        )

    async def aclose(self) -> None:
        """Stop the engine and free the model; closing twice is fine."""
        server, self._server = self._server, None
        self._loading = None  # a lock belongs to one event loop
        self._sessions.clear()
        if server is not None:
            await self._client.aclose()
            del server  # its destructor stops the threads and waits for them

    # ---------------------------------------------------------------- prompt

    async def _prompt(self, messages: Sequence[Message], session: str) -> tuple[str, list[int]]:
        """The conversation by the model's chat template, as text and as tokens."""
        try:
            text = await self._client.post(
                f"{self._base}/apply-template", {"messages": messages}, _rendered
            )
        except Refused as refused:
            raise ConfigError(
                f"the model's chat template cannot take the messages: {refused}"
            ) from refused
        before = self._sessions.get(session)
        if before is None or not text.startswith(before.text):
            return text, await self._tokenize(text, add_special=True)
        tail = text[len(before.text) :]
        added = await self._tokenize(tail, add_special=False)
        # where the model ended its turn itself, that token stands for the template's
        again = before.ended and (
            added[:1] == [before.ids[-1]] or tail.startswith(self._end_of_turn)
        )
        return text, [*before.ids, *added[again:]]

    def _remember(self, session: str, said: _Said) -> None:
        self._sessions[session] = said
        self._sessions.move_to_end(session)
        if len(self._sessions) > _SESSIONS:
            self._sessions.popitem(last=False)

    async def _tokenize(self, text: str, *, add_special: bool) -> list[int]:
        payload = {"content": text, "add_special": add_special, "parse_special": True}
        return await self._client.post(f"{self._base}/tokenize", payload, _token_list)

    # ---------------------------------------------------------------- log-probabilities

    async def _logprobs(
        self, prompt: list[int], tokens: list[int], about: list[dict[str, Any]]
    ) -> LogProbs:
        """The raw log-probability of each of `tokens`.

        llama.cpp says nothing of a token that ends within a character (most of an emoji) or belongs
        to a stop word: those are asked for one by one.
        """
        if len(about) == len(tokens):
            return np.fromiter(map(_LOGPROB, about), np.float32, len(about))
        places = _align(tokens, [entry["id"] for entry in about])
        logprobs = [
            await self._logprob(prompt + tokens[:position], token)
            if place is None
            else about[place]["logprob"]
            for position, (token, place) in enumerate(zip(tokens, places, strict=True))
        ]
        return np.array(logprobs, dtype=np.float32)

    async def _logprob(self, prompt: list[int], token: int) -> float:
        """The raw log-probability of `token` after `prompt`."""
        payload = {
            "prompt": prompt,
            "cache_prompt": True,
            "n_predict": 1,
            "grammar": 'root ::= ""',  # an end token: whatever comes, llama.cpp must report on it
            "response_fields": _FIELDS,
            "return_tokens": True,
        }
        for n_probs in (256, 4096, _EVERY_TOKEN):
            payload["n_probs"] = n_probs
            reply = await self._client.post(f"{self._base}/completion", payload, _read)
            for entry in reply["about"][0]["top_logprobs"]:
                if entry["id"] == token:
                    return float(entry["logprob"])
        raise PolicyError(f"llama.cpp does not tell the probability of token {token}")

    # ---------------------------------------------------------------- engine

    async def _load(self) -> None:
        if self._loading is None:
            self._loading = asyncio.Lock()
        async with self._loading:
            if self._server is not None:
                return
            key = secrets.token_urlsafe(24)
            server = start_engine(
                self.path,
                context=self.context,
                parallel=self.parallel,
                cache_mb=self.cache_mb,
                key=key,
            )
            self._base = server.listening_address
            self._client = JsonClient(
                {"Authorization": f"Bearer {key}"},
                max_connections=self.parallel + 1,
                max_retries=1,
                retry_statuses=False,
            )
            properties = await self._client.get(f"{self._base}/props")
            self.context = int(properties["default_generation_settings"]["n_ctx"])
            self._end_of_turn = properties["eos_token"]
            self._server = server


def start_engine(path: Path, *, context: int, parallel: int, cache_mb: int, key: str) -> Any:
    """Load a model and serve it on a loopback port of its own.

    Args:
        path: A GGUF file.
        context: Tokens of each slot.
        parallel: Slots.
        cache_mb: Memory for the state of what waits.
        key: Asked of every request, as a bearer token.

    Returns:
        xllamacpp's server; it ends when the last reference to it does.

    Raises:
        ConfigError: It cannot be loaded.
    """
    import xllamacpp  # 100 MB of engine: only where a model runs

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx = context * parallel  # it is divided among the slots
    parameters.n_parallel = parallel
    parameters.n_threads_http = parallel + 3
    parameters.cache_ram_mib = cache_mb
    parameters.verbosity = -1
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.api_keys = [key]
    for processor in (parameters.cpuparams, parameters.cpuparams_batch):
        processor.n_threads = 1
        processor.poll = 0
    try:
        return xllamacpp.Server(parameters)
    except RuntimeError as error:
        raise ConfigError(
            f"llama.cpp cannot load {str(path)!r}: is it a GGUF model, and is there "
            f"memory for {parallel} contexts of {context} tokens? ({error})"
        ) from error


def _sampling(sampling: Sampling, n_predict: int) -> dict[str, Any]:
    """Every sampler named: llama.cpp's own defaults cut the distribution."""
    seed = secrets.randbits(31) if sampling.seed is None else sampling.seed % _RANDOM_SEED
    samplers = ["temperature"]
    if sampling.top_k:
        samplers.append("top_k")
    if sampling.top_p < 1.0:
        samplers.append("top_p")
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": 0.0,
        "samplers": samplers,
        "n_predict": n_predict,
        "seed": seed,
        "stop": list(sampling.stop),
    }


def _align(tokens: list[int], reported: list[int]) -> list[int | None]:
    """For each token its place in `reported`, which lacks some; None where that is not certain."""
    first: list[int | None] = [None] * len(tokens)
    place = 0
    for position, token in enumerate(tokens):
        if place < len(reported) and token == reported[place]:
            first[position] = place
            place += 1
    last: list[int | None] = [None] * len(tokens)
    place = len(reported) - 1
    for position in range(len(tokens) - 1, -1, -1):
        if place >= 0 and tokens[position] == reported[place]:
            last[position] = place
            place -= 1
    return [a if a == b else None for a, b in zip(first, last, strict=True)]


def _read(reply: Any) -> dict[str, Any]:
    """What matters of a completion."""
    try:
        tokens = reply["tokens"]
        return {
            "content": clean(reply["content"]),
            "tokens": tokens,
            "about": reply["completion_probabilities"] if tokens else [],
            "stop_type": reply["stop_type"],
            "timings": reply["timings"],
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"not a completion ({type(error).__name__}: {error})") from error


def _rendered(reply: Any) -> str:
    return str(_field(reply, "prompt"))


def _token_list(reply: Any) -> list[int]:
    return [int(token) for token in _field(reply, "tokens")]


def _field(reply: Any, name: str) -> Any:
    if not isinstance(reply, dict) or name not in reply:
        raise Malformed(f"no {name!r} in it")
    return reply[name]
