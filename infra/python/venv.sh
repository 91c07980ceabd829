#!/bin/sh
# Create a virtual environment, also where the distribution's Python comes without ensurepip; keep one that works.
set -eu
python=$1
venv=$2
version='import sys; print(sys.version_info[:2])'
if [ "$("$venv/bin/python" -c "$version" 2>/dev/null)" = "$("$python" -c "$version")" ] \
    && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    exit 0
fi
rm -rf "$venv"
if "$python" -m venv "$venv" >/dev/null 2>&1; then
    exit 0
fi
rm -rf "$venv"
if "$python" -m pip --version >/dev/null 2>&1; then
    "$python" -m venv --without-pip "$venv"
    # pip ≥ 22.3 can act on another interpreter, which bootstraps pip into the new environment.
    "$python" -m pip --python "$venv/bin/python" install -qq --disable-pip-version-check pip
    exit 0
fi
echo "$python can neither run ensurepip nor pip; install its venv package, or name another interpreter: make PYTHON=…" >&2
exit 2
