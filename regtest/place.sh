# shellcheck shell=bash
# Where a person's regtest lives and what of it runs; for regtest/up and regtest/down.
#
#   DIR/bitcoin/bitcoin.conf     how Bitcoin Core is set up: `bitcoin-cli -datadir=DIR/bitcoin …`
#   DIR/bitcoin/regtest/         its blocks, cookie, pid file and debug.log
#   DIR/electrs/                 electrs' index
#   DIR/electrs.pid, .log, .port

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
refuse() {
    say "$*"
    exit 2
}

dir=${HASHMIX_CACHE:-$HOME/.cache/hashmix}/regtest
settle() { # the folder's name, from whatever the person gave
    dir=$1
    # The scripts work in the checkout; a name holds where they were called.
    # shellcheck disable=SC2154
    [[ $dir == /* ]] || dir=$caller/$dir
    bitcoin=$dir/bitcoin
    bitcoind_pid=$bitcoin/regtest/bitcoind.pid
    electrs_pid=$dir/electrs.pid
}

# The id of the process that the pid file $1 speaks of, if it still runs and is about the folder $2:
# after a crash the number in the file may be another program's.
running() {
    local pid arguments
    pid=$(cat "$1" 2>/dev/null) && kill -0 "$pid" 2>/dev/null || return 1
    arguments=$({ tr '\0' ' ' <"/proc/$pid/cmdline" || ps -o args= -p "$pid"; } 2>/dev/null) || return 1
    [[ $arguments == *"$2"* ]] && echo "$pid"
}
bitcoind_runs() { running "$bitcoind_pid" "-datadir=$bitcoin"; }
electrs_runs() { running "$electrs_pid" "--db-dir=$dir/electrs"; }
