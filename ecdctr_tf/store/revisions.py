"""Which code is running: the version of the package, and its git revision."""

import functools
import pathlib
import subprocess

from ecdctr_tf import __version__


@functools.cache
def revision() -> str:
    """Return the version, with the git revision where the code is under git.

    Returns:
      Such as `0.1.0`, `0.1.0 1d29ff8bd3a7` or, where files differ from those of
      the revision, `0.1.0 1d29ff8bd3a7-dirty`.
    """
    here = pathlib.Path(__file__).resolve()
    try:
        # An installed package may lie in a repository of something else.
        _git(here.parent, "ls-files", "--error-unmatch", here.name)
        described = _git(
            here.parent,
            *("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"),
        )
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f"{__version__} {described}"


def _git(directory: pathlib.Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(directory), *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=10,
    ).stdout.strip()
