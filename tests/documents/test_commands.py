"""What the welcome and the README tell people to type works as printed, against the running demo."""

import os
import pathlib
import re
import subprocess

import pytest

DEMO = os.environ["GATEHOUSE_URL"]
WELCOME = pathlib.Path(os.environ["GATEHOUSE_WELCOME"]).read_text()
README = (pathlib.Path(__file__).parents[2] / "README.md").read_text()


def commands_of(welcome):
    """The lines that begin with `curl` or `NAME=$(curl`, with the lines they continue on."""
    lines = iter(line.strip().removeprefix("$ ") for line in welcome.splitlines())
    for line in lines:
        if re.match(r"curl\s|[A-Za-z_]+=[\"']?\$\(\s*curl\s", line):
            while line.endswith("\\"):
                line += "\n" + next(lines)
            yield line


def blocks_of(readme):
    """The fenced blocks that stand right below `<!-- run -->`; the demo's own port takes the place of 8080."""
    blocks = re.findall(r"^<!-- run -->\n+```sh\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    return [block.replace("localhost:8080", DEMO.removeprefix("http://")) for block in blocks]


def run(script, folder):
    """With `curl` told to fail on an HTTP error, which is all that is added to what is printed."""
    (folder / ".curlrc").write_text("fail\nshow-error\n")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, "CURL_HOME": str(folder)},
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


def test_the_readme_has_commands_to_run():
    assert blocks_of(README)


@pytest.mark.parametrize("block", blocks_of(README))
def test_every_command_block_of_the_readme_works_as_printed(block, tmp_path):
    run(block, tmp_path)
