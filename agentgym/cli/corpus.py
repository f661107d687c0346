"""Build the index of a corpus, check it, describe it, serve it, or push it into Qdrant.

`build` reads JSON lines (id, title, and text, contents or sentences, a passage a line), Markdown,
HTML, or a folder of pages. `serve` answers `POST /retrieve` as Search-R1, verl, SkyRL-Gym and GEM
ask it; a folder that holds no index yet but a corpus is indexed in memory.

Examples:
agentgym corpus build wiki.jsonl.gz --out index
agentgym corpus build docs/ --out index --dense minilm
agentgym corpus stats index --json
agentgym corpus serve index --port 8000
agentgym corpus push index qdrant://127.0.0.1:6333/wiki
"""

from __future__ import annotations

import argparse
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentgym.cli.parsing import real, whole
from agentgym.errors import ConfigError

if TYPE_CHECKING:
    from agentgym.retrieval.folder import Manifest
    from agentgym.retrieval.local import LocalRetriever


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "action", choices=tuple(_ACTIONS), help="what to do; all but build take an index's folder"
    )
    parser.add_argument("what", metavar="WHAT", help="build: the corpus; else the index's folder")
    parser.add_argument("to", metavar="TO", nargs="?", help="push: qdrant://HOST:PORT/COLLECTION")
    parser.add_argument("--json", action="store_true", help="print JSON")
    building = parser.add_argument_group("build")
    building.add_argument("--out", metavar="FOLDER", type=Path, help="where the index goes")
    building.add_argument("--name", metavar="NAME", help="of the corpus (FOLDER's if unset)")
    building.add_argument(
        "--title-weight", metavar="N", type=whole(0, 10), help="times the title counts (2)"
    )
    building.add_argument("--k1", metavar="X", type=real(0, above=True), help="of BM25 (1.5)")
    building.add_argument("--b", metavar="X", type=real(0, 1), help="of BM25 (0.75)")
    building.add_argument(
        "--words", metavar="N", type=whole(10, 2000), help="of a passage cut from a page (120)"
    )
    building.add_argument(
        "--dense",
        metavar="MODEL",
        help="make vectors too, by sentence-transformers: minilm, a folder or a hub's name",
    )
    serving = parser.add_argument_group("serve")
    serving.add_argument(
        "--host", metavar="HOST", help="where to listen (127.0.0.1: this machine alone)"
    )
    serving.add_argument("--port", metavar="PORT", type=whole(0, 65535), help="(8000); 0: any")
    serving.add_argument("--engine", metavar="ENGINE", help="bm25, dense or bm25+dense")


_BUILDING = ("out", "name", "title_weight", "k1", "b", "words", "dense")
_SERVING = ("host", "port", "engine")


def run(args: argparse.Namespace) -> int:
    """Do what is asked."""
    for action, names in (("build", _BUILDING), ("serve", _SERVING)):
        for name in names:
            if args.action != action and getattr(args, name) is not None:
                flag = name.replace("_", "-")
                raise ConfigError(f"--{flag} goes with `agentgym corpus {action}`")
    if args.action != "push" and args.to is not None:
        raise ConfigError(f"{args.to!r} is one argument too many")
    return _ACTIONS[args.action](args)


def _build(args: argparse.Namespace) -> int:
    from agentgym.cli.data import Meter
    from agentgym.retrieval.bm25 import BM25Parameters
    from agentgym.retrieval.building import build_index
    from agentgym.retrieval.dense import SentenceEmbedder
    from agentgym.retrieval.folder import verify_index
    from agentgym.retrieval.sources import WORDS, read_source

    if args.out is None:
        raise ConfigError("where to? give --out FOLDER")
    chosen = {
        name: value
        for name in ("title_weight", "k1", "b")
        if (value := getattr(args, name)) is not None
    }
    begun = time.monotonic()
    with Meter() as meter:
        build_index(
            read_source(args.what, words=args.words or WORDS, progress=meter),
            args.out,
            name=args.name or "",
            parameters=BM25Parameters(**chosen),
            embedder=SentenceEmbedder(args.dense) if args.dense else None,
            progress=meter,
        )
    manifest = verify_index(args.out)
    return _show(args, manifest, {"seconds": round(time.monotonic() - begun, 3)})


def _verify(args: argparse.Namespace) -> int:
    from agentgym.retrieval.folder import verify_index

    return _show(args, verify_index(args.what), {"ok": True})


def _stats(args: argparse.Namespace) -> int:
    from agentgym.retrieval.folder import open_index

    with contextlib.closing(open_index(args.what, check=False)) as index:
        sizes = [len(passage.text.split()) for passage in index]
        words = {"words": sum(sizes), "words_a_passage": round(sum(sizes) / len(sizes), 1)}
        return _show(args, index.manifest, words)


def _show(args: argparse.Namespace, manifest: Manifest, more: dict[str, Any]) -> int:
    from agentgym.cli import render

    about = {
        "index": str(args.out if args.action == "build" else args.what),
        "corpus": manifest.name,
        "passages": manifest.passages,
        "terms": manifest.terms,
        "bytes": sum(size for size, _ in manifest.files.values()),
        "fingerprint": manifest.corpus,
        "analysis": manifest.analysis,
        **manifest.bm25,
        "model": manifest.model_name or None,
        **more,
    }
    if args.json:
        render.print_json(about)
    else:
        rows = [[name.replace("_", " "), _shown(value)] for name, value in about.items()]
        render.print_table(["", ""], rows)
    return 0


def _shown(value: Any) -> str:
    return "–" if value is None else "yes" if value is True else str(value)


def _serve(args: argparse.Namespace) -> int:
    import asyncio

    from agentgym.cli import render, say
    from agentgym.retrieval.server import serve

    with contextlib.closing(_open(args)) as retriever:
        corpus = retriever.corpus
        about = {"corpus": corpus.name, "passages": len(corpus)}

        def ready(url: str) -> None:
            if args.json:
                render.print_json({"url": url, "fingerprint": retriever.fingerprint, **about})
            else:
                render.print_line(f"{corpus.name}, {len(corpus)} passages, at {url}")
            if args.host not in (None, "127.0.0.1", "::1", "localhost"):
                say(f"everybody who reaches {args.host} may search")

        host = args.host or "127.0.0.1"
        port = 8000 if args.port is None else args.port
        asyncio.run(serve(retriever, host, port, about=about, on_ready=ready))
    return 0


def _open(args: argparse.Namespace) -> LocalRetriever:
    from agentgym.retrieval.base import Passages
    from agentgym.retrieval.folder import is_index
    from agentgym.retrieval.opening import open_local
    from agentgym.retrieval.sources import read_source

    if is_index(args.what):
        options = {"engine": args.engine} if args.engine else {}
        return open_local(str(Path(args.what).resolve()), None, options)
    return open_local(args.engine or "bm25", Passages(args.what, read_source(args.what)), {})


def _push(args: argparse.Namespace) -> int:
    from agentgym.cli import render
    from agentgym.cli.data import Meter
    from agentgym.retrieval.folder import open_index
    from agentgym.retrieval.qdrant import connect, push

    if args.to is None or not args.to.startswith("qdrant"):
        raise ConfigError("push where to? give qdrant://HOST:6333/COLLECTION")
    with contextlib.closing(open_index(args.what)) as index, Meter() as meter:
        client, collection = connect(args.to, timeout_s=60.0)
        with contextlib.closing(client):
            push(client, collection, index, index.bm25, progress=meter)
    done = {"to": args.to, "passages": len(index), "fingerprint": index.fingerprint}
    if args.json:
        render.print_json(done)
    else:
        render.print_line(f"{len(index)} passages are in {args.to}")
    return 0


_ACTIONS = {
    "build": _build,
    "verify": _verify,
    "stats": _stats,
    "serve": _serve,
    "push": _push,
}
