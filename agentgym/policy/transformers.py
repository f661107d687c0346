"""A model of Hugging Face transformers inside this process: exact to the token, and trainable.

Messages are rendered by the model's chat template and tokenised; within a session only what was
added since the last turn is, so that a prompt is exactly what was seen and sampled before, plus the
new. What is asked at once is generated together, in a thread of its own; every token is drawn from
the request's own seed. The log-probabilities are those of the logits the token was drawn from.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from agentgym.errors import ConfigError, ContextOverflow, PolicyError, boundary
from agentgym.policy.causal_lm import CausalLM, opened
from agentgym.types import Completion, Message, Sampling

_FEWEST_TOKENS = 8
"""A turn with less room than this is not begun: the context is full."""
_SESSIONS = 1024
"""Sessions whose last turn is remembered."""
_GATHER_S = 0.005
"""How long what is asked first waits for what is asked at the same time."""


@dataclass(frozen=True, slots=True)
class _Said:
    """The last turn of a session: its rendered text, prompt and completion, and their tokens."""

    text: str
    ids: tuple[int, ...]
    ended: bool
    """The last token is the model's own end of turn."""


@dataclass(slots=True, eq=False)
class _Request:
    """A turn that is asked for, and what has been generated of it."""

    messages: Sequence[Message]
    sampling: Sampling
    session: str
    seed: int
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Completion]
    random: np.random.Generator
    abandoned: bool = False
    prompt_text: str = ""
    prompt: list[int] = field(default_factory=list)
    limit: int = 0
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    text: str = ""
    finish: str = ""

    def settle(self, completion: Completion | None, error: BaseException | None = None) -> None:
        """Hand the answer, or what went wrong, to whoever waits for it."""

        def hand_over() -> None:
            if self.answer.done():
                return
            if error is not None:
                self.answer.set_exception(error)
            elif completion is not None:
                self.answer.set_result(completion)

        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self.loop.call_soon_threadsafe(hand_over)


class _AllAbandoned(Exception):
    """Nobody waits for what is being computed."""


class TransformersPolicy:
    """Acts with a causal language model that torch runs inside this process.

    The model is loaded at the first `act`.

    Args:
        model: What `CausalLM` takes: a GGUF file, a folder, a name on the Hub, `smollm2`; or one
            that is loaded already, and may be trained between turns (see `CausalLM.of`).
        context: Most tokens of a session; cut to what the model can.
        batch: Turns generated together; those that come later wait until these are done.
        options: For `CausalLM`: `gguf_file`, `device`, `dtype`, `threads`, `weight_version`.

    Raises:
        ConfigError: There is no such file, or a number is out of range.
        RegistryError: torch or transformers is not installed.
    """

    def __init__(
        self,
        model: str | Path | CausalLM = "smollm2",
        *,
        context: int = 8192,
        batch: int = 8,
        **options: Any,
    ) -> None:
        if context < 64:
            raise ConfigError(f"context is {context!r}: give at least 64 tokens")
        if batch < 1:
            raise ConfigError(f"batch is {batch!r}: give at least 1")
        self.lm = opened(model, options)
        self._own = not isinstance(model, CausalLM)
        self.context = context
        self.batch = batch
        self._waiting: deque[_Request] = deque()
        self._under_way: list[_Request] = []
        self._sessions: OrderedDict[str, _Said] = OrderedDict()
        self._worker: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    @property
    def provenance(self) -> dict[str, Any]:
        """What a manifest records."""
        return {"policy": "transformers", **self.lm.provenance, "context": self.context}

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
            PolicyError: The model failed.
            ConfigError: It is not a model, or cannot read the messages (images).
        """
        loop = asyncio.get_running_loop()
        seed = secrets.randbits(31) if sampling.seed is None else sampling.seed
        request = _Request(
            tuple(messages),
            sampling,
            session,
            seed,
            loop,
            loop.create_future(),
            np.random.default_rng(seed % 2**64),
        )
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, "agentgym-transformers")
        with self._lock:
            self._waiting.append(request)
        self._worker.submit(self._generate)
        try:
            return await request.answer
        finally:
            request.abandoned = True  # if it was not answered, nobody waits any more

    async def aclose(self) -> None:
        """End what is under way and free the model, unless it is somebody else's."""
        worker, self._worker = self._worker, None
        with self._lock:
            left = [*self._waiting, *self._under_way]
            self._waiting.clear()
        for request in left:
            request.abandoned = True
            request.settle(None, PolicyError("the policy was closed while the model was writing"))
        if worker is not None:
            await asyncio.to_thread(worker.shutdown)
        self._sessions.clear()
        if self._own:
            self.lm.close()

    # ---------------------------------------------------------------- in the worker

    def _generate(self) -> None:
        """Generate the next batch of what waits, if anything does."""
        if self._waiting:
            time.sleep(_GATHER_S)
        with self._lock:
            while self._waiting and len(self._under_way) < self.batch:
                request = self._waiting.popleft()
                if not request.abandoned:
                    self._under_way.append(request)
        if not self._under_way:
            return
        try:
            with boundary(PolicyError, "transformers"):
                self.lm.load()
                self.context = min(self.context, self.lm.longest)
                ready = [request for request in self._under_way if self._prepare(request)]
                if ready:
                    with suppress(_AllAbandoned):
                        self._write(ready)
        except Exception as error:  # carried over to the coroutines
            for request in self._under_way:
                request.settle(None, error)
        finally:
            with self._lock:
                self._under_way.clear()

    def _prepare(self, request: _Request) -> bool:
        """Render and tokenise a request; one that cannot be answered is settled."""
        try:
            text = self.lm.render(request.messages)
            prompt = self._prompt(text, request.session)
            room = self.context - len(prompt)
            if room < _FEWEST_TOKENS:
                raise ContextOverflow(
                    f"the conversation is {len(prompt)} tokens long and the context "
                    f"{self.context}: give a larger context, or show less history"
                )
        except (ConfigError, ContextOverflow) as error:
            request.settle(None, error)
            return False
        request.prompt_text, request.prompt = text, prompt
        request.limit = min(request.sampling.max_tokens, room)
        return True

    def _prompt(self, text: str, session: str) -> list[int]:
        before = self._sessions.get(session)
        if before is None or not text.startswith(before.text):
            return self.lm.tokenize(text)
        tail = text[len(before.text) :]
        added = self.lm.tokenize(tail)
        # where the model ended its turn itself, that token stands for the template's
        again = before.ended and added[:1] == [before.ids[-1]]
        return [*before.ids, *added[again:]]

    def _write(self, requests: list[_Request]) -> None:
        """Generate token by token; each is answered as soon as it is done."""
        import torch

        ends = self.lm.ends()
        version = self.lm.weight_version

        def check() -> None:
            if all(request.abandoned for request in rows):
                raise _AllAbandoned

        rows = requests
        with self.lm.computing(check) as model:
            length = max(len(request.prompt) for request in rows)
            pads = [length - len(request.prompt) for request in rows]
            fed = [[0] * pad + r.prompt for pad, r in zip(pads, rows, strict=True)]
            ids = torch.tensor(fed, device=model.device)
            mask = torch.ones_like(ids)
            for row, pad in enumerate(pads):
                mask[row, :pad] = 0
            cache: Any = None
            padded = any(pads)
            last = {"logits_to_keep": 1} if self.lm.takes("logits_to_keep") else {}
            while True:
                seen = {}
                if padded:
                    places = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
                    seen = {"attention_mask": mask, "position_ids": places}
                told = model(input_ids=ids, past_key_values=cache, use_cache=True, **seen, **last)
                logits = told.logits[:, -1].cpu().double()
                cache = told.past_key_values
                going = []
                for row, request in enumerate(rows):
                    self._take(request, logits[row], ends)
                    if request.finish:
                        request.settle(self._completion(request, version, ends))
                    elif not request.abandoned:
                        going.append(row)
                if not going:
                    return
                if len(going) < len(rows):
                    cache.batch_select_indices(torch.tensor(going, device=model.device))
                    mask, rows = mask[going], [rows[row] for row in going]
                ids = torch.tensor([[r.tokens[-1]] for r in rows], device=model.device)
                mask = torch.cat([mask, mask.new_ones((len(rows), 1))], dim=1)

    def _take(self, request: _Request, logits: Any, ends: frozenset[int]) -> None:
        """Draw the next token, and see whether it is the last."""
        token = _draw(logits, request.sampling, request.random.random())
        request.tokens.append(token)
        logprob = float(logits[token] - logits.logsumexp(-1))
        if not math.isfinite(logprob):
            raise PolicyError(
                f"the model finds token {token} {logprob} likely: try dtype='float32'"
            )
        request.logprobs.append(logprob)
        stops = request.sampling.stop
        if token in ends:
            request.finish = "stop"
        elif len(request.tokens) >= request.limit:
            request.finish = "length"
        if stops or request.finish:
            shown = request.tokens[:-1] if token in ends else request.tokens
            request.text = self.lm.detokenize(shown, special=False)
            found = [place for stop in stops if (place := request.text.find(stop)) >= 0]
            if found:
                request.text, request.finish = request.text[: min(found)], "stop"

    def _completion(self, request: _Request, version: str, ends: frozenset[int]) -> Completion:
        prompt, tokens, sampling = request.prompt, request.tokens, request.sampling
        if request.session:
            said = _Said(request.prompt_text + request.text, (*prompt, *tokens), tokens[-1] in ends)
            self._sessions[request.session] = said
            self._sessions.move_to_end(request.session)
            if len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)
        return Completion(
            text=request.text,
            prompt_ids=np.array(prompt, dtype=np.int32),
            completion_ids=np.array(tokens, dtype=np.int32),
            logprobs=np.array(request.logprobs, dtype=np.float32),
            logprob_kind="raw",
            finish_reason=request.finish,
            weight_versions=(version,),
            sampling={
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": sampling.top_k,
                "max_tokens": request.limit,
                "seed": request.seed,
                "stop": list(sampling.stop),
            },
            usage={"prompt_tokens": len(prompt), "completion_tokens": len(tokens)},
        )


def _draw(logits: Any, sampling: Sampling, chance: float) -> int:
    """The token at `chance`, in [0, 1), of the distribution sampled from."""
    import torch

    if sampling.temperature <= 0.0:
        return int(logits.argmax())
    scaled = logits / sampling.temperature
    order = None
    if sampling.top_k:
        scaled, order = scaled.topk(min(sampling.top_k, len(scaled)))
    elif sampling.top_p < 1.0:
        scaled, order = scaled.sort(descending=True)
    likely = scaled.softmax(-1)
    if sampling.top_p < 1.0:
        kept = int(((likely.cumsum(-1) - likely) < sampling.top_p).sum())
        likely = likely[: max(kept, 1)]
    up_to = likely.cumsum(-1)
    place = int(torch.searchsorted(up_to, up_to[-1] * chance, right=True))
    place = min(place, len(likely) - 1)
    return place if order is None else int(order[place])
