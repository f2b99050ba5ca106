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

# shellcheck source=regtest/cache.sh
source regtest/cache.sh
dir=$HASHMIX_CACHE/regtest
# The folder's one name: two spellings of it, or a link, must find the same processes. The scripts
# work in the checkout; a name holds where they were called.
one_name() { (cd "$caller" && realpath -m -- "$1"); }
# shellcheck disable=SC2034
usual=$(one_name "$dir")
settle() { # what the person gave
    [[ -n $1 ]] || refuse '--dir needs a value'
    dir=$(one_name "$1")
    bitcoin=$dir/bitcoin
    bitcoind_pid=$bitcoin/regtest/bitcoind.pid
    electrs_pid=$dir/electrs.pid
}

# The ids of the processes that have a file in the folder $1 open, whatever name they were given for it.
[[ -d /proc/self/fd ]] || refuse 'needs /proc, as Linux has it, to know what runs'
users() {
    { find /proc/[0-9]*/fd -maxdepth 1 -type l -printf '%h %l\n' 2>/dev/null || true; } |
        folder=$1/ awk '{ link = substr($0, index($0, " ") + 1) }
            index(link, ENVIRON["folder"]) == 1 { split($1, part, "/"); print part[3] }' | sort -un
}

# The id of the process that the pid file $1 speaks of, if it still runs and is at work in the folder
# $2: after a crash the number in the file may be another program's.
running() {
    local pid
    pid=$(cat "$1" 2>/dev/null) && [[ -n $pid ]] && users "$2" | grep -x -- "$pid"
}
bitcoind_runs() { running "$bitcoind_pid" "$bitcoin"; }
# Its log is open before it has opened anything else.
electrs_runs() { running "$electrs_pid" "$dir"; }
