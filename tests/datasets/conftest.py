import http.server
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from prunemark.datasets.files import ENVIRONMENT_VARIABLE


class FileServer:
    """Serves `files` by name from 127.0.0.1; `failures[name]` answers of 503 come first."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.failures: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[-1]
                owner.requests[name] += 1
                if owner.failures[name] > 0:
                    owner.failures[name] -= 1
                    self.send_error(503)
                elif name in owner.files:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(owner.files[name])))
                    self.end_headers()
                    self.wfile.write(owner.files[name])
                else:
                    self.send_error(404)

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
    monkeypatch.setattr("pooch.os_cache", lambda project: folder.parent / project)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    return folder
