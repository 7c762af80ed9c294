#!/usr/bin/env python3
"""Fill in the settings: write the files of deploy/ that cannot read settings.env, with its values, to build/deploy/.

    deploy/render.py            after every change of the settings
    deploy/render.py --check    checks the settings and the files, and writes nothing

In the files, ``${NAME}`` stands for a value, as in ``envsubst``. The environment variable TLNLP_SETTINGS names another
file of settings. The program needs Python alone, and no package.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent
SETTINGS = DEPLOY / "settings.env"
# Each of these folders is filled in, except the scripts in it, which read the settings themselves.
FOLDERS = ("airflow", "iam", "k8s", "managed", "ray", "spark", "systemd")
# Bash reads these lines too: a value holds nothing that bash would read otherwise.
LINE = re.compile(r"([A-Z][A-Z0-9_]*)=((?:[\w./:@+-]|\$\{[A-Z0-9_]+\})*)")
PLACEHOLDER = re.compile(r"\$\{([A-Z0-9_]+)\}")


def fill_in(text: str, values: Mapping[str, str], where: object) -> str:
    """Return a text with the value in place of each ``${NAME}``; a name that has no value ends the program."""
    for name in PLACEHOLDER.findall(text):
        if name not in values:
            sys.exit(f"{where}: ${{{name}}} is no setting: correct the name, or set it in {SETTINGS}")
    return PLACEHOLDER.sub(lambda found: values[found[1]], text)


def read_settings(path: Path, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the settings of a file; a line that is not NAME=VALUE ends the program.

    Args:
        path: the file.
        known: where given, the file must have these names and no others.
    """
    if not path.is_file():
        sys.exit(f"{path}: there is no such file of settings: correct TLNLP_SETTINGS, or unset it")
    values: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        where = f"{path}, line {number}"
        found = LINE.fullmatch(line)
        if found is None:
            sys.exit(f"{where}: write NAME=VALUE, without spaces and quotes")
        name, value = found[1], fill_in(found[2], values, where)
        if not value:
            sys.exit(f"{where}: {name} has no value: set it; where you do not use it, take that of {SETTINGS}")
        if known is not None and name not in known:
            sys.exit(f"{where}: {name} is no setting: {SETTINGS} has all names")
        values[name] = value
    for name in known or ():
        if name not in values:
            sys.exit(f"{path}: {name} is not set: copy its line from {SETTINGS}")
    return values


def rendered(values: Mapping[str, str]) -> dict[str, str]:
    """Return the filled-in text of each file, by its path in deploy/."""
    files = [path for folder in FOLDERS for path in sorted((DEPLOY / folder).iterdir()) if path.is_file()]
    return {
        str(path.relative_to(DEPLOY)): fill_in(path.read_text(encoding="utf-8"), values, path)
        for path in files
        if path.suffix != ".sh"
    }


def write(texts: Mapping[str, str], folder: Path) -> None:
    """Write the files that have changed, each at once, so that a job that starts meanwhile never reads half a file."""
    for name, text in texts.items():
        path = folder / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.{os.getpid()}")
        new.write_text(text, encoding="utf-8")
        new.replace(path)


def main() -> None:
    """Check the settings, fill in every file, and write the files unless ``--check`` is given."""
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    values = read_settings(Path(os.environ.get("TLNLP_SETTINGS") or SETTINGS), read_settings(SETTINGS))
    texts = rendered(values)
    if not sys.argv[1:]:
        folder = DEPLOY.parent / values["RENDERED"]
        write(texts, folder)
        print(f"wrote {len(texts)} files to {folder}", file=sys.stderr)


if __name__ == "__main__":
    main()
