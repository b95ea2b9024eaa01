"""Other processes that tests start, wait for and end."""

import contextlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator


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
