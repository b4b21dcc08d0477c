# Sourced by the commands beside it.
# shellcheck shell=bash

# Where the daemons behind exported images leave their process ids and logs.
# shellcheck disable=SC2034
daemons=/run/viaduct

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Gives the new vDPA device $1 to vhost-vdpa, whichever driver took it first, and prints the device
# node that a VMM opens.
print_vhost_path() {
    local device=/sys/bus/vdpa/devices/$1 node
    if ! compgen -G "$device/vhost-vdpa-*" >/dev/null; then
        echo vhost_vdpa >"$device/driver_override"
        [[ ! -e $device/driver ]] || echo "$1" >"$device/driver/unbind"
        echo "$1" >/sys/bus/vdpa/drivers/vhost_vdpa/bind
    fi
    node=$(compgen -G "$device/vhost-vdpa-*") || die "vhost_vdpa does not take the device $1"
    printf '/dev/%s\n' "${node##*/}"
}
