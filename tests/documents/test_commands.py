"""What the welcome and the documents tell people to type works as printed, against the running demo."""

import os
import pathlib
import re
import subprocess

import pytest

DEMO = os.environ["GATEHOUSE_URL"]
WELCOME = pathlib.Path(os.environ["GATEHOUSE_WELCOME"]).read_text()
COMMANDS = pathlib.Path(os.environ["GATEHOUSE"]).parent
ROOT = pathlib.Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands_of(welcome):
    """The lines that begin with `curl` or `NAME=$(curl`, with the lines they continue on."""
    lines = iter(line.strip().removeprefix("$ ") for line in welcome.splitlines())
    for line in lines:
        if re.match(r"curl\s|[A-Za-z_]+=[\"']?\$\(\s*curl\s", line):
            while line.endswith("\\"):
                line += "\n" + next(lines)
            yield line


def blocks_of(document):
    """The fenced blocks that stand right below `<!-- run -->`; the demo's own port takes the place of 8080."""
    blocks = re.findall(r"^<!-- run -->\n+```sh\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    return [block.replace("localhost:8080", DEMO.removeprefix("http://")) for block in blocks]


def run(script, folder):
    """With `curl` told to fail on an HTTP error, `gatehouse` to be found, and the demo's data beside it."""
    (folder / ".curlrc").write_text("fail\nshow-error\n")
    (folder / "demo").symlink_to(os.environ["GATEHOUSE_DATA"])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, "CURL_HOME": str(folder), "PATH": f"{COMMANDS}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_welcome_names_its_address_and_prints_a_command_for_each_flow():
    assert DEMO in WELCOME
    assert len(list(commands_of(WELCOME))) >= 2


def test_every_command_of_the_welcome_works_as_printed(tmp_path):
    run("\n".join(commands_of(WELCOME)), tmp_path)


BLOCKS = [
    pytest.param(block, id=f"{document.name}-{number}")
    for document in DOCUMENTS
    for number, block in enumerate(blocks_of(document.read_text()), 1)
]


def test_the_readme_and_the_admin_api_have_commands_to_run():
    assert all(blocks_of((ROOT / name).read_text()) for name in ("README.md", "docs/admin-api.md"))


@pytest.mark.parametrize("block", BLOCKS)
def test_every_command_block_of_the_documents_works_as_printed(block, tmp_path):
    run(block, tmp_path)
