# Sourced by the scripts that build machines: Debian's kernel packages, fetched and taken apart without
# being installed. Expects scripts/progress.sh, and the repository in $root.
# shellcheck shell=bash disable=SC2154,SC2034
. "$root/scripts/apt.sh"

# Which of Debian 12's kernels: 6.12 is the first there with vDPA.
kernel_series=6.12
downloads=$root/build/downloads

# Fetches everything that the lab and the guest image take from the archive, once. The release in
# use stays the same from then on, until build/downloads is removed.
fetch_kernel_packages() {
    cached "$downloads/kernel.stamp" "$kernel_series" \
        "downloading Debian's kernel $kernel_series, its headers and source (310 MB)" \
        download_kernel_packages
    kernel_release=$(<"$downloads/kernel-release")
}

# shellcheck disable=SC2317 # Called through `cached`, and so what they call.
download_kernel_packages() {
    local release version names name
    mkdir -p "$downloads"
    cd "$downloads" || return
    # The lists may be missing, or so old that they name packages which the archive no longer has.
    if ! download_listed_packages; then
        update_package_lists
        download_listed_packages
    fi
    for name in "${names[@]}"; do
        mv "${name%%=*}"_*.deb "${name%%=*}.deb"
    done
    printf '%s\n' "$release" >kernel-release
}

# shellcheck disable=SC2317
download_listed_packages() {
    resolve_kernel || return
    names=(
        "linux-image-$release-amd64=$version"
        "linux-image-$release-cloud-amd64=$version"
        "linux-headers-$release-amd64=$version"
        "linux-headers-$release-common=$version"
        "linux-kbuild-$release=$version"
        "linux-source-$kernel_series=$version"
    )
    rm -f -- *.deb
    apt-get download "${patient[@]}" "${names[@]}"
}

# The meta package's one dependency carries the release in its name.
# shellcheck disable=SC2317
resolve_kernel() {
    local meta=linux-image-$kernel_series-amd64 record
    record=$(apt-cache show --no-all-versions "$meta" 2>/dev/null) || true
    version=$(sed -n 's/^Version: //p' <<<"$record")
    release=$(sed -n 's/^Depends: linux-image-\([^ ,]*\)-amd64.*/\1/p' <<<"$record")
    [[ -n $version && -n $release ]] && return
    echo "apt knows no package $meta; it comes from Debian 12's security archive: is" \
        "'deb http://deb.debian.org/debian-security bookworm-security main' in /etc/apt/sources.list?" >&2
    return 1
}

# unpack_package PACKAGE DIRECTORY PATH…: extracts PATHs (as in "./boot") of a fetched package.
unpack_package() {
    local package=$1 directory=$2
    shift 2
    mkdir -p "$directory"
    dpkg-deb --fsys-tarfile "$downloads/$package.deb" | tar -x -C "$directory" "$@"
}

# extract_vmlinux BZIMAGE OUTPUT: the uncompressed ELF kernel inside a bzImage. Where it lies is
# told by the setup header (x86 boot protocol 2.08: setup_sects, payload_offset, payload_length);
# the payload's last four bytes are its uncompressed size.
extract_vmlinux() {
    local image=$1 output=$2 sectors offset length
    sectors=$(read_integer "$image" 0x1f1 1)
    offset=$(read_integer "$image" 0x248 4)
    length=$(read_integer "$image" 0x24c 4)
    offset=$(((sectors + 1) * 512 + offset))
    dd if="$image" of="$output.packed" bs=64K iflag=skip_bytes,count_bytes skip="$offset" count="$((length - 4))" status=none
    case $(read_integer "$output.packed" 0 4) in
        "$((0xfd2fb528))") zstd -q -d -f -c "$output.packed" >"$output" ;;
        "$((0x587a37fd))") xz -d -c "$output.packed" >"$output" ;;
        *) fail "$image is compressed with neither zstd nor xz" ;;
    esac
    rm "$output.packed"
    [[ $(read_integer "$output" 0 4) -eq $((0x464c457f)) ]] || fail "no ELF kernel found in $image"
}

# read_integer FILE OFFSET BYTES: a little-endian unsigned integer.
read_integer() {
    od -A n -t "u$3" -j "$(($2))" -N "$3" "$1" | tr -d ' '
}

# copy_modules TREE RELEASE DIRECTORY MODULE…: copies modules and what they depend on,
# uncompressed and without debug sections, named so that their order is the one to load them in.
copy_modules() {
    local tree=$1 release=$2 directory=$3 path name number=100
    shift 3
    mkdir -p "$directory"
    # Each line is "insmod PATH" or "builtin NAME".
    modprobe -C /dev/null -d "$tree" -S "$release" --show-depends -a "$@" |
        sed -n 's|^insmod \(.*\.ko[.xz]*\).*|\1|p' |
        awk '!seen[$0]++' |
        while read -r path; do
            name=${path##*/}
            name=$directory/$((number++))-${name%.xz}
            case $path in
                *.xz) xz -d -c "$path" >"$name" ;;
                *) cp "$path" "$name" ;;
            esac
            strip --strip-debug "$name"
        done
}

# pack_initramfs DIRECTORY OUTPUT: a cpio archive of DIRECTORY, owned by root.
pack_initramfs() {
    local directory=$1 output=$2
    (cd "$directory" && find . -print0 | sort -z |
        cpio --quiet --null --create --format=newc --owner=+0:+0 --reproducible) >"$output.new"
    mv "$output.new" "$output"
}
