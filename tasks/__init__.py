"""Task sets: data and generators, each with its source and licence."""

if __name__ != "agentgym.tasks":
    raise ImportError(
        f"this folder is the package agentgym.tasks, not {__name__!r}: "
        "install the project (pip install -e .) and import agentgym.tasks"
    )
