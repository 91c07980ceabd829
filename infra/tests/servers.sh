#!/bin/sh
# Install the servers and programs that some tests need, from the distribution's packages (apt: Debian, Ubuntu),
# an OpenID Connect provider with npm, and an AWS emulator whose pins would bind ours with pip; both beside their lock files.
# Prometheus is unpacked beside them, not installed: its package would start a server.
# Nothing is fetched when all are there. One line each: what shows that it is there, and its packages.
set -eu
missing=""

need() {
    for there in $1; do
        if command -v "$there" >/dev/null 2>&1 || [ -e "$there" ]; then return; fi
    done
    shift
    missing="$missing $*"
}

oidc="${0%/*}/oidc"
aws="${0%/*}/aws"
prometheus="${0%/*}/prometheus"
install_beside() {
    if [ ! -d "$oidc/node_modules/oidc-provider" ]; then
        npm ci --prefix "$oidc" --ignore-scripts --no-audit --no-fund
    fi
    if [ ! -x "$aws/.venv/bin/ministack" ]; then
        .venv/bin/python -m venv "$aws/.venv"
        "$aws/.venv/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes --only-binary :all: \
            -r "$aws/requirements.txt"
    fi
    if ! command -v prometheus >/dev/null 2>&1 && [ ! -x "$prometheus/usr/bin/prometheus" ]; then
        mkdir -p "$prometheus"
        (cd "$prometheus" && unpack_prometheus) || echo "Prometheus is missing: its tests are skipped by name." >&2
    fi
}

unpack_prometheus() {
    apt-get download -qq prometheus 2>/dev/null || { ${as_root-} apt-get update -qq && apt-get download -qq prometheus; } || return 1
    dpkg -x prometheus_*.deb . && rm prometheus_*.deb
}

need "chromium google-chrome" chromium
need node nodejs
need npm npm
need /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf fonts-dejavu-core

if [ -z "$missing" ]; then
    install_beside
    echo "The servers that the tests use are installed."
    exit 0
fi
echo "To install:$missing"
case "$missing" in *chromium*)
    if grep -qs '^ID=ubuntu' /etc/os-release; then
        echo "Ubuntu's packages of Chromium only fetch a snap, which does not run in containers;" >&2
        echo "install Google Chrome's .deb, then run this again." >&2
        exit 2
    fi ;;
esac
if ! command -v apt-get >/dev/null 2>&1; then
    echo "There is no apt-get here: install the same by hand. Tests that miss one are skipped by name." >&2
    exit 2
fi
if [ "$(id -u)" -eq 0 ]; then
    as_root=""
elif sudo -n true >/dev/null 2>&1; then
    as_root="sudo -n"
else
    echo "Installing packages needs root: sudo make servers. Without them the tests are skipped by name." >&2
    exit 2
fi
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# shellcheck disable=SC2086 - a list of packages
$as_root apt-get install -y -qq --no-install-recommends $missing
install_beside
