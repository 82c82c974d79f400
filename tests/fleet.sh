#!/usr/bin/env bash
# A demo fleet on this machine: three programs behind HAProxy, connected by Redis. Ctrl-C ends everything.
#
#   make fleet              at http://localhost:8888/
#   make fleet PORT=9000    at port 9000
#
# PORT         HAProxy's port; Redis is at PORT + 10, and the machines are at the three ports after that.
# THREADCAST   the program; by default the one that `make fleet` has built.
#
# Logs are in target/fleet. Exit: 0 after Ctrl-C, 1 if something does not start.
set -euo pipefail

# Seconds for each process to listen, and for all to end.
STARTS=10
ENDS=10

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=${CARGO_TARGET_DIR:-$root/target}/fleet
program=${THREADCAST:-${CARGO_TARGET_DIR:-$root/target}/release/threadcast}
port=${PORT:-8888}
[[ $port =~ ^[1-9][0-9]{0,4}$ ]] && ((port <= 65522)) ||
    { echo "fleet: PORT is a number from 1 to 65522, not $port" >&2; exit 1; }
redis=$((port + 10))
# Debian installs HAProxy outside the usual PATH.
PATH=$PATH:/usr/sbin
pids=()

# Ends all processes that it started, and waits for them.
end() {
    trap '' EXIT INT QUIT TERM HUP
    local deadline=$((SECONDS + ENDS)) signal=TERM
    while kill -$signal "${pids[@]}" 2>/dev/null; do
        # A stopped process does not get signals.
        kill -CONT "${pids[@]}" 2>/dev/null || true
        ((SECONDS < deadline)) && signal=0 || signal=KILL
        sleep 0.05
    done
    exit "$1"
}
trap 'end 1' EXIT
trap 'end 0' INT QUIT TERM HUP

# start NAME PORT COMMAND...: runs it in the background, and waits until it listens.
start() {
    local name=$1 at=$2 deadline=$((SECONDS + STARTS))
    shift 2
    if listens "$at"; then
        echo "fleet: port $at is in use; try make fleet PORT=$((port <= 64522 ? port + 1000 : port - 1000))" >&2
        exit 1
    fi
    "$@" >"$work/$name.log" 2>&1 &
    pids+=($!)
    until listens "$at"; do
        if ! kill -0 "${pids[-1]}" 2>/dev/null || ((SECONDS >= deadline)); then
            echo "fleet: $name does not start: $(tail -n 1 "$work/$name.log")" >&2
            exit 1
        fi
        sleep 0.05
    done
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

mkdir -p "$work"
export THREADCAST_PUBLISH_TOKEN
THREADCAST_PUBLISH_TOKEN=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
{
    cat <<END
defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    timeout tunnel 60s
    option redispatch
frontend web
    bind 127.0.0.1:$port
    option forwardfor
    http-request deny deny_status 404 if { path /stats } || { path /publish }
    default_backend machines
backend machines
    balance roundrobin
    option httpchk GET /
END
    for n in 1 2 3; do
        echo "    server machine-$n 127.0.0.1:$((redis + n)) check inter 1s fall 2 on-marked-down shutdown-sessions"
    done
} >"$work/haproxy.cfg"

start redis $redis redis-server --bind 127.0.0.1 --port $redis --save '' --dir "$work"
for n in 1 2 3; do
    start machine-$n $((redis + n)) "$program" --address 127.0.0.1 --port $((redis + n)) \
        --redis redis://127.0.0.1:$redis
done
start haproxy "$port" haproxy -db -f "$work/haproxy.cfg"

cat <<END
A fleet of three machines is at http://localhost:$port/
Open it in two tabs: two machines serve them. One machine's own: http://localhost:$((redis + 1))/ to $((redis + 3)), and /stats there.

In another terminal:
  redis-cli -p $redis PUBLISH threadcast:all hello         to every client of every machine
  redis-cli -p $redis PUBLISH threadcast:id/NAME hello     to the client with this Id
  curl -H 'Authorization: Bearer $THREADCAST_PUBLISH_TOKEN' -d hello 'http://localhost:$((redis + 1))/publish?topic=all'
  kill -STOP ${pids[0]}    Redis stands still: machines hear each other no more, and each one's clients go on
  kill -CONT ${pids[0]}    and it goes on
  kill -KILL ${pids[1]}    a machine dies, its clients go to the others (the others are ${pids[2]} and ${pids[3]})
Ctrl-C ends all of it. Logs are in $work
END
# Otherwise bash itself reports a killed machine.
exec 2>/dev/null
wait || true
