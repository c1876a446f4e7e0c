"""A small server that speaks the Hub's protocol, for tests."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
from contextlib import contextmanager

from huggingface_hub import constants

from triptych.base import hub

SHA = {"main": "1" * 40, "v2": "2" * 40}


class Hub(http.server.BaseHTTPRequestHandler):
    """`files`: {name: {revision: {file: bytes}}}; `rules`: what it does besides."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def refuse(self, status, code):
        self.answer(status, X_Error_Code=code, X_Error_Message=code)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        rules = self.server.rules
        self.server.asked.append((self.command, self.path, self.headers.get("Range"), self.headers.get("Authorization")))
        match = re.match(r"/(?:api/models/)?(?P<name>[^/]+/[^/]+)/(?P<what>revision|tree|resolve|refs)/?(?P<rest>[^?]*)", self.path)
        name = match["name"] if match else ""
        if name not in self.server.files:
            return self.refuse(401, "RepoNotFound")
        if name == rules.get("private") and self.headers.get("Authorization") != "Bearer secret":
            return self.refuse(401, "RepoNotFound")
        if name == rules.get("gated"):
            return self.refuse(403, "GatedRepo")
        revisions = self.server.files[name]
        if match["what"] == "refs":
            refs = [{"name": r, "ref": f"refs/heads/{r}", "targetCommit": SHA[r]} for r in revisions]
            return self.answer(200, json.dumps({"branches": refs, "tags": [], "converts": []}).encode())
        revision, _, file = match["rest"].partition("/")
        held = next((files for r, files in revisions.items() if revision in (r, SHA[r])), None)
        if held is None:
            return self.refuse(404, "RevisionNotFound")
        sha = SHA[next(r for r in revisions if revision in (r, SHA[r]))]
        if match["what"] == "revision":
            info = {"_id": "1", "id": name, "sha": sha, "private": False, "siblings": [{"rfilename": f} for f in held], "tags": []}
            return self.answer(200, json.dumps({**info, "downloads": 0, "likes": 0}).encode())
        if match["what"] == "tree":
            rows = [{"type": "file", "path": f, "size": len(c), "oid": hashlib.sha1(c).hexdigest()} for f, c in held.items()]
            return self.answer(200, json.dumps(rows).encode())
        return self.file(held.get(file), sha)

    def file(self, content, sha):
        if content is None:
            return self.refuse(404, "EntryNotFound")
        words = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X_Repo_Commit": sha, "Accept_Ranges": "bytes"}
        start = int(m[1]) if (m := re.match(r"bytes=(\d+)-", self.headers.get("Range") or "")) else 0
        if start:
            words["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if self.command == "GET" and len(content) > 4000 and self.server.rules.pop("break", None):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.connection.close()
            self.close_connection = True
            return None
        return self.answer(206 if start else 200, content[start:], **words)


@contextmanager
def serving(tmp_path, monkeypatch):
    """An empty hub with an empty cache."""
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    made.daemon_threads = True
    made.files, made.rules, made.asked = {}, {}, []
    threading.Thread(target=made.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{made.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    hub._downloaded.cache_clear()
    yield made
    made.shutdown()
    made.server_close()
    hub._downloaded.cache_clear()
