"""A scorer that asks a vLLM server: the weights that play, or a larger model on other machines.

One POST to `/v1/completions` a request, its prompt the token ids of context and target,
`prompt_logprobs: 0`: the server tells the log-probability of each token of the prompt. It reads
the prompt anew each time, so nothing comes out of a cache older weights have filled. Texts are
tokenised by the server too (`/tokenize`, `/detokenize`, beside `/v1`).
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from agentgym.errors import AgentGymError, ConfigError, PolicyError, RewardError, StageTimeout
from agentgym.execution import run_on_loop_thread
from agentgym.policy.client import JsonClient, Refused, brief, check_url
from agentgym.rewards.batch import Floats
from agentgym.rewards.scorer import CachedScorer, Ids, ScoreRequest, asker

T = TypeVar("T")

_KEPT_TEXTS = 4096
"""Texts whose tokens are remembered from one call to the next."""
_NO_CHANCE = -9999.0
"""What vLLM writes for minus infinity, which JSON cannot hold."""


class VLLMScorer(CachedScorer):
    """Log-probabilities of a model behind a vLLM server.

    May be called from plain code and from inside an event loop, which it blocks.

    Args:
        model: Name the server knows it by.
        base_url: Up to and including `/v1`.
        api_key: Sent as a bearer token, never recorded.
        weight_version: Which weights answer. If empty, the model's name and its `root` as
            `/v1/models` tells it, which a weight sync does not change: whoever syncs weights gives
            a version, and sets a new one after each sync, or is given answers of the old weights.
        concurrency: Most requests under way at once. Each needs memory for the logits of a prompt
            (or of a chunk of it) on the server.
        timeout_s: Longest one try may take.
        max_retries: Tries after the first, for what may pass.
        max_reply_bytes: A longer reply is an `InfraError`. There are about 100 bytes a token.
        cached: Answers that are kept.

    Raises:
        ConfigError: The URL is none, or a number is out of range.
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        *,
        api_key: str | None = None,
        weight_version: str = "",
        concurrency: int = 16,
        timeout_s: float = 600.0,
        max_retries: int = 5,
        max_reply_bytes: int = 64 * 2**20,
        cached: int = 65_536,
    ) -> None:
        super().__init__(cached)
        if not model:
            raise ConfigError("there is no model: give the name the server knows it by")
        if concurrency < 1:
            raise ConfigError(f"concurrency is {concurrency!r}: give at least 1")
        self.model = model
        self.base_url = check_url(base_url)
        self.concurrency = concurrency
        self._beside = self.base_url.removesuffix("/v1")
        self._client = JsonClient(
            {"Authorization": f"Bearer {api_key}"} if api_key else None,
            max_connections=concurrency,
            timeout_s=timeout_s,
            max_retries=max_retries,
            max_reply_bytes=max_reply_bytes,
        )
        self._version = weight_version
        self._texts: dict[tuple[str, bool], Ids] = {}

    @property
    def weight_version(self) -> str:
        """As given or set, else what the server tells when it is first asked for.

        Raises:
            InfraError: The server does not answer.
            ConfigError: It gives no access.
        """
        if not self._version:
            self._version = _run(self._served())
        return self._version

    @weight_version.setter
    def weight_version(self, version: str) -> None:
        self._version = version

    @property
    def provenance(self) -> dict[str, Any]:
        """What is recorded beside the numbers: never the key."""
        return {**super().provenance, "model": self.model, "base_url": self.base_url}

    def tokenize(self, text: str, *, start: bool = False) -> Ids:
        """As the model does, special tokens as such."""
        if (text, start) not in self._texts:
            self._learn([(text, start)])
        return self._texts[text, start]

    def detokenize(self, ids: Sequence[int]) -> str:
        """As the model does, special tokens included.

        Raises:
            RewardError: The server will not have an id.
        """
        return str(_run(self._told("detokenize", {"tokens": list(ids)}, "prompt", str)))

    def logprobs(self, requests: Sequence[ScoreRequest]) -> list[Floats]:
        """float64[L] for each request: natural-log probability of each target token.

        Raises:
            RewardError: A request is refused, or the server does not tell one finite number a
                token.
            InfraError: It failed, or gave no answer in time.
            ConfigError: It will never do: no such model, no access.
        """
        pieces = [
            (piece, place == 0)
            for request in requests
            for place, piece in enumerate((*request.context, request.target))
        ]
        self._learn((piece, start) for piece, start in pieces if isinstance(piece, str))
        return super().logprobs(requests)

    def measure(self, context: Ids, target: Ids, about: str) -> Sequence[float]:
        """In one request."""
        return next(iter(self.measure_all([(context, target, about)])))

    def measure_all(self, asked: Sequence[tuple[Ids, Ids, str]]) -> Iterator[list[float]]:
        """One request each, `concurrency` at a time."""
        for context, _, about in asked:
            if not context:
                raise RewardError(f"{asker(about)}there is no context: give at least one token")
        return iter(_run(self._each(self._measured, asked)))

    def close(self) -> None:
        """Close the connections; closing twice is fine, and asking again opens new ones."""
        _run(self._client.aclose())

    def __enter__(self) -> VLLMScorer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _learn(self, texts: Iterable[tuple[str, bool]]) -> None:
        """Have the tokens of texts at hand, each with whether it starts a sequence."""
        missing = [each for each in dict.fromkeys(texts) if each not in self._texts]
        if missing:
            while len(self._texts) > _KEPT_TEXTS:
                del self._texts[next(iter(self._texts))]
            found = _run(self._each(self._tokens, missing))
            self._texts.update(zip(missing, found, strict=True))

    # ---------------------------------------------------------------- on the loop thread

    async def _each(
        self, ask: Callable[..., Awaitable[T]], asked: Sequence[tuple[Any, ...]]
    ) -> list[T]:
        """What `ask` gives for each, in order; the first failure ends all."""
        answers: dict[int, T] = {}
        waiting = iter(enumerate(asked))

        async def work() -> None:
            for place, each in waiting:
                answers[place] = await ask(*each)

        workers = [asyncio.ensure_future(work()) for _ in range(self.concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
        return [answers[place] for place in range(len(asked))]

    async def _measured(self, context: Ids, target: Ids, about: str) -> list[float]:
        payload = {
            "prompt": [*context, *target],
            "max_tokens": 1,  # it takes no fewer
            "temperature": 0,
            "prompt_logprobs": 0,
        }
        reply = await self._ask(f"{self.base_url}/completions", payload, about)
        try:
            places = reply["choices"][0]["prompt_logprobs"]
        except (LookupError, TypeError):
            places = None
        if not isinstance(places, list):
            raise RewardError(
                f"{asker(about)}{self.base_url} gave no prompt_logprobs: is it a vLLM server, and "
                "nothing between that leaves them out?"
            )
        if len(places) != len(context) + len(target):
            raise RewardError(
                f"{asker(about)}{self.base_url} gave prompt_logprobs of {len(places)} tokens for "
                f"{len(context) + len(target)}: the prompt was changed on its way"
            )
        pairs = zip(target, places[len(context) :], strict=True)
        return [self._logprob(token, told, about) for token, told in pairs]

    def _logprob(self, token: int, told: Any, about: str) -> float:
        """Of a token, from what is told of its place: `{"504": {"logprob": -1.5, …}}`."""
        entry = told.get(str(token)) if isinstance(told, dict) else None
        value = entry.get("logprob") if isinstance(entry, dict) else None
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise RewardError(
                f"{asker(about)}{self.base_url} does not tell how likely token {token} is, where "
                f"it stands in the prompt: it gave {told!r:.80}"
            )
        return -math.inf if value <= _NO_CHANCE else float(value)

    async def _tokens(self, text: str, start: bool) -> Ids:
        asked = {"prompt": text, "add_special_tokens": start}
        return tuple(await self._told("tokenize", asked, "tokens", list))

    async def _told(self, route: str, payload: Mapping[str, Any], name: str, kind: type) -> Any:
        """A field of what a route beside `/v1` answers."""
        url = f"{self._beside}/{route}"
        reply = await self._ask(url, payload)
        told = reply.get(name) if isinstance(reply, dict) else None
        if not isinstance(told, kind):
            raise RewardError(f"{url} told no {name} but {reply!r:.80}: is it a vLLM server?")
        return told

    async def _served(self) -> str:
        """The model's name, and where the server has it from if it tells that."""
        url = f"{self.base_url}/models"
        try:
            listed = await self._client.get(url)
        except Refused as refused:
            if refused.status in (404, 405):  # somebody's gateway: scoring will tell
                return self.model
            raise self._verdict(url, refused) from refused
        models = listed.get("data") if isinstance(listed, dict) else None
        for each in models if isinstance(models, list) else ():
            if isinstance(each, dict) and each.get("id") == self.model:
                root = each.get("root") or self.model
                return self.model if root == self.model else f"{self.model}:{root}"
        return self.model

    async def _ask(self, url: str, payload: Mapping[str, Any], about: str = "") -> Any:
        try:
            return await self._client.post(url, {"model": self.model, **payload}, _whole)
        except Refused as refused:
            raise self._verdict(url, refused, about) from refused
        except PolicyError as error:
            if isinstance(error.__cause__, TimeoutError):
                raise StageTimeout(
                    f"{asker(about)}{error}: give the scorer a larger timeout_s or a smaller "
                    "concurrency, or shorter episodes"
                ) from error
            raise PolicyError(f"{asker(about)}{error}") from error

    def _verdict(self, url: str, refused: Refused, about: str = "") -> AgentGymError:
        """What a refusal means."""
        status, said = refused.status, brief(refused.message)
        if status in (400, 413, 422):
            return RewardError(
                f"{asker(about)}{url} will not have it (HTTP {status}: {said}): if it is too long, "
                "serve the model with a larger --max-model-len; if its tokens are another model's, "
                "score with the model that played"
            )
        if status in (401, 403, 404, 405):
            return ConfigError(
                f"{url} (HTTP {status}: {said}): check the model's name, {self.model!r}, the API "
                "key ($OPENAI_API_KEY), and that the URL is a vLLM server's and ends in /v1"
            )
        return PolicyError(f"{asker(about)}{url}: {refused}")


def _whole(reply: Any) -> Any:
    return reply


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run it on the library's own loop; each request in it has a deadline of its own."""
    return run_on_loop_thread(work, threading.TIMEOUT_MAX, "scoring")
