"""Where untrusted things run: containers, local processes, browsers."""

if __name__ != "agentgym.sandboxes":
    raise ImportError(
        f"this folder is the package agentgym.sandboxes, not {__name__!r}: "
        "install the project (pip install -e .) and import agentgym.sandboxes"
    )
