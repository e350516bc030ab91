"""An installation of its own for each test: configuration, master key, database, and the real binary as `GATEHOUSE`."""

import base64
import json
import os
import queue
import re
import secrets
import subprocess
import threading
from pathlib import Path

import pytest

# Only a failing test waits so long.
PATIENCE = 60

GATEHOUSE = os.environ.get("GATEHOUSE", str(Path(__file__).parents[2] / "target/debug/gatehouse"))


class Server:
    """`gatehouse serve`, and what it logs."""

    def __init__(self, process):
        self.process = process
        self.lines = []
        self.news = queue.Queue()
        threading.Thread(target=self.listen, daemon=True).start()
        ready = self.logged("ready")
        self.port = int(re.search(r":(\d+)", ready["listen"]).group(1))
        self.ready = ready
        self.url = f"http://127.0.0.1:{self.port}"

    def listen(self):
        for line in self.process.stderr:
            self.lines.append(line)
            self.news.put(line)
        self.news.put(None)

    def logged(self, message):
        """Waits for a line of the log."""
        while True:
            line = self.news.get(timeout=PATIENCE)
            assert line is not None, "".join(self.lines)
            event = json.loads(line)
            if event["message"] == message:
                return event

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=PATIENCE) == 0, "".join(self.lines)
        return "".join(self.lines)


class Installation:
    def __init__(self, folder):
        self.folder = folder
        self.environment = {"PATH": os.environ["PATH"]}
        self.servers = []
        self.secret("master.key", base64.b64encode(secrets.token_bytes(32)).decode())

    def secret(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def configure(self, more="", top=""):
        (self.folder / "gatehouse.toml").write_text(
            f'listen = ["127.0.0.1:0"]\ndatabase = "sqlite:house.db"\ndefault_instance = "erp"\n{top}\n'
            f'[master_key]\nfile = "master.key"\n{more}\n'
            '[[instance]]\nname = "erp"\nurl = "http://erp.localhost:8080"\n'
        )

    def run(self, *arguments, code=0):
        command = [GATEHOUSE, *arguments, "--config", str(self.folder / "gatehouse.toml")]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def json(self, *arguments, code=0):
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def serve(self):
        command = [GATEHOUSE, "serve", "--config", str(self.folder / "gatehouse.toml")]
        process = subprocess.Popen(command, env=self.environment, stderr=subprocess.PIPE, text=True)
        self.servers.append(process)
        return Server(process)


@pytest.fixture
def installation(tmp_path):
    made = Installation(tmp_path)
    yield made
    for process in made.servers:
        process.kill()
        process.wait()
