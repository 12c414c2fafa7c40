"""Loaded by every Python that a course run starts: refuses and logs each attempt to leave this machine.

Python imports `sitecustomize` by itself at start-up, so kernels, ranks and scripts are all covered, as long as they
open sockets through Python. Programs in other languages meet the closed proxy of `kernel_env` instead. Loopback, Unix
sockets and this machine's own name stay open: torch.distributed, TensorFlow and Jupyter need them.

Standard library only, and little of it: this runs before everything else.
"""

import contextlib
import errno
import json
import os
import socket
import sys

_LOG = os.environ.get("COURSE_NETWORK_LOG")
_LOOPBACK_NAMES = {"", "localhost", "localhost.localdomain", "ip6-localhost", "0.0.0.0", "::", "::1", "*"}
_ADVICE = "course runs never use the network; `course fetch` downloads what a lesson needs"
_NAME_EVENTS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
_SEND_EVENTS = {"socket.connect", "socket.sendto", "socket.sendmsg"}
_own_names = set()
_last_url = ""


def _proxy_port():
    """The port of the closed proxy, where a well-behaved client of another host knocks first."""
    port = os.environ.get("https_proxy", "").rpartition(":")[2]
    return int(port) if port.isdigit() else None


_PROXY_PORT = _proxy_port()


def _text(host):
    return host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host)


def _is_numeric(host):
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host.partition("%")[0])
            return True
        except OSError:
            pass
    return False


def _is_local(host):
    """Whether `host` is this machine: loopback, unset, or its own name or address."""
    if host is None:
        return True
    host = _text(host).lower().rstrip(".")
    if host in _LOOPBACK_NAMES or host.startswith(("127.", "::ffff:127.")) or host.endswith(".localhost"):
        return True
    if not _own_names:
        _learn_own_names()
    return host in _own_names


def _learn_own_names():
    name = socket.gethostname().lower()
    _own_names.update({name, name.partition(".")[0]})
    try:  # asks for a name that is already in the set, so the hook lets it through
        _, aliases, addresses = socket.gethostbyname_ex(name)
        _own_names.update(part.lower() for part in [*aliases, *addresses])
    except OSError:
        pass


def _caller():
    """File and line of the nearest frame that is not the standard library's or an installed package's."""
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file != __file__ and "site-packages" not in file and not file.startswith((sys.base_prefix, "<frozen")):
            return f"{os.path.basename(file)}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _log(event, host, port):
    if not _LOG:
        return
    entry = {"event": event, "host": host, "port": port, "at": _caller(), "pid": os.getpid()}
    with contextlib.suppress(OSError):  # the attempt is refused all the same
        handle = os.open(_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(handle, (json.dumps(entry) + "\n").encode())
        os.close(handle)


def _check_name(event, args):
    host = args[0][0] if event == "socket.gethostbyaddr" and isinstance(args[0], tuple) else args[0]
    if _is_local(host):
        return
    host = _text(host)
    if event == "socket.getaddrinfo" and _is_numeric(host):
        return  # no question leaves the machine; connecting to it would
    _log(event, host, args[1] if event == "socket.getaddrinfo" else None)
    raise socket.gaierror(socket.EAI_NONAME, f"{host}: {_ADVICE}")


def _check_address(event, args):
    sock, address = args[0], args[1]
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple):
        return
    host, port = address[0], address[1]
    via_proxy = port == _PROXY_PORT and event == "socket.connect"
    if _is_local(host) and not via_proxy:
        return
    wanted = (_last_url or "another host, through the proxy") if via_proxy else _text(host)
    _log(event, wanted, port)
    raise OSError(errno.ENETUNREACH, f"{wanted}: {_ADVICE}")


def _hook(event, args):
    global _last_url
    if event in _SEND_EVENTS:
        _check_address(event, args)
    elif event in _NAME_EVENTS:
        _check_name(event, args)
    elif event == "urllib.Request":
        _last_url = str(args[0])


def _load_hidden_sitecustomize():
    """Run the `sitecustomize` this one hides, if there is one, as Python itself would have."""
    import importlib.machinery
    import importlib.util

    here = os.path.dirname(os.path.abspath(__file__))
    others = [part for part in sys.path if os.path.abspath(part or ".") != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


def _keep_crash_stacks():
    """A crash in native code writes its Python stack to a file: a kernel's own standard error is a pipe by then."""
    import faulthandler

    with contextlib.suppress(OSError):
        handle = os.open(os.environ["COURSE_CRASH_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        faulthandler.enable(handle, all_threads=False)


sys.addaudithook(_hook)
if "COURSE_CRASH_LOG" in os.environ:
    _keep_crash_stacks()
_load_hidden_sitecustomize()
