"""A causal language model of Hugging Face transformers, with its tokenizer: loaded once, shared.

A policy and a scorer may use the same one, and a trainer may change its weights between their
calls. Nothing of torch or transformers is imported before the model is loaded.
"""

from __future__ import annotations

import hashlib
import inspect
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agentgym import models
from agentgym.errors import ConfigError, RegistryError, did_you_mean
from agentgym.policy.client import clean
from agentgym.types import Message

_WEIGHTS = (".safetensors", ".bin", ".gguf")
_HEADER = 2**24
"""Where in a GGUF file its description of the tokenizer is looked for."""


class CausalLM:
    """A model and its tokenizer, loaded at first use.

    Args:
        model: A GGUF file, a folder that `save_pretrained` wrote, a name on the Hugging Face Hub,
            or one of `agentgym.models.MODELS`.
        gguf_file: The GGUF file to take, where `model` is a folder or a name on the Hub.
        device: As torch names it; None: a GPU if there is one, else the CPU.
        dtype: As torch names it; None: float32 on the CPU, elsewhere what the weights are in.
        threads: Of torch, while it computes. One is best on cores that others use as well.
        weight_version: Which weights these are; taken from the files if empty. Whoever trains the
            model sets it anew.

    Raises:
        ConfigError: There is no such file, or a number is out of range.
        RegistryError: torch or transformers is not installed.
    """

    def __init__(
        self,
        model: str | Path = "smollm2",
        *,
        gguf_file: str = "",
        device: str | None = None,
        dtype: str | None = None,
        threads: int = 1,
        weight_version: str = "",
    ) -> None:
        if threads < 1:
            raise ConfigError(f"threads is {threads!r}: give at least 1")
        for needed in ("torch", "transformers"):
            if find_spec(needed) is None:
                raise RegistryError(
                    f"{needed} is not installed: pip install 'agentgym-env[transformers]' (where "
                    "there is no GPU, install a CPU build of torch first)"
                )
        self.source, self.gguf_file = _located(model, gguf_file)
        folder = Path(self.source)
        self.name = self.gguf_file or (folder.name if folder.is_dir() else self.source)
        self.device = device
        self.dtype = dtype
        self.threads = threads
        self._version = weight_version
        self._model: Any = None
        self._tokenizer: Any = None
        self._check: Callable[[], None] | None = None
        self._lock = threading.RLock()

    @classmethod
    def of(
        cls, model: Any, tokenizer: Any, *, weight_version: str, threads: int = 1, name: str = ""
    ) -> CausalLM:
        """One that is loaded already, by a trainer for instance.

        Args:
            model: A `PreTrainedModel` for causal language modelling.
            tokenizer: Its tokenizer.
            weight_version: Which weights these are.
            threads: Of torch, while it computes.
            name: What a manifest calls it; the model's own if empty.
        """
        self = cls.__new__(cls)
        self.source = self.gguf_file = ""
        self.name = name or model.config._name_or_path or type(model).__name__
        self.device, self.dtype = str(model.device), str(model.dtype).removeprefix("torch.")
        self.threads = threads
        self._version = weight_version
        self._check = None
        self._lock = threading.RLock()
        self._take(model, tokenizer)
        return self

    @property
    def weight_version(self) -> str:
        """The name and the start of the SHA-256 of the weights, or as set."""
        if not self._version:
            path = Path(self.source)
            files = sorted(each for each in path.glob("*") if each.suffix in _WEIGHTS)
            if self.gguf_file and (path / self.gguf_file).is_file():
                files = [path / self.gguf_file]
            if files:
                self._version = f"{self.name}:{_sha256(files)[:16]}"
            else:  # from the Hub
                self._version = f"{self.name}:{getattr(self.model.config, '_commit_hash', None)}"
        return self._version

    @weight_version.setter
    def weight_version(self, version: str) -> None:
        self._version = version

    @property
    def provenance(self) -> dict[str, Any]:
        """What a manifest records; a model on the Hub is not loaded for it."""
        known = self._version or self._model is not None or Path(self.source).is_dir()
        return {
            "model": self.name,
            **({"weight_version": self.weight_version} if known else {}),
            "device": self.device,
            "dtype": self.dtype,
        }

    @property
    def model(self) -> Any:
        """The `PreTrainedModel`."""
        self.load()
        return self._model

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        self.load()
        return self._tokenizer

    @property
    def longest(self) -> int:
        """Most tokens of a sequence."""
        return int(getattr(self.model.config, "max_position_embeddings", 0) or 2**31)

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return int(self.model.get_input_embeddings().num_embeddings)

    def takes(self, argument: str) -> bool:
        """Whether the model's `forward` has this argument."""
        return argument in inspect.signature(self.model.forward).parameters

    def ends(self) -> frozenset[int]:
        """The tokens that end a turn."""
        given = self.model.generation_config.eos_token_id
        ids = [*(given if isinstance(given, list) else [given]), self.tokenizer.eos_token_id]
        return frozenset(each for each in ids if each is not None)

    # ---------------------------------------------------------------- text

    def render(self, messages: Sequence[Message]) -> str:
        """The conversation by the model's chat template, up to where it is to answer.

        Raises:
            ConfigError: There is no template, or it cannot take the messages.
        """
        from jinja2 import TemplateError

        if self.tokenizer.chat_template is None:
            raise ConfigError(
                f"the tokenizer of {self.name!r} has no chat template: take an instruction-tuned "
                "model, or set its tokenizer.chat_template"
            )
        told = [{**each, "content": _text(each.get("content"))} for each in messages]
        try:
            text = self.tokenizer.apply_chat_template(
                told, tokenize=False, add_generation_prompt=True
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise ConfigError(
                f"the model's chat template cannot take the messages: {error}"
            ) from error
        return clean(text)

    def tokenize(self, text: str, *, start: bool = False) -> list[int]:
        """Its tokens, special ones as such; at the start, with what the tokenizer puts there."""
        return list(self.tokenizer(clean(text), add_special_tokens=start)["input_ids"])

    def detokenize(self, ids: Sequence[int], *, special: bool = True) -> str:
        """Its text, with or without special tokens."""
        return str(
            self.tokenizer.decode(
                list(ids), skip_special_tokens=not special, clean_up_tokenization_spaces=False
            )
        )

    # ---------------------------------------------------------------- computing

    @contextmanager
    def computing(self, check: Callable[[], None]) -> Iterator[Any]:
        """The model, to oneself; `check` is called before each layer and may raise to end it."""
        import torch

        with self._lock:
            self.load()
            before = torch.get_num_threads()
            torch.set_num_threads(self.threads)
            self._check = check
            try:
                with torch.inference_mode():
                    yield self._model
            finally:
                self._check = None
                torch.set_num_threads(before)

    def load(self) -> None:
        """Load it, if it is not loaded.

        Raises:
            ConfigError: It cannot be loaded.
        """
        with self._lock:
            if self._model is None:
                self._take(*self._loaded())

    def close(self) -> None:
        """Free the model; it is loaded again when it is asked for, unless it was made by `of`."""
        with self._lock:
            if self.source:
                self._model = self._tokenizer = None

    def _take(self, model: Any, tokenizer: Any) -> None:
        from torch.nn import ModuleList

        def check(*_: Any) -> None:
            if self._check is not None:
                self._check()

        for group in model.modules():
            for layer in group if isinstance(group, ModuleList) else ():
                layer.register_forward_pre_hook(check)
        self._model, self._tokenizer = model, tokenizer

    def _loaded(self) -> tuple[Any, Any]:
        import torch
        import transformers

        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = self.dtype or ("float32" if device == "cpu" else "auto")
        chosen: dict[str, Any] = {"gguf_file": self.gguf_file} if self.gguf_file else {}
        logs = transformers.utils.logging
        showing = logs.is_progress_bar_enabled()
        logs.disable_progress_bar()
        try:
            config = transformers.AutoConfig.from_pretrained(self.source, **chosen)
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                self.source, config=config, **chosen
            )
            if self.gguf_file:
                self._mend(tokenizer)
                # packed, they would be slow, and could not be trained or saved
                chosen["quantization_config"] = transformers.GgufConfig(dequantize=True)
            model = transformers.AutoModelForCausalLM.from_pretrained(
                self.source, config=config, dtype=dtype, **chosen
            )
            return model.to(device).eval(), tokenizer
        except (OSError, ValueError, KeyError, ImportError, RuntimeError, struct.error) as error:
            said = str(error).strip().split("\n")[0][:300]
            raise ConfigError(
                f"transformers cannot load {self.name!r} from {self.source!r} "
                f"({type(error).__name__}: {said}): is it a causal language model?"
            ) from error
        finally:
            if showing:
                logs.enable_progress_bar()

    def _mend(self, tokenizer: Any) -> None:
        """Split digits where the file says so: transformers overlooks it, and ids would differ."""
        path = Path(self.source) / self.gguf_file
        if path.is_file() and _pre_tokenizer(path) == "smollm":
            from tokenizers.pre_tokenizers import ByteLevel, Digits
            from tokenizers.pre_tokenizers import Sequence as InTurn

            tokenizer.backend_tokenizer.pre_tokenizer = InTurn(
                [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
            )


def opened(model: str | Path | CausalLM, options: Mapping[str, Any]) -> CausalLM:
    """The model that is given, or one made of its name and the options.

    Raises:
        ConfigError: It does not take the options.
    """
    taken = [name for name in inspect.signature(CausalLM).parameters if name != "model"]
    if wrong := sorted(options.keys() - set(taken)):
        raise ConfigError(
            f"there is no option {wrong[0]!r}{did_you_mean(wrong[0], taken)}: a model takes "
            f"{', '.join(taken)}"
        )
    if not isinstance(model, CausalLM):
        return CausalLM(model, **options)
    if options:
        raise ConfigError(f"options {sorted(options)}: the model is loaded already, without them")
    return model


def _located(model: str | Path, gguf_file: str) -> tuple[str, str]:
    """What transformers takes: a folder or a name on the Hub, and a GGUF file in it."""
    if not str(model):
        raise ConfigError("there is no model: give a file, a folder or a name on the Hub")
    path = models.find(str(model)) if model in models.MODELS else Path(model).expanduser()
    if path.is_file():
        return str(path.parent), path.name
    if path.is_dir():
        if gguf_file and not (path / gguf_file).is_file():
            raise ConfigError(f"{str(path / gguf_file)!r} is not a file: correct gguf_file")
        if not gguf_file and not (path / "config.json").is_file():
            raise ConfigError(f"{str(path)!r} holds no config.json: give a folder of a model")
        return str(path), gguf_file
    if isinstance(model, Path) or path.suffix == ".gguf" or model[0] in "./~":
        raise ConfigError(f"{str(path)!r} is neither a GGUF file nor a folder: correct the path")
    return model, gguf_file


def _pre_tokenizer(path: Path) -> str:
    """How a GGUF file says that text is split before it is tokenised."""
    with path.open("rb") as file:
        head = file.read(_HEADER)
    key = b"tokenizer.ggml.pre"
    place = head.find(struct.pack("<Q", len(key)) + key)
    if place < 0:
        return ""
    kind, length = struct.unpack_from("<IQ", head, place + 8 + len(key))
    start = place + 8 + len(key) + 12
    return head[start : start + length].decode(errors="replace") if kind == 8 else ""


def _sha256(files: Sequence[Path]) -> str:
    digests = []
    for path in files:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


def _text(content: Any) -> str:
    """The text of a message's content.

    Raises:
        ConfigError: There is something else in it.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if any("text" not in part for part in content):
        raise ConfigError("the model reads text only: image input is not supported by this policy")
    return "\n".join(str(part["text"]) for part in content)
