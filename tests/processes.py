"""Other processes that tests start, wait for and end."""

import contextlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator

from tests import training_world


@contextlib.contextmanager
def waiting(program: str) -> Iterator[subprocess.Popen]:
    """Run a program up to its `ready()`; kill it at the end.

    Args:
      program: Python; `ready` says so to the test and waits for ever.
    """
    prelude = """
    import sys, time

    def ready():
        print("ready", flush=True)
        time.sleep(600)
    """
    source = textwrap.dedent(prelude) + textwrap.dedent(program)
    with subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def locked_by_another_process(directory, name=".lock"):
    """Hold the lock of a directory inside a `with` block."""
    return waiting(f"""
        from ecdctr_tf import store

        with store.lock({str(directory)!r}, "resting", {name!r}):
            ready()
    """)


def begun(module, *arguments, **environment) -> subprocess.Popen:
    """Begin a module as a program of its own.

    Args:
      module: its name, such as "tests.clustered".
      *arguments: of the program.
      **environment: variables beside those of this process.
    """
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=training_world.ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(processes, seconds) -> list[str]:
    """Return what processes print; fail with their output if they fail.

    Args:
      processes: those of `begun`.
      seconds: that each may take.
    """
    found = []
    try:
        for process in processes:
            output, errors = process.communicate(timeout=seconds)
            assert process.returncode == 0, errors[-4000:]
            found.append(output)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return found
