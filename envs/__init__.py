"""Worlds: one module or package each, registered by name when `agentgym` is imported."""

if __name__ != "agentgym.envs":
    raise ImportError(
        f"this folder is the package agentgym.envs, not {__name__!r}: "
        "install the project (pip install -e .) and import agentgym.envs"
    )
