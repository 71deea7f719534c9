"""Files in a folder: read without leaving it, written only where something changes."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from autopilot.common.errors import Invalid
from autopilot.common.problems import Problem
from workflows.definition.paths import quote
from workflows.definition.text import MAX_TEXT, read_text
from workflows.files.contents import EXTENSIONS, Source, read_file
from workflows.files.exporting import ExportedFile

MAX_FOLDER_BYTES = 64 * 1024 * 1024


class Done(StrEnum):
    """What became of a file in an export."""

    WRITTEN = "written"
    CHANGED = "changed"
    SAME = "unchanged"
    STALE = "stale"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Written:
    """A file of the folder after an export. note: which version, or why it is stale."""

    name: str
    done: Done
    note: str = ""


class FolderError(Invalid):
    """The folder can't be used."""

    code = "folder.unusable"


def read_folder(folder: Path) -> dict[str, Source]:
    """The files of workflows in a folder (or the one file) by their names.

    A file that can't be read is there with its problem. Folders inside, hidden files and other
    kinds of files are passed over. Raises FolderError if there is nothing to read from.
    """
    if folder.is_file():
        paths, folder = [folder], folder.parent
    else:
        paths = list(_files_of(folder))
    root = folder.resolve()
    found: dict[str, Source] = {}
    left = MAX_FOLDER_BYTES
    for path in paths:
        source = _source(path, root, left)
        left -= len(source) if isinstance(source, bytes) else 0
        found[path.name] = source
    return found


def write_folder(
    folder: Path,
    files: Iterable[ExportedFile],
    *,
    known: set[str] | None,
    prune: bool = False,
    check: bool = False,
) -> list[Written]:
    """Write what is not there yet or says something else.

    A file that says the same stays as it is, with its words and its comments. known: the slugs of
    all workflows; a file of none of them is stale (None: don't look). prune: remove what is stale.
    check: only say it. Raises FolderError where something can't be written.
    """
    there = _by_slug(folder) if folder.is_dir() else {}
    # All is looked at before anything is touched: a refusal leaves the folder as it was.
    planned = [_planned(there.get(each.slug, folder / each.name), each) for each in files]
    stale = [path for slug, path in there.items() if known is not None and slug not in known]
    done = [written for written, _, _ in planned] + [_stale(path, prune=prune) for path in stale]
    if not check:
        _make(folder)
        for written, path, text in planned:
            if written.done != Done.SAME:
                _replace(path, text)
        for each in done:
            if each.done == Done.REMOVED:
                _remove(folder / each.name)
    return sorted(done, key=lambda each: each.name)


def _files_of(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise FolderError(f"{folder} can't be read: {error.strerror}.") from None
    for entry in entries:
        if entry.name.endswith(EXTENSIONS) and not entry.name.startswith("."):
            yield Path(entry.path)


def _source(path: Path, root: Path, left: int) -> Source:
    try:
        if not path.resolve(strict=True).is_relative_to(root):
            return _unreadable("file.link", "This is a link that leads out of the folder.")
        if not path.is_file():
            return _unreadable("file.kind", "This is no file.")
        size = path.stat().st_size
        if size > 4 * MAX_TEXT:
            message = f"The file has {size:,} bytes; a text of at most {MAX_TEXT:,} is read."
            return _unreadable("text.too_large", message)
        if size > left:
            message = f"The files of the folder have more than {MAX_FOLDER_BYTES:,} bytes together."
            return _unreadable("folder.too_large", message)
        return path.read_bytes()
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "it is a link to itself"
        return _unreadable("file.unreadable", f"The file can't be read: {reason}.")


def _unreadable(code: str, message: str) -> Problem:
    return Problem("$", code, message)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(f"{folder} can't be made: {error.strerror}.") from None


def _by_slug(folder: Path) -> dict[str, Path]:
    """The files that are there, by the slug that their names say; .yaml goes before others."""
    paths = sorted(_files_of(folder), key=lambda path: EXTENSIONS.index(path.suffix), reverse=True)
    return {path.stem: path for path in paths}


def _planned(path: Path, each: ExportedFile) -> tuple[Written, Path, str]:
    """What is to become of a file, where it is, and its text."""
    if path.is_symlink():
        raise FolderError(f"{path} is a link: it is not written through.")
    if path.exists() and not path.is_file():
        raise FolderError(f"{path} is no file: nothing is written.")
    text = each.text
    if path.suffix == ".json":
        text = json.dumps(read_text(text).document, indent=2, ensure_ascii=False) + "\n"
    done = Done.WRITTEN
    if path.exists():
        same = each.is_said_by(read_file(path.name, _bytes(path)))
        done = Done.SAME if same else Done.CHANGED
    return Written(path.name, done, f"{each.version}, {each.state}"), path, text


def _bytes(path: Path) -> Source:
    return _source(path, path.parent.resolve(), MAX_FOLDER_BYTES)


def _replace(path: Path, text: str) -> None:
    """At once or not at all: somebody may be reading the folder."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(text.encode())
            mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
            os.chmod(temporary, mode)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise FolderError(f"{path} can't be written: {error.strerror}.") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _stale(path: Path, *, prune: bool) -> Written:
    content = read_file(path.name, _bytes(path))
    if path.is_symlink() or not content.is_definition:
        return Written(path.name, Done.STALE, "it is no workflow's file and stays")
    note = f"there is no workflow {quote(path.stem)}"
    return Written(path.name, Done.REMOVED if prune else Done.STALE, note)


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise FolderError(f"{path} can't be removed: {error.strerror}.") from None
