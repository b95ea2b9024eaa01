"""How commands end where an input or the machine is at fault."""

import errno
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf
import tqdm

from ecdctr_tf import command_line
from tests import training_world

ROOT = pathlib.Path(__file__).parent.parent
# Signal -> the word that a command ends with, and its exit status.
ENDS = {
    signal.SIGINT: ("Interrupted", 130),
    signal.SIGTERM: ("Terminated", 143),
}


def end_of(error, capsys, verbose=False):
    """Return exit status and lines of a command that raises an error."""
    with pytest.raises(SystemExit) as raised:
        with command_line.reported(verbose):
            raise error
    return raised.value.code, capsys.readouterr().err.splitlines()


def data_loss():
    """Return an error as TensorFlow raises it, many lines long."""

    @tf.function
    def read():
        return tf.io.parse_tensor(tf.constant(b"no tensor"), tf.int32)

    try:
        read()
    except tf.errors.OpError as error:
        return error


FULL = OSError(errno.ENOSPC, "No space left on device", "run/tpm/x")
FILES = OSError(errno.EMFILE, "Too many open files", "x")
MAY_NOT = PermissionError(errno.EACCES, "Permission denied", "run")
LOADED = ImportError("libtf.so: cannot open: Too many open files")


@pytest.mark.parametrize(
    "error, line",
    [
        (ValueError("`x` should\n  be 1."), "error: `x` should be 1."),
        (FileNotFoundError("There is no x."), "error: There is no x."),
        (
            FULL,
            "error: No space left on device: run/tpm/x. Free space on the "
            "disk, then run the command again.",
        ),
        (
            FILES,
            "error: Too many open files: x. Raise the limit of open files "
            "(`ulimit -n`), then run the command again.",
        ),
        (
            MAY_NOT,
            "error: Permission denied: run. Check the permissions "
            "there, then run the command again.",
        ),
        (
            NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b"),
            "error: Not a directory: a/b",
        ),
        (OSError(errno.EIO, "Input/output error"), "error: Input/output error"),
        (MemoryError(), "error: There is not enough memory."),
        (LOADED, f"error: {LOADED}"),
        (ValueError(), "error: ValueError"),
        (
            tf.errors.ResourceExhaustedError(None, None, "disk is full\n\tx"),
            "error: disk is full",
        ),
        (
            tf.errors.InvalidArgumentError(
                None,
                None,
                "Graph execution error:\n\nDetected at node 'x' defined at "
                "(most recent call last):\n<stack traces unavailable>\n"
                "{{function_node f}} Cannot parse\n\t [[{{node x}}]]",
            ),
            "error: Cannot parse",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_expected_errors_are_one_line(capsys, error, line):
    assert end_of(error, capsys) == (1, [line])


def test_an_error_of_a_graph_says_what_not_where(capsys):
    code, (line,) = end_of(data_loss(), capsys)
    assert code == 1
    assert line.startswith("error: Could not parse")
    assert "node" not in line


@pytest.mark.parametrize("error", [TypeError("x"), AssertionError("x")])
def test_errors_of_this_code_keep_their_traceback(error):
    with pytest.raises(type(error)):
        with command_line.reported():
            raise error


@pytest.mark.parametrize("error", [ValueError("x"), FULL])
def test_verbose_keeps_every_traceback(error):
    with pytest.raises(type(error)):
        with command_line.reported(verbose=True):
            raise error


@pytest.fixture
def handlers():
    """Gives the handlers back that a command which ends leaves ignored."""
    before = {of: signal.getsignal(of) for of in ENDS}
    yield
    for of, handler in before.items():
        signal.signal(of, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("verbose", [False, True])
def test_interrupt_ends_in_one_line(capsys, verbose):
    code, lines = end_of(KeyboardInterrupt(), capsys, verbose)
    assert code == 130
    assert lines == ["Interrupted. Run the same command again to continue."]


def test_handler_of_ctrl_c_is_given_back():
    before = signal.getsignal(signal.SIGINT)
    with command_line.reported():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


PROGRAMS = {
    # What runs may swallow the interrupt, or make another error of it.
    "as another error": """
        try:
            ready()
        except KeyboardInterrupt as error:
            raise TypeError("<built-in> returned a result") from error
    """,
    "in a generator": """
        import tqdm
        for _ in tqdm.tqdm(range(10), disable=True):
            ready()
    """,
    "while importing": """
        import sys, types
        class Finder:
            def find_spec(self, name, path=None, target=None):
                if name == "slow":
                    ready()
        sys.meta_path.insert(0, Finder())
        import slow
    """,
    "again and again": """
        import os
        try:
            ready()
        finally:
            try:
                os.kill(os.getpid(), 2)
                time.sleep(5)
            except KeyboardInterrupt:
                pass
    """,
}


def test_the_line_comes_after_progress_bars(capsys):
    bar = tqdm.tqdm(range(3))
    next(iter(bar))
    code, lines = end_of(ValueError("x"), capsys)
    del bar
    assert lines[-1] == "error: x"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "name, number",
    [*((name, signal.SIGINT) for name in PROGRAMS)]
    + [("in a generator", signal.SIGTERM), ("while importing", signal.SIGTERM)],
)
def test_a_process_that_is_asked_to_end(name, number):
    lines = [line[4:] for line in PROGRAMS[name].strip("\n").splitlines()]
    program = "\n".join(
        [
            "import time",
            "from ecdctr_tf import command_line",
            "def ready():",
            "    print('ready', flush=True)",
            "    time.sleep(60)",
            "with command_line.reported():",
            *lines,
        ]
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    word, status = ENDS[number]
    assert said == f"{word}. Run the same command again to continue.\n"
    assert process.returncode == status


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_ctrl_c_while_a_command_starts(tmp_path, seconds):
    """Examples are made by TensorFlow, which takes seconds to load."""
    (tmp_path / "spec.toml").write_text(training_world.LOGS_SPEC)
    command = [sys.executable, "-c", _SLOW, f"--spec={tmp_path / 'spec.toml'}"]
    process = subprocess.Popen(
        [*command, f"--out={tmp_path / 'out'}", "--format=examples"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout.readline() == "main\n"
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert "Traceback" not in said
    # The command may be over already, or just about to end.
    assert process.returncode in (130, 1, -signal.SIGINT)


# Says when the flags are parsed.
_SLOW = """
from absl import app
from ecdctr_tf.input import convert

def main(argv):
    print("main", flush=True)
    convert.main(argv)

app.run(main)
"""


@pytest.mark.parametrize("module", ["convert", "train_main"])
def test_commands_load_tensorflow_after_their_start(module):
    """So that Ctrl-C is handled while it loads."""
    name = "ecdctr_tf.input.convert" if module == "convert" else module
    program = f"import sys, {name}; print('tensorflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=dict(os.environ),
    )
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize("verbose", [False, True])
def test_a_quiet_start_drops_what_c_writes(capfd, verbose):
    with command_line.quiet_start(verbose):
        os.write(2, b"could not find cuda\n")
    os.write(2, b"after\n")
    said = capfd.readouterr().err.splitlines()
    assert said == ["could not find cuda", "after"][not verbose :]


def test_a_quiet_start_lets_errors_pass(capfd):
    with pytest.raises(ImportError), command_line.quiet_start():
        raise ImportError("no module")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
