import http.server
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from prunemark.datasets.files import ENVIRONMENT_VARIABLE


class FileServer:
    """Serves `files` by name from 127.0.0.1, from the middle too if asked and if `resumes`.

    `failures[name]` answers of 503 come first; the connection of the answers after them is dropped after as many bytes
    as `drops[name]` lists. `offsets[name]` are where the answers began.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.resumes = True
        self.failures: Counter[str] = Counter()
        self.drops: dict[str, list[int]] = {}
        self.requests: Counter[str] = Counter()
        self.offsets: dict[str, list[int]] = defaultdict(list)
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[-1]
                owner.requests[name] += 1
                if owner.failures[name] > 0:
                    owner.failures[name] -= 1
                    self.send_error(503)
                elif name in owner.files:
                    self.send(name, owner.files[name])
                else:
                    self.send_error(404)

            def send(self, name: str, content: bytes) -> None:
                asked = self.headers.get("Range", "") if owner.resumes else ""
                start = int(asked.removeprefix("bytes=").removesuffix("-") or 0)
                if start >= len(content) > 0:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.end_headers()
                    return
                owner.offsets[name].append(start)
                self.send_response(206 if asked else 200)
                if asked:
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                cut = owner.drops.get(name, [])
                self.wfile.write(content[start : start + cut.pop(0)] if cut else content[start:])

            def log_message(self, *_: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/files/"


@pytest.fixture
def server() -> Iterator[FileServer]:
    served = FileServer()
    thread = threading.Thread(target=served.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.http.shutdown()
    thread.join()
    served.http.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of downloads, no PRUNEMARK_DATA, no proxy, no pause before another try."""
    for variable in (ENVIRONMENT_VARIABLE, "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    folder = tmp_path / "cache" / "prunemark"
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda project: str(folder.parent / project))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    return folder
