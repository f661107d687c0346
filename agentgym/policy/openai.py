"""Models behind an OpenAI-compatible server: vLLM, SGLang, llama.cpp, or a hosted API.

One POST a turn to `/chat/completions`, never streamed: servers lose token ids when they stream
through a tool parser. What the engine sampled is asked for (`return_token_ids`, `logprobs`) and
kept where it is given; a server that does not know one of these parameters is asked without it from
then on. Sampling is always sent in full, because servers have defaults of their own (vLLM those of
the model's `generation_config.json`, llama.cpp `top_k=40, top_p=0.95, min_p=0.05`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Literal

import numpy as np

from agentgym.errors import ConfigError, ContextOverflow, PolicyError
from agentgym.policy.client import JsonClient, Malformed, Refused, brief, check_url, clean
from agentgym.types import Completion, LogProbs, Message, Sampling, TokenIds, ToolCall

logger = logging.getLogger(__name__)

LogprobKind = Literal["raw", "processed"]

_NEUTRAL: Mapping[str, Any] = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0}
"""Sampling parameters at these values change nothing, so a server may go without them."""
_DISPENSABLE = ("logprobs", "top_logprobs", "return_token_ids", "seed")
"""What a server may go without, whatever the value."""
_FINISH = {
    "tool_calls": "stop",
    "function_call": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "max_tokens": "length",
}
_OVERFLOW = re.compile(
    r"context[ _-]?(?:length|size|window)|context_length_exceeded|prompt is too long"
    r"|too many (?:input )?tokens|input (?:is )?too long|maximum input length"
    r"|max(?:imum)?[ _](?:model|context|sequence)[ _]len",
    re.IGNORECASE,
)
_WINDOW = re.compile(r"context (?:length|size|window) (?:is|of) (?:only )?\(?(\d+)", re.IGNORECASE)
_PROMPT = re.compile(r"(\d+) (?:input tokens|tokens from the input|in the messages)", re.IGNORECASE)
_FEWEST_TOKENS = 16
"""A turn with less room than this is not worth asking for: the context is full."""
_LOGPROB = itemgetter("logprob")
_ID = itemgetter("id")


class OpenAIPolicy:
    """Acts with a model behind an OpenAI-compatible server.

    Args:
        model: Name the server knows it by.
        base_url: Up to and including `/v1`.
        api_key: Sent as a bearer token.
        max_connections: Most requests under way at once.
        timeout_s: Longest one try may take.
        max_retries: Tries after the first, for what may pass.
        tools: Tool definitions as the API takes them.
        extra_body: More fields for every request; they win over ours.
        logprob_kind: What the server's log-probabilities are of: `raw` unless it was started
            otherwise (vLLM's `--logprobs-mode processed_logprobs`).
        max_reply_bytes: A longer reply is a `PolicyError`.

    Raises:
        ConfigError: The URL is none.
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        *,
        api_key: str | None = None,
        max_connections: int = 1024,
        timeout_s: float = 600.0,
        max_retries: int = 5,
        tools: Sequence[Mapping[str, Any]] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        logprob_kind: LogprobKind = "raw",
        max_reply_bytes: int = 64 * 2**20,
    ) -> None:
        self.model = model
        self.base_url = check_url(base_url)
        self.logprob_kind = logprob_kind
        self._url = f"{self.base_url}/chat/completions"
        self._client = JsonClient(
            {"Authorization": f"Bearer {api_key}"} if api_key else None,
            max_connections=max_connections,
            timeout_s=timeout_s,
            max_retries=max_retries,
            max_reply_bytes=max_reply_bytes,
        )
        self._fixed: dict[str, Any] = {"model": model}
        if tools:
            self._fixed["tools"] = list(tools)
        self._extra_body = dict(extra_body or {})
        self._asked: dict[str, Any] = {"logprobs": True, "return_token_ids": True}
        self._unknown: frozenset[str] = frozenset()
        """Parameters that this server was found to refuse."""
        self._has_answered = False

    @property
    def provenance(self) -> dict[str, Any]:
        """What a manifest records: never the key."""
        return {
            "policy": "openai",
            "model": self.model,
            "base_url": self.base_url,
            "tools": [_tool_name(tool) for tool in self._fixed.get("tools", ())],
            "extra_body": self._extra_body,
        }

    async def act(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling,
        session: str,
        admissible: Sequence[str] | None = None,
    ) -> Completion:
        """Ask the model what to do next.

        Raises:
            ContextOverflow: The conversation does not fit the model.
            PolicyError: The server still fails after retries, its reply contradicts itself, or it
                will not take this request though it took others.
            ConfigError: It will never do: no such model, no access, a parameter it refuses.
        """
        max_tokens = sampling.max_tokens
        without = self._unknown
        while True:
            sent = self._sampling(sampling, max_tokens, without)
            payload = {**self._fixed, "messages": messages, **sent, **self._wishes(without)}
            payload.update(self._extra_body)
            try:
                completion = await self._client.post(
                    self._url, payload, partial(self._read, sent), session=session
                )
            except Refused as refused:
                if (room := self._room(refused, max_tokens)) is not None:
                    max_tokens = room
                else:
                    without |= self._unknown | self._culprits(refused, payload)
            else:
                self._has_answered = True
                if without is not self._unknown:
                    self._learn(without)
                return completion

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    # ---------------------------------------------------------------- what is sent

    def _sampling(
        self, sampling: Sampling, max_tokens: int, without: frozenset[str]
    ) -> dict[str, Any]:
        """The sampling parameters to send, by the names of the API."""
        name = "max_completion_tokens" if "max_tokens" in without else "max_tokens"
        sent: dict[str, Any] = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k or -1,
            "min_p": 0.0,
            name: max_tokens,
        }
        if sampling.seed is not None:
            sent["seed"] = sampling.seed
        if sampling.stop:
            sent["stop"] = list(sampling.stop)
        for name in without & sent.keys():
            if not _can_go(name, sent[name]):
                raise ConfigError(
                    f"{self.model!r} at {self.base_url} does not take {name}={sent[name]!r}: "
                    f"leave {name} at its default"
                )
            del sent[name]
        return sent

    def _wishes(self, without: frozenset[str]) -> dict[str, Any]:
        """The parameters that ask for token ids and log-probabilities."""
        if not without:
            return self._asked
        return {name: value for name, value in self._asked.items() if name not in without}

    # ---------------------------------------------------------------- what is refused

    def _room(self, refused: Refused, max_tokens: int) -> int | None:
        """How many tokens fit, where the prompt does and prompt plus `max_tokens` do not.

        Raises:
            ContextOverflow: The prompt itself does not fit.
        """
        said = refused.message
        if refused.status not in (400, 413, 422) or not _OVERFLOW.search(said):
            return None
        window, prompt = _WINDOW.search(said), _PROMPT.search(said)
        if window and prompt:
            room = int(window[1]) - int(prompt[1])
            if _FEWEST_TOKENS <= room < max_tokens:
                return room
        raise ContextOverflow(f"{self.model!r} at {self.base_url}: {brief(said)}") from refused

    def _culprits(self, refused: Refused, payload: Mapping[str, Any]) -> set[str]:
        """The parameters to try without: those the server names, or all that can go.

        Raises:
            ConfigError: Nothing that could be left out would help.
            PolicyError: The same, of a server that took other requests: it is this one's content.
        """
        if refused.status in (400, 422):
            said = f"{refused.parameter} {refused.message}"
            ours = payload.keys() - self._extra_body.keys()
            if "max_tokens" in ours and "max_completion_tokens" in said:
                return {"max_tokens"}
            offered = {name for name in ours if _can_go(name, payload[name])}
            named = {name for name in offered if re.search(rf"(?<!\w){name}(?!\w)", said)}
            if gone := named or (set() if refused.parameter else offered):
                return gone
        if refused.status in (400, 413, 422) and self._has_answered:
            raise PolicyError(self._verdict(refused)) from refused
        raise ConfigError(self._verdict(refused)) from refused

    def _learn(self, without: frozenset[str]) -> None:
        """Remember what the server was found to refuse, now that it has answered without."""
        logger.info("%s: going without %s", self._url, ", ".join(sorted(without)))
        self._unknown |= without

    def _verdict(self, refused: Refused) -> str:
        status, said = refused.status, brief(refused.message)
        if status in (401, 403):
            return (
                f"no access to {self.model!r} at {self.base_url} (HTTP {status}: {said}): "
                "check the API key ($OPENAI_API_KEY)"
            )
        if status in (404, 405):
            return (
                f"no model {self.model!r}, or no such route, at {self._url} (HTTP {status}: {said})"
                f": check the name (GET {self.base_url}/models lists them), and that the URL ends "
                "where /chat/completions follows, mostly in /v1"
            )
        if refused.location:
            return f"{self._url} redirects to {refused.location!r}: give the URL it leads to"
        return f"{self._url} will not take the request (HTTP {status}): {said}"

    # ---------------------------------------------------------------- what comes back

    def _read(self, sent: dict[str, Any], reply: Any) -> Completion:
        try:
            choice = reply["choices"][0]
            message = choice["message"]
            tool_calls = message.get("tool_calls")
            text = _text(message, choice.get("finish_reason"))
            calls = tuple(map(_tool_call, tool_calls)) if tool_calls else ()
            usage = _usage(reply.get("usage"))
            ids, logprobs = self._tokens(choice, usage.get("completion_tokens"))
            prompt_ids = reply.get("prompt_token_ids")
            versions = choice.get("weight_versions") or reply.get("weight_versions")
            finish = choice.get("finish_reason") or "stop"
            return Completion(
                text=text,
                tool_calls=calls,
                prompt_ids=None if prompt_ids is None else np.array(prompt_ids, dtype=np.int32),
                completion_ids=ids,
                logprobs=logprobs,
                logprob_kind=None if logprobs is None else self.logprob_kind,
                finish_reason=_FINISH.get(finish, finish),
                weight_versions=_versions(versions) if versions else (),
                sampling=sent,
                usage=usage,
            )
        except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as error:
            said = reply.get("error") if isinstance(reply, dict) else None
            what = f"error {said!r}" if said else f"{type(error).__name__}: {error}"
            raise Malformed(f"not a chat completion ({what})") from error

    def _tokens(
        self, choice: Mapping[str, Any], count: int | None
    ) -> tuple[TokenIds | None, LogProbs | None]:
        """Ids and log-probabilities of what was sampled, where the server gives them all."""
        ids: TokenIds | None = None
        logprobs: LogProbs | None = None
        given = choice.get("token_ids")  # vLLM
        if given is not None:
            ids = np.array(given, dtype=np.int32)
        about = choice.get("logprobs")
        tokens = about.get("content") if about else None
        if tokens:
            logprobs = np.fromiter(map(_LOGPROB, tokens), np.float32, len(tokens))
            if ids is None and "id" in tokens[0]:  # llama.cpp
                if count is not None and count != len(tokens):
                    return None, None  # it leaves out tokens that end within a character
                ids = np.fromiter(map(_ID, tokens), np.int32, len(tokens))
            if len(tokens[0].get("top_logprobs") or ()) > 1 and "top_logprobs" not in self._asked:
                # llama.cpp lists twenty alternatives a token unless told otherwise
                self._asked = {**self._asked, "top_logprobs": 1}
        if ids is not None and logprobs is not None and len(ids) != len(logprobs):
            raise PolicyError(
                f"{self._url}: {len(ids)} token ids but {len(logprobs)} log-probabilities in one "
                "reply: the server does not say what it sampled"
            )
        return ids, logprobs


def _can_go(name: str, value: Any) -> bool:
    """Whether a request means the same without this field, as far as sampling goes."""
    return name in _DISPENSABLE or (name in _NEUTRAL and bool(value == _NEUTRAL[name]))


def _text(message: Mapping[str, Any], finish: Any) -> str:
    """What was sampled as text: thoughts a server split off are put back where they were."""
    content = message.get("content")
    thoughts = message.get("reasoning_content") or message.get("reasoning")
    if content is None:
        content = message.get("refusal") or ""
    elif not isinstance(content, str):  # parts
        content = "".join(part.get("text", "") for part in content)
    if thoughts:
        end = "" if finish == "length" and not content else "</think>"
        content = f"<think>{thoughts}{end}{content}"
    return clean(content)


def _tool_call(call: Mapping[str, Any]) -> ToolCall:
    function = call["function"]
    return ToolCall(
        clean(function["name"]), clean(function.get("arguments") or "{}"), call.get("id") or ""
    )


def _tool_name(tool: Mapping[str, Any]) -> str:
    return str(tool.get("function", tool).get("name", ""))


def _usage(usage: Mapping[str, Any] | None) -> dict[str, int]:
    if not usage:
        return {}
    counts = {
        "prompt_tokens": usage.get("prompt_tokens"),
        "completion_tokens": usage.get("completion_tokens"),
        "cached_tokens": (usage.get("prompt_tokens_details") or {}).get("cached_tokens"),
    }
    return {name: count for name, count in counts.items() if isinstance(count, int)}


def _versions(versions: Any) -> tuple[str, ...]:
    """Weight versions as text; vLLM gives spans, others a single value."""
    if not isinstance(versions, list):
        return (str(versions),)
    return tuple(
        str(version["version"] if isinstance(version, dict) else version) for version in versions
    )
