"""One word for one thing: retired words do not come back into source, documentation or messages."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

RETIRED = {
    "picture": r"pictures?",
    "office, clerk, ledger, tally, toll": r"office|clerk|ledger|tally|toll",
    "reading (a candidate)": r"readings",
    "handover, visit": r"handover|visit",
    "right (a scope)": r"rights",
    "whoever, nobody": r"whoever|(?<!\")nobody|somebody",
    "shall, for ever": r"shall|for ever",
    "is no": r"(?<!there )is no (?!longer)[a-z]+",
    "let in": r"let in|lets in",
    "take away": r"take away|takes away|taken away",
}

# Migrations name the columns of older releases, and the changelog reports what was renamed.
TEXT = ("*.py", "*.md", "*.js", "*.html", "*.css", "*.toml", "*.yml", "*.lua", "Makefile", ".ci/run")
EXCEPT = re.compile(
    r"/migrations/|^CHANGELOG\.md$|^training/|/test_vocabulary\.py$|^benchmarks/results/|^LICENSE$|_page/"
)


def files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", *TEXT], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.splitlines() if not EXCEPT.search(name) and (ROOT / name).is_file()]


@pytest.mark.parametrize("word", RETIRED)
def test_a_retired_word_is_not_used(word: str) -> None:
    pattern = re.compile(rf"(?<![a-z])(?:{RETIRED[word]})(?![a-z])", re.I)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in files()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)
