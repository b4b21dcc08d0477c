# Sourced by the scripts: progress lines, and steps that are done only when their inputs changed.
# shellcheck shell=bash

# Prints one line about what a person is waiting for.
progress() {
    printf '==> %s\n' "$*" >&2
}

# Ends the script with a message that says what is wrong and what to do about it.
fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Prints a digest of its arguments: for a path of an existing file its content, for anything else the
# text itself. Two calls agree exactly if nothing a step depends on has changed.
digest_of() {
    local input
    for input in "$@"; do
        if [[ -f $input ]]; then cat -- "$input"; else printf '%s\n' "$input"; fi
    done | sha256sum | cut -c 1-16
}

# Prints what identifies an installed program or package file cheaply: path, size, time.
identity_of() {
    stat -L -c '%n %s %Y' "$@"
}

# cached STAMP DIGEST LABEL COMMAND…: runs COMMAND and notes DIGEST in STAMP, unless STAMP already
# says so. The progress line LABEL is printed only when COMMAND really runs. Callers that arrive
# together wait for the first and then find the work done. COMMAND's own output is kept in
# STAMP.log and shown if it fails.
cached() {
    local stamp=$1 digest=$2 label=$3
    shift 3
    if [[ -f $stamp && $(<"$stamp") == "$digest" ]]; then return; fi
    mkdir -p "$(dirname "$stamp")"
    local lock
    exec {lock}>"$stamp.lock"
    flock "$lock"
    if [[ ! -f $stamp || $(<"$stamp") != "$digest" ]]; then
        rm -f "$stamp"
        progress "$label"
        # A subshell with a fresh `set -e`, and not part of a condition, which would switch it off.
        local status=0
        set +e
        (set -euo pipefail; "$@") >"$stamp.log" 2>&1 {lock}>&-
        status=$?
        set -e
        if [[ $status -ne 0 ]]; then
            tail -n 40 "$stamp.log" >&2
            fail "failed with status $status: $label (whole log: $stamp.log)"
        fi
        printf '%s\n' "$digest" >"$stamp"
    fi
    exec {lock}>&-
}
