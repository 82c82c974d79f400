#!/usr/bin/env bash
# The Autobahn testsuite, cases 1 to 13, against threadcast's own echo at /echo, and against its client.
#
#   tests/autobahn/run.sh             runs the cases of the protocol and judges, without limits (9) and compression
#                                     (12 and 13)
#   tests/autobahn/run.sh --all       runs all, which takes some minutes more
#   tests/autobahn/run.sh --update    runs all and writes RESULTS.md beside this script
#   tests/autobahn/run.sh --tls       runs them over wss; --all as above
#   tests/autobahn/run.sh --client    runs them against the client; --all, --update (CLIENT.md) as above
#
# PY27               the CPython 2.7 to use; by default one of pyenv's, or the one on the PATH.
# AUTOBAHN_IMAGE     a container image with the suite, such as crossbario/autobahn-testsuite, which docker runs in
#                    place of Python 2.7. Without either, this script says so in one line, and exits with 0.
# THREADCAST         the program; by default a debug build, as in the other tests, or with --all a release build.
# NOT_RUN            a file for the reason, if the suite does not run.
# AUTOBAHN_TIMEOUT   seconds for all cases together, 300 by default, 1200 with --all.
#
# The first run installs the suite into target/autobahn, which takes a minute or two, the network, and a
# C compiler. The directory also has the output of the last run: report/index.html, suite.log, server.log.
# Exit: 0 if no case failed and none is missing, 1 otherwise.
set -euo pipefail

# Seconds for the server to print its address, and to end after SIGTERM.
SERVER_STARTS=20
SERVER_ENDS=10

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${CARGO_TARGET_DIR:-$root/target}/autobahn
venv=$work/venv
seconds=${AUTOBAHN_TIMEOUT:-300}
cases=few
update=
client=
scheme=ws
tls=()
server=
suite=

die() {
    echo "autobahn: $*" >&2
    exit 1
}

# Prints the first candidate that is a Python 2.7.
find_python() {
    local candidate
    local -a candidates=("$HOME"/.pyenv/versions/2.7*/bin/python2.7 python2.7 python2)
    [ -z "${PY27-}" ] || candidates=("$PY27")
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c 'import sys, ssl, zlib; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# Makes the virtualenv at "$venv" with Python $1.
install() {
    local tools=$work/tools
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore VIRTUALENV_OVERRIDE_APP_DATA=$work/virtualenv
    rm -rf "$venv" "$tools"
    # The pip of Python 2.7 cannot resolve the remaining compatible versions, so all are pinned.
    "$1" -m pip install --no-deps --target "$tools" --requirement "$here/pins-virtualenv.txt" &&
        PYTHONPATH=$tools "$1" -m virtualenv --no-download --python "$1" "$venv" &&
        # In an isolated build pip would fetch today's setuptools, which have no Python 2.
        "$venv/bin/python" -m pip install --no-deps --no-build-isolation --requirement "$here/pins.txt" &&
        is_installed &&
        cp "$here/pins.txt" "$venv/pins.txt"
}

is_installed() {
    "$venv/bin/python" -c 'from autobahntestsuite import wstest' >/dev/null 2>&1
}

# Ends everything that is running, on any exit.
# shellcheck disable=SC2317 # called by the trap
stop() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP
    [ -z "$suite" ] || kill "$suite" 2>/dev/null || true
    [ -z "$server" ] || stop_server || status=1
    exit "$status"
}

# Sends SIGTERM; `timeout` adds SIGKILL if that is not enough. False if it did not end in order.
stop_server() {
    local status=0
    kill "$server" 2>/dev/null || true
    wait "$server" || status=$?
    server=
    [ "$status" -eq 0 ] || echo "autobahn: the server ended with status $status, see $work/server.log" >&2
    return "$status"
}

for option; do
    case $option in
        --tls) scheme=wss tls=(--tls-self-signed) ;;
        --all) ;;
        --update) update=yes ;;
        --client) client=yes ;;
        *) die "unknown option $option; there are --all, --update, --client and --tls" ;;
    esac
done
if [[ " $* " = *" --all "* || -n $update ]]; then
    cases=all
    seconds=${AUTOBAHN_TIMEOUT:-1200}
fi
[ -z "$update$client" ] || [ "$scheme" = ws ] || die 'over TLS there is neither --update nor --client'
python=
if [ -z "${AUTOBAHN_IMAGE-}" ] && ! python=$(find_python); then
    echo 'autobahn: NOT RUN: no Python 2.7 found (set PY27=... or AUTOBAHN_IMAGE=...)'
    [ -z "${NOT_RUN-}" ] || echo 'no Python 2.7 found; pyenv install 2.7.18 brings one' >"$NOT_RUN"
    exit 0
fi
profile=debug
[ "$cases" != all ] || profile=release
built=${CARGO_TARGET_DIR:-$root/target}/$profile
# Both in one build: separate ones would compile shared crates twice, with different features.
if [ -z "${THREADCAST-}" ] || [ -n "$client" ]; then
    release=()
    [ "$profile" = debug ] || release=(--release)
    (cd "$root" && cargo build --locked --workspace --features program --bin threadcast --example autobahn_client "${release[@]}") ||
        die 'threadcast does not build'
    THREADCAST=${THREADCAST:-$built/threadcast}
fi

# One run at a time in this directory. The processes below do not inherit the lock.
mkdir -p "$work"
exec 9>"$work/lock"
flock 9
if [ -n "${AUTOBAHN_IMAGE-}" ]; then
    suite_python=(docker run --rm --init --network host --env HOME=/tmp --user "$(id -u):$(id -g)" --volume "$here:$here"
        --volume "$work:$work" "$AUTOBAHN_IMAGE" python -B)
else
    suite_python=("$venv/bin/python")
fi
if [ -n "$python" ] && { ! cmp -s "$here/pins.txt" "$venv/pins.txt" || ! is_installed; }; then
    echo "autobahn: installing the suite into $venv"
    if ! install "$python" >"$work/install.log" 2>&1 9>&-; then
        tail -n 20 "$work/install.log" >&2
        die "the suite could not be installed, see $work/install.log"
    fi
fi

trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The suite is the server, and the client runs its cases.
if [ -n "$client" ]; then
    exec 8< <(exec setsid timeout --foreground -k "$SERVER_ENDS" "$((seconds + 60))" \
        "${suite_python[@]}" -u "$here/suite.py" serve "$work" $cases 2>"$work/suite.log" 9>&-)
    server=$!
    until [[ ${line-} =~ ^listening\ at\ (.*)$ ]]; do
        read -r -t "$SERVER_STARTS" line <&8 || die "the suite did not start, see $work/suite.log"
    done
    url=${BASH_REMATCH[1]}
    cat <&8 >/dev/null &
    timeout -k 5 "$seconds" "$built/examples/autobahn_client" "$url" \
        >"$work/client.log" 2>&1 8<&- 9>&- &
    suite=$!
    ran=0
    wait "$suite" || ran=$?
    suite=
    [ "$ran" -eq 0 ] || tail -n 20 "$work/client.log" >&2
    kill "$server" && wait "$server" || true
    server=
else
    # In a separate session, Ctrl-C reaches it through `stop` only: a second signal would end it at once, and so
    # would `timeout` without --foreground, which sends each signal twice. If this script is killed, `timeout`
    # ends the server.
    exec 8< <(exec setsid timeout --foreground -k "$SERVER_ENDS" "$((seconds + 60))" \
        "$THREADCAST" --lab --port 0 --logging none --max-message 64MiB --compression 1B "${tls[@]}" 2>"$work/server.log" 9>&-)
    server=$!
    read -r -t "$SERVER_STARTS" line <&8 || die "the server did not start: $(cat "$work/server.log")"
    [[ $line =~ https?://([0-9.]+:[0-9]+)/ ]] || die "the server says: $line"
    url="$scheme://${BASH_REMATCH[1]}/echo?Id=autobahn"

    # In the background, because bash runs its traps only between two foreground commands.
    timeout -k 5 "$seconds" "${suite_python[@]}" -u "$here/suite.py" run "$url" "$work" $cases \
        >"$work/suite.log" 2>&1 8<&- 9>&- &
    suite=$!
    ran=0
    wait "$suite" || ran=$?
    suite=
    stop_server || exit 1
    if grep -q panicked "$work/server.log"; then
        die "the server panicked, see $work/server.log"
    fi
fi

what="the echo of $("$THREADCAST" --version)" table=RESULTS.md command=--update
[ -z "$client" ] || what="the client of $("$THREADCAST" --version)" table=CLIENT.md command='--client --update'
to_table=()
[ -z "$update" ] || to_table=("$here/$table" "$command")
if [ "$ran" -ne 0 ]; then
    "${suite_python[@]}" "$here/suite.py" judge "$work" $cases "$what" || true
    die "the suite did not come to its end (status $ran), see $work/suite.log"
fi
"${suite_python[@]}" "$here/suite.py" judge "$work" $cases "$what" "${to_table[@]}"
