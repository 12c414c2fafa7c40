"""A proxy that refuses everything and writes down who was asked for.

Programs in other languages (curl, git, wget) and Pythons that ignore PYTHONPATH never load the sandbox; told to use
this proxy, they knock here first, and the run is reported as `network`. Nothing is ever passed on.
"""

import asyncio
import json
from pathlib import Path

ANSWER = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
READ_TIMEOUT_S = 2.0


class RefusingProxy:
    """Listens on a loopback port of its own while the block runs; each request becomes a line of `log`."""

    def __init__(self, log: Path):
        self.log = log
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        """Begin to listen; returns the address for `https_proxy` and its relatives."""
        self._server = await asyncio.start_server(self._refuse, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def stop(self) -> None:
        """Stop listening. May be called twice."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), READ_TIMEOUT_S)
            words = line.decode("ascii", "replace").split()
            entry = {"event": "proxy", "host": words[1] if len(words) > 1 else "another host", "port": None, "at": ""}
            with self.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
            writer.write(ANSWER)
            await writer.drain()
        except (OSError, TimeoutError, ValueError):
            pass
        finally:
            writer.close()
