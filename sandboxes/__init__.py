"""Where untrusted things run: containers, local processes, browsers."""

if __name__ != "agentgym.sandboxes":
    raise ImportError(
        f"this folder is the package agentgym.sandboxes, not {__name__!r}: "
        "install the project (pip install -e .) and import agentgym.sandboxes"
    )


def choose() -> str:
    """The backend to use where none is named: docker if an engine answers, else local.

    Raises:
        SandboxError: Neither can be used; says why.
    """
    from importlib.util import find_spec

    from agentgym.errors import SandboxError
    from agentgym.sandboxes import engine, local

    found = engine.probe()
    if found.ok and find_spec("docker") is not None:
        return "docker"
    here = local.probe()
    if here.ok:
        return "local"
    why = f"{found.detail} ({found.remedy}); {here.detail} ({here.remedy})"
    raise SandboxError(f"no sandbox can be started: {why}")
