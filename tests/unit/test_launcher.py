"""The executable: that a process revived from the snapshot is as good as one that was started from nothing."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundles.config import docker_like
from tests.harness import probe as probes

REPO = Path(__file__).resolve().parents[2]
STELE = REPO / "build/bin/stele"
COLD = {"STELE_NO_SNAPSHOT": "1"}
STARTS = [pytest.param({}, id="snapshot"), pytest.param(COLD, id="cold")]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return probes.build(tmp_path_factory.mktemp("probe"))


@pytest.fixture(params=STARTS)
def probe(request: pytest.FixtureRequest, program: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """`probe(text, *args, env=...)` runs Python text in the executable, started in both ways."""

    def run(text: str, *args: str | bytes, env: dict[Any, Any] | None = None, **more: Any) -> Any:
        more.setdefault("stdin", subprocess.DEVNULL)
        more.setdefault("capture_output", True)
        return subprocess.run(
            [program, text, *args], env={**(env or {}), **request.param}, check=False, timeout=60, **more
        )

    return run


def result(done: subprocess.CompletedProcess[bytes]) -> Any:
    assert (done.returncode, done.stderr) == (0, b""), done
    return json.loads(done.stdout)


def test_the_snapshot_is_used_unless_forbidden(program: Path) -> None:
    """What was frozen before the dump is there in the one start and not in the other."""
    text = "import gc\nresult = gc.get_freeze_count()"
    assert result(subprocess.run([program, text], env={}, capture_output=True, check=False)) > 1000
    assert result(subprocess.run([program, text], env=COLD, capture_output=True, check=False)) == 0


# ---- what a process has of its own ----


def test_arguments_and_environment_are_this_process_s(probe: Any) -> None:
    text = "result = [argv, sys.argv[2:], {k: os.environb[k.encode()].hex() for k in ('A', 'B')}, 'TZ' in os.environ]"
    bytes_ = b"caf\xe9\xff"
    done = probe(text, bytes_, "", "\N{SNOWMAN}", env={"A": bytes_, "B": ""})
    decoded = [bytes_.decode("utf-8", "surrogateescape"), "", "\N{SNOWMAN}"]
    assert result(done) == [decoded, decoded, {"A": bytes_.hex(), "B": ""}, False]


def test_environment_is_complete_and_reaches_children(probe: Any) -> None:
    many = {f"NAME{i}": "x" * i for i in range(300)}
    text = "result = [dict(os.environ), os.environ.setdefault('NEW', 'n'), os.popen('echo $NEW $NAME3').read()]"
    seen, new, said = result(probe(text, env={**many, "PATH": os.environ["PATH"]}))
    assert {k: v for k, v in seen.items() if k.startswith("NAME")} == many
    assert (new, said) == ("n", "n xxx\n")


def test_process_and_thread_ids_are_this_process_s(probe: Any) -> None:
    text = """
import _thread
main = threading.main_thread()
result = [os.getpid() == main.native_id == threading.get_native_id(), main.ident == _thread.get_ident(),
          threading.current_thread() is main, threading.enumerate() == [main]]
"""
    assert result(probe(text)) == [True] * 4


def test_random_numbers_differ_between_processes(probe: Any) -> None:
    text = "import random, uuid, tempfile; result = [random.random(), str(uuid.uuid4()), os.urandom(8).hex()]"
    first, second = result(probe(text)), result(probe(text))
    assert not set(first) & set(second)


def test_hash_seed_is_not_zero_and_fixed_only_by_the_snapshot(program: Path) -> None:
    def hashes(env: dict[str, str]) -> set[str]:
        return {subprocess.check_output([program, "print(hash('stele'))"], env=env, text=True) for _ in range(3)}

    unseeded = subprocess.check_output(
        [sys.executable, "-c", "print(hash('stele'))"], env={"PYTHONHASHSEED": "0"}, text=True
    )
    assert len(hashes({})) == 1
    assert len(hashes(COLD)) == 3
    assert unseeded not in hashes({})


def test_clock_and_time_zone_are_now(probe: Any, tmp_path: Path) -> None:
    text = "result = [time.time(), time.localtime(0).tm_hour, time.monotonic()]"
    now = subprocess.check_output(
        [sys.executable, "-c", "import time; print(time.time(), time.monotonic())"], text=True
    )
    wall, hour, monotonic = result(probe(text, env={"TZ": "XYZ-3"}))
    before_wall, before_monotonic = map(float, now.split())
    assert 0 <= wall - before_wall < 60
    assert 0 <= monotonic - before_monotonic < 60
    assert hour == 3


# ---- the interpreter works ----


def test_threads_run_side_by_side(probe: Any) -> None:
    """Threads hand the lock over, wait for each other, have their own locals and idents, and allocate a lot."""
    text = """
import queue
from concurrent.futures import ThreadPoolExecutor
local, idents, todo = threading.local(), set(), queue.Queue()
barrier = threading.Barrier(8)
def work(n):
    local.n = n
    barrier.wait()
    idents.add(threading.get_ident())
    kept = [str(i) * 3 for i in range(20000)]
    time.sleep(0.001)
    todo.put(n)
    return local.n == n and len(set(kept)) == 20000
with ThreadPoolExecutor(8) as pool:
    good = list(pool.map(work, range(8)))
result = [all(good), len(idents), sorted(todo.get() for _ in range(8)), hasattr(local, "n")]
"""
    assert result(probe(text)) == [True, 8, list(range(8)), False]


def test_threads_are_joined_and_exit_functions_run_at_the_end(probe: Any) -> None:
    text = """
import atexit
atexit.register(lambda: print("exit function"))
def late():
    threading.main_thread().join()  # until the main thread waits for this one
    print("thread")
threading.Thread(target=late).start()
print("main")
"""
    assert probe(text).stdout == b"main\nthread\nexit function\n"


def test_fork_in_python(probe: Any) -> None:
    text = """
pid = os.fork()
if pid == 0:
    os._exit(7 if threading.main_thread().ident == threading.get_ident() else 1)
result = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
    assert result(probe(text)) == 7


def test_subprocess_sockets_select_and_files(probe: Any, tmp_path: Path) -> None:
    text = """
a, b = socket.socketpair()
b.sendall(b"hello")
ready = select.select([a], [], [], 5)[0] == [a]
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
peer = server.accept()[0]
socket.send_fds(a, [b"x"], [1])
with open(argv[0], "w+") as f:
    f.write("text \\u2603"); f.seek(0); text = f.read()
result = [ready, a.recv(5).decode(), client.getpeername() == server.getsockname(), text,
          subprocess.run(["sh", "-c", "cat; exit 3"], input=b"in", capture_output=True).stdout.decode(),
          subprocess.run(["sh", "-c", "exit 3"]).returncode]
"""
    assert result(probe(text, str(tmp_path / "file"), env={"PATH": os.environ["PATH"]})) == [
        True, "hello", True, "text \N{SNOWMAN}", "in", 3,
    ]  # fmt: skip


def test_garbage_is_collected_and_the_snapshot_left_alone(probe: Any) -> None:
    text = """
import gc, weakref
class Node: pass
def ring():
    a, b = Node(), Node()
    a.other, b.other = b, a
    return weakref.ref(a)
refs = [ring() for _ in range(5000)]
gc.collect()
frozen = gc.get_freeze_count()
gc.unfreeze(); gc.collect(); gc.collect()
import json.decoder
result = [sum(r() is not None for r in refs), json.loads(json.dumps({"a": [1, 2.5, None]})), re.sub("a+", "b", "caat")]
"""
    assert result(probe(text)) == [0, {"a": [1, 2.5, None]}, "cbt"]


def test_memory_of_the_snapshot_can_be_changed_and_freed(probe: Any) -> None:
    """Modules that came with the snapshot are dropped and loaded again; dictionaries of it grow and shrink."""
    text = """
for name in ("json", "json.decoder", "json.encoder", "json.scanner", "re", "dataclasses"):
    sys.modules.pop(name, None)
import json as fresh
grown = {f"attribute{i}": i for i in range(5000)}
vars(fresh).update(grown)
for key in grown: del vars(fresh)[key]
big = bytearray(1 << 20)
for size in (1, 100, 511, 512, 513, 5000, 1 << 22, 3):
    big += b"x" * size
    del big[: size // 2]
huge = [list(range(100)) for _ in range(20000)]
del huge
result = [fresh.dumps(1), len(big)]
"""
    assert result(probe(text))[0] == "1"


def test_deep_recursion_is_an_error_and_no_crash(probe: Any) -> None:
    text = """
def down(n): return down(n + 1)
try: down(0)
except RecursionError as e: first = str(e)
try: json.loads("[" * 100000)
except RecursionError as e: result = first
"""
    assert "maximum recursion depth" in result(probe(text))


def test_modules_that_are_not_in_the_snapshot_load_late(probe: Any) -> None:
    text = """
import pkgutil, email.message, runtime.images
result = [runtime.images.VALUE, pkgutil.get_data("runtime", "data.txt").decode(), runtime.images.__file__,
          "a\\u00fc".encode("cp437").hex(), "x.de".encode("idna").decode()]
try: import no_such_module
except ModuleNotFoundError as e: result.append(str(e))
"""
    assert result(probe(text)) == [
        "imported late", "a resource", "/proc/self/exe/runtime/images.py", "6181", "x.de", "No module named 'no_such_module'",
    ]  # fmt: skip


# ---- signals ----


def test_sigint_raises_and_sigpipe_is_an_error(probe: Any) -> None:
    text = """
result = []
try:
    os.kill(os.getpid(), signal.SIGINT); time.sleep(5)
except KeyboardInterrupt:
    result.append("interrupted")
r, w = os.pipe(); os.close(r)
try: os.write(w, b"x")
except BrokenPipeError:
    result.append("broken pipe")
signal.signal(signal.SIGALRM, lambda *_: result.append(threading.current_thread() is threading.main_thread()))
signal.setitimer(signal.ITIMER_REAL, 0.01)
signal.pause()
"""
    assert result(probe(text)) == ["interrupted", "broken pipe", True]


def test_inherited_signal_state_is_kept(probe: Any) -> None:
    """As Python does: what a caller ignores (nohup, a shell's background job) stays ignored, and Python knows it."""
    ignored = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)

    def ignore() -> None:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)

    text = f"""
for number in {[int(number) for number in ignored]}:
    os.kill(os.getpid(), number)
result = [signal.getsignal(number) is signal.SIG_IGN for number in {[int(number) for number in ignored]}]
"""
    assert result(probe(text, preexec_fn=ignore)) == [True] * 3
    assert result(probe(f"result = signal.getsignal({int(signal.SIGHUP)}) is signal.SIG_DFL")) is True


# ---- streams and the end ----


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (0, 1, 2)], ids=str)
def test_closed_standard_streams_are_never_reused(probe: Any, closed: tuple[int, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = f"""
fd = os.open({str(out)!r}, os.O_WRONLY | os.O_CREAT)
print("to stdout"); print("to stderr", file=sys.stderr)
os.write(fd, json.dumps([fd > 2, sys.stdin.read()]).encode())
"""

    def close() -> None:
        for fd in closed:
            os.close(fd)

    done = probe(text, preexec_fn=close)
    assert done.returncode == 0, done
    assert json.loads(out.read_text()) == [True, ""]
    assert done.stdout == (b"" if 1 in closed else b"to stdout\n")
    assert done.stderr == (b"" if 2 in closed else b"to stderr\n")


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("status = 5", 5, b""),
        ("raise SystemExit(6)", 6, b""),
        ("sys.exit('in words')", 1, b"in words"),
        ("sys.exit()", 0, b""),
        ("1 / 0", 1, b"ZeroDivisionError: division by zero"),
        ("import runtime.missing", 1, b"ModuleNotFoundError"),
    ],
)
def test_exit_status(probe: Any, text: str, code: int, words: bytes) -> None:
    done = probe(text)
    assert done.returncode == code
    assert words in done.stderr
    assert (b"Traceback" in done.stderr) == (b"Error" in words)


def test_output_that_cannot_be_written_is_a_failure(probe: Any) -> None:
    with Path("/dev/full").open("w") as full:
        done = probe("sys.stdout.write('x')", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode != 0


def test_output_is_in_order_and_whole(probe: Any) -> None:
    done = probe("print('a'); os.write(1, b'b\\n'); print('c' * 100000); sys.stdout.write('no newline')")
    assert done.stdout == b"a\nb\n" + b"c" * 100000 + b"\nno newline"


# ---- where it is started, and under which conditions ----


def test_runs_from_any_path(program: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(program)
    shutil.copy(program, tmp_path / "copy of it")
    (tmp_path / "s").mkdir()
    for command, cwd in (
        ([tmp_path / "link"], "/"), ([tmp_path / "copy of it"], "/"), (["./link"], tmp_path), (["../link"], tmp_path / "s"),
    ):  # fmt: skip
        done = subprocess.run([*command, "result = sys.executable"], cwd=cwd, env={}, capture_output=True, check=False)
        assert result(done) == "/proc/self/exe"


def test_environment_and_folder_decide_on_no_code(probe: Any, tmp_path: Path) -> None:
    """Everything that makes a Python or a libc load or write something is there, and none of it is obeyed."""
    evil = tmp_path / "evil"
    evil.mkdir()
    for name in ("os", "json", "sitecustomize", "usercustomize", "encodings", "images", "email", "zlib", "runtime"):
        (evil / f"{name}.py").write_text("open('/proc/self/cwd/touched', 'w').close()")
    library = evil / "evil.so"
    source = "__attribute__((constructor)) void f(void){__builtin_trap();}"
    subprocess.run(["gcc", "-shared", "-o", library, "-x", "c", "-"], input=source, text=True, check=True)
    poison = {
        **dict.fromkeys(("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONPYCACHEPREFIX", "PYTHONPLATLIBDIR"), str(evil)),
        "PYTHONSTARTUP": str(evil / "os.py"), "PYTHONINSPECT": "1", "PYTHONVERBOSE": "1", "PYTHONDUMPREFS": "1",
        "PYTHONDEBUG": "1", "PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error", "PYTHONIOENCODING": "utf-16",
        "PYTHONUTF8": "0", "PYTHONMALLOC": "debug", "PYTHONTRACEMALLOC": "5", "PYTHONFAULTHANDLER": "1",
        "PYTHONDEVMODE": "1", "PYTHONHASHSEED": "0", "PYTHONPROFILEIMPORTTIME": "1", "PYTHONBREAKPOINT": "images.f",
        "LD_PRELOAD": str(library), "LD_LIBRARY_PATH": str(evil), "LD_AUDIT": str(library), "LD_DEBUG": "all",
        "GCONV_PATH": str(evil), "LOCPATH": str(evil), "NLSPATH": str(evil / "%N"), "LC_ALL": "tr_TR.ISO-8859-9",
        "GLIBC_TUNABLES": "glibc.malloc.check=3", "MALLOC_CHECK_": "3", "HOSTALIASES": str(evil / "x"), "TMPDIR": str(evil),
    }  # fmt: skip
    text = """
import email.message, runtime.images
result = [sys.flags.optimize, sys.flags.utf8_mode, sys.path, sys.flags.ignore_environment, "i".upper(), runtime.images.VALUE,
          sys.getfilesystemencoding(), str(sys.warnoptions)]
"""
    seen = result(probe(text, env=poison, cwd=evil))
    assert seen == [0, 1, [], 1, "I", "imported late", "utf-8", "[]"]
    assert not (evil / "touched").exists()
    assert not list(evil.rglob("__pycache__"))


def _limit(kind: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(kind, (value, value))


@pytest.mark.parametrize(
    "limit",
    [
        pytest.param(_limit(resource.RLIMIT_AS, 96 << 20), id="address space of 96 MiB"),
        pytest.param(_limit(resource.RLIMIT_DATA, 48 << 20), id="data of 48 MiB"),
        pytest.param(
            _limit(resource.RLIMIT_STACK, resource.RLIM_INFINITY), id="unlimited stack, the old memory layout"
        ),
        pytest.param(_limit(resource.RLIMIT_STACK, 1 << 20), id="stack of 1 MiB"),
        pytest.param(_limit(resource.RLIMIT_NOFILE, 3), id="no fds to open"),
    ],
)
def test_runs_under_limits(probe: Any, limit: Callable[[], None]) -> None:
    assert result(probe("result = len(str(list(range(10000))))", preexec_fn=limit)) > 0


def test_no_memory_is_an_error_and_no_crash(probe: Any) -> None:
    text = """
try: x = bytearray(1 << 40)
except MemoryError: result = "first"
kept = []
try:
    while True: kept.append(["x" * 300 for _ in range(1000)])
except MemoryError:
    kept = None
    result += " second"
"""
    assert result(probe(text, preexec_fn=_limit(resource.RLIMIT_AS, 96 << 20))) == "first second"


def test_runs_without_randomised_addresses(program: Path) -> None:
    done = subprocess.run(["setarch", "-R", program, "result = 1"], capture_output=True, check=False)
    assert result(done) == 1


# ---- damage ----


def segments(file: Path) -> list[tuple[int, int, int]]:
    """(offset, address, size in the file) of each loadable segment."""
    listing = subprocess.check_output(["readelf", "-lW", file], text=True)
    rows = [line.split() for line in listing.splitlines() if line.split()[:1] == ["LOAD"]]
    return [(int(r[1], 16), int(r[2], 16), int(r[4], 16)) for r in rows]


def test_snapshot_of_another_executable_is_not_used(program: Path, tmp_path: Path) -> None:
    """With a wrong id in the snapshot it starts cold, and works."""
    damaged = tmp_path / "damaged"
    content = bytearray(program.read_bytes())
    arena = max(segments(program), key=lambda segment: segment[1])[0]
    content[arena] ^= 1
    damaged.write_bytes(content)
    damaged.chmod(0o755)
    text = "import gc\nresult = gc.get_freeze_count()"
    assert result(subprocess.run([damaged, text], env={}, capture_output=True, check=False)) == 0


@pytest.mark.parametrize("kept", [0.999, 0.9, 0.7, 0.5, 0.3, 0.01])
def test_an_executable_cut_short_refuses(program: Path, tmp_path: Path, kept: float) -> None:
    """It says so, or the kernel does not start it or ends it; it never does half of its work."""
    damaged = tmp_path / "damaged"
    content = program.read_bytes()
    damaged.write_bytes(content[: int(len(content) * kept)])
    damaged.chmod(0o755)
    try:
        done = subprocess.run([damaged, "print('ran', sum(range(10)))"], env={}, capture_output=True, check=False)
    except OSError:
        return  # the kernel refused
    if done.returncode == 0:
        assert kept > 0.99, "only what is never needed may be missing"
    else:
        assert done.stdout == b""
        assert done.returncode < 0 or b"the executable is damaged" in done.stderr, done


def test_the_executable_takes_no_snapshot_of_itself(program: Path, tmp_path: Path) -> None:
    """--dump and --learn are only there before it is sealed."""
    for word in ("--dump", "--learn"):
        done = subprocess.run([program, word, tmp_path / "x", "1", "y", "z"], capture_output=True, check=False)
        assert done.stdout == b"probe\n"
    assert not (tmp_path / "x").exists()


# ---- the real one ----


def test_size() -> None:
    assert STELE.stat().st_size < 20_000_000


@pytest.mark.parametrize(
    ("kind", "counted", "little", "words"),
    [
        pytest.param(resource.RLIMIT_AS, "R", 1 << 20, "the limit on address space (ulimit -v)", id="address space"),
        pytest.param(resource.RLIMIT_DATA, "RW", 1 << 16, "the limit on data (ulimit -d)", id="data"),
    ],
)
def test_too_little_memory_to_start_is_reported(kind: int, counted: str, little: int, words: str) -> None:
    """The limit covers the executable and too little more to start with; 4 MiB more are enough."""
    listing = subprocess.check_output(["readelf", "-lW", STELE], text=True)
    loaded = [line.split() for line in listing.splitlines() if line.split()[:1] == ["LOAD"]]
    pages = sum(-(-int(fields[5], 16) // 4096) + 1 for fields in loaded if fields[6].startswith(counted))
    for more, ended, said in ((little, 1, words), (4 << 20, 0, "stele version")):
        done = subprocess.run(
            [STELE, "--version"], preexec_fn=_limit(kind, pages * 4096 + more),
            env={}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == ended, done
        assert said in done.stdout + done.stderr


def test_needs_nothing() -> None:
    """Static: no interpreter of programs, no dynamic section, no writable code."""
    listing = subprocess.check_output(["readelf", "-lWd", STELE], text=True)
    assert "INTERP" not in listing
    assert "no dynamic section" in listing
    assert "RWE" not in listing


@pytest.mark.parametrize("command", [["--version"], ["state", "missing"], ["list"], ["spec"], ["plan"]], ids=" ".join)
def test_no_access_beside_mapped_memory(command: list[str], tmp_path: Path) -> None:
    """Under valgrind, which moves all but the snapshot, a revived process does what it does otherwise, without a bad
    access. (What is uninitialised it cannot tell: it knows neither our allocator nor a static libc's tricks.)"""
    (tmp_path / "root").mkdir()
    (tmp_path / "config.json").write_text(json.dumps(docker_like(["/bin/true"])))
    words = [STELE, "--root", tmp_path / "root", *command]
    seen = []
    for under in ([], ["valgrind", "-q", "--undef-value-errors=no", "--error-exitcode=99"]):
        folder = tmp_path / ("valgrind" if under else "plain")
        folder.mkdir()
        cwd = tmp_path if command == ["plan"] else folder
        done = subprocess.run(
            [*under, *words], cwd=cwd, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
        )
        seen.append((done.returncode, done.stdout, done.stderr))
    assert seen[0] == seen[1]
    assert seen[0][0] == (1 if command[0] == "state" else 0)


@pytest.fixture(
    params=[["--version"], ["--help"], ["nonsense"], ["create"], ["state", "missing"], ["features"], ["spec"]],
    ids=" ".join,
)
def command(request: pytest.FixtureRequest) -> list[str]:
    words: list[str] = request.param
    return words


def test_every_way_of_starting_does_the_same(command: list[str], tmp_path: Path) -> None:
    """Snapshot, cold start and `python -m runtime`: same output, same exit code, same files."""
    seen = []
    python = [REPO / "build/venv/bin/python", "-m", "runtime"]
    for number, (start, env) in enumerate((([STELE], {}), ([STELE], COLD), (python, {"PYTHONPATH": str(REPO)}))):
        folder = tmp_path / str(number)
        (folder / "root").mkdir(parents=True)
        done = subprocess.run(
            [*start, "--root", folder / "root", *command],
            cwd=folder, env={"COLUMNS": "100", **env}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        files = {p.name: p.read_text() for p in folder.iterdir() if p.is_file()}
        seen.append((done.returncode, done.stdout, done.stderr.replace(str(folder), ""), files))
    assert seen[0] == seen[1]
    if command == ["--version"]:  # only the executable knows what was linked into it
        lines = seen[0][1].splitlines()
        module = {line for line in seen[2][1].splitlines() if not line.startswith("libseccomp: ")}  # its own
        assert module < set(lines)
        assert any(line.startswith("openssl: ") for line in lines)
    else:
        assert without_libseccomp(seen[0]) == without_libseccomp(seen[2])


def without_libseccomp(seen: tuple[Any, ...]) -> tuple[Any, ...]:
    """The executable's libseccomp may be newer: features tells its version and architectures."""
    told = re.sub(r'\s*("SCMP_ARCH_\w+"|"io.github.seccomp.libseccomp.version": "[\d.]+"),?', "", seen[1])
    return (seen[0], told, *seen[2:])
