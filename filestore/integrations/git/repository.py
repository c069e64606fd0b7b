"""Where a store is in a git repository, and which of git's paths are its documents."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filestore.codec import codec_named
from filestore.engine import config as configuration
from filestore.engine.layout import CONFIG, Layout
from filestore.errors import FilestoreError, NotFound
from filestore.integrations.git.run import Git, GitError

if TYPE_CHECKING:
    from filestore.codec import Codec
    from filestore.model import Key


@dataclass(frozen=True, slots=True)
class Repository:
    """A store whose folder is in a work tree.

    ``prefix`` is the way from the repository's top to the store, with a slash at the end, or
    empty.  ``objects`` and ``index`` are the folder and the file where git has them.
    ``object_format`` is sha1 or sha256.  Git is run in the store's folder, so its
    paths are those below it.
    """

    git: Git
    root: str
    prefix: str
    git_dir: str
    objects: str
    index: str
    object_format: str
    config: configuration.Config
    codec: Codec
    layout: Layout

    def key_of(self, path: str) -> Key | None:
        """The document that a path below the store's folder is; None for any other file."""
        return self.layout.key(f"{self.root}/{path}")

    def path_of(self, key: Key) -> str:
        """The path below the store's folder of a document's file."""
        return self.layout.path(key)[len(self.layout.root) + 1 :]


def find(root: str) -> Repository:
    """The repository that the store in the folder ``root`` is in.

    Raises NotFound where there is no store, GitError where there is no work tree.
    """
    root = os.path.realpath(root)
    try:
        with open(os.path.join(root, CONFIG), "rb") as file:
            raw = file.read(1 << 16)
    except OSError as error:
        raise NotFound(f"{root}: there is no store here (no {CONFIG})", path=root) from error
    config = configuration.parse(raw, os.path.join(root, CONFIG))
    git = Git(root)
    try:
        told = git.text(
            *("rev-parse", "--show-prefix", "--is-inside-work-tree", "--absolute-git-dir"),
            *("--show-object-format", "--git-path", "objects", "--git-path", "index"),
        )
    except GitError as error:
        if "not a git repository" in error.message:
            raise GitError(
                f"{root} is in no git repository: make one with: git init", path=root
            ) from error
        raise
    prefix, inside, git_dir, form, objects, index = told.split("\n")
    if inside != "true":
        raise GitError(f"{root} is in no work tree of git", path=root)
    codec = codec_named(config.codec)
    layout = Layout(root, codec.suffix, config.fanout)
    return Repository(
        *(git, root, prefix, git_dir, os.path.join(root, objects), os.path.join(root, index)),
        *(form, config, codec, layout),
    )


def parsed(codec: Codec, raw: bytes) -> bytes | None:
    """The canonical bytes of a file; None when it can't be read."""
    try:
        return codec.parse(raw)
    except FilestoreError:
        return None
