"""Fixtures: the real engine, SmolLM2 in llama.cpp, in this process and behind its own server."""

import functools
import os
import signal
from importlib.util import find_spec

import pytest
from hypothesis import settings

from agentgym import models
from agentgym.errors import ConfigError, SandboxError
from agentgym.policy.llamacpp import LlamaCppPolicy
from agentgym.sandbox import BACKENDS, find_backend

# A shell that starts this in the background has it ignore Ctrl-C, and all that it starts in turn.
signal.signal(signal.SIGINT, signal.default_int_handler)


# An example may take long on a machine with much to do, anywhere.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def missing(what):
    """Skip on a laptop where a real part is not here; in CI it must be."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def model_path():
    if find_spec("xllamacpp") is None:
        missing("xllamacpp is not installed: pip install 'agentgym-env[llamacpp]'")
    try:
        return models.find("smollm2")
    except ConfigError as error:
        missing(str(error))


@pytest.fixture(scope="session")
def engine(model_path):
    """Base URL of llama.cpp's OpenAI-compatible server."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model_path)
    parameters.n_ctx = 4 * 1024
    parameters.n_parallel = 4
    parameters.verbosity = -1
    parameters.cache_ram_mib = 0
    for processor in (parameters.cpuparams, parameters.cpuparams_batch):
        processor.n_threads = 1
    server = xllamacpp.Server(parameters)
    yield f"{server.listening_address}/v1"
    del server


@pytest.fixture
async def llama(model_path):
    policy = LlamaCppPolicy(model_path, context=1024)
    yield policy
    await policy.aclose()


@functools.cache
def no_boxes(backend):
    """Why no box of the image `base` can be started; nothing if one can."""
    from agentgym.sandboxes import engine, local

    found = engine.probe() if backend == "docker" else local.probe()
    if not found.ok:
        return f"{found.detail}: {found.remedy}"
    if backend == "docker" and find_spec("docker") is None:
        return "docker-py is not installed: pip install 'agentgym-env[docker]'"
    try:
        find_backend(backend).identity("base")
    except SandboxError as error:
        return str(error)
    return ""


@pytest.fixture(params=BACKENDS)
def box_backend(request):
    """A kind of box that can be started here, from the image `base`."""
    if why := no_boxes(request.param):
        missing(why)
    return request.param


@pytest.fixture(scope="session")
def local_boxes():
    """Says that local boxes can be started here."""
    if why := no_boxes("local"):
        missing(why)
