"""The environments of the peers, which cannot share one with this project."""

import pathlib
import subprocess
import sys

PINS = pathlib.Path(__file__).parent
# Beside the package, ignored by git.
PLACE = PINS.parent / ".peers"
NAMES = ("torch", "deepctr")


def python(name: str) -> pathlib.Path:
    """Return the interpreter of an environment, made if it is not there.

    Args:
      name: `<name>.txt` beside this file pins its packages.

    Raises:
      FileNotFoundError: there is no such environment.
      RuntimeError: the packages could not be installed; the message has the
        end of what pip said.
    """
    pins = (PINS / f"{name}.txt").read_text(encoding="utf-8")
    place = PLACE / name
    interpreter = place / "bin" / "python"
    installed = place / "installed.txt"
    if installed.exists() and installed.read_text(encoding="utf-8") == pins:
        return interpreter
    print(f"making {place.relative_to(PLACE.parent.parent)}", file=sys.stderr)
    _run(sys.executable, "-m", "venv", "--clear", str(place))
    pip = [str(interpreter), "-m", "pip", "install", "-q"]
    _run(*pip, "--disable-pip-version-check", "-r", str(PINS / f"{name}.txt"))
    installed.write_text(pins, encoding="utf-8")
    return interpreter


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stderr[-2000:]}")
