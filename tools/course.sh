#!/bin/sh
# Find a Python for tools/setup_environment.py and hand everything on to it. PYTHON names one; otherwise .venv, then the
# first supported interpreter, then any, which explains what is wrong.
tools=$(dirname "$0")
probe='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'
if [ -n "${PYTHON:-}" ]; then
    command -v "$PYTHON" >/dev/null || { echo "setup: PYTHON=$PYTHON is not a program." >&2; exit 2; }
    if ! "$PYTHON" -c "$probe"; then
        found=$("$PYTHON" -c 'import sys; print(sys.version.split()[0])')
        echo "setup: the course needs Python 3.11 to 3.13; $PYTHON is ${found:-none}. Install one of these, or name" \
            "one: make setup PYTHON=/path/to/python3" >&2
        exit 2
    fi
    exec "$PYTHON" "$tools/setup_environment.py" "$@"
fi
for python in "$tools/../.venv/bin/python" python3 python3.13 python3.12 python3.11 python; do
    if "$python" -c "$probe" 2>/dev/null; then exec "$python" "$tools/setup_environment.py" "$@"; fi
done
for python in python3 python; do
    if "$python" -c "" 2>/dev/null; then exec "$python" "$tools/setup_environment.py" "$@"; fi
done
echo "setup: no Python found. Install Python 3.11, 3.12 or 3.13, or name one: make setup PYTHON=/path/to/python3" >&2
exit 2
