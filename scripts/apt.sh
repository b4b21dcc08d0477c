# Sourced by the scripts that take packages from Debian's archive: apt-get, with patience.
# shellcheck shell=bash disable=SC2034

# For apt-get: somebody else's installation is waited for, as on a machine that has just booted and
# updates itself; what the network broke is fetched again.
patient=(-q -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3)

# Fetches the lists of packages anew, and prints what apt-get said. For their lock it does not wait by
# itself.
update_package_lists() {
    local said status attempt
    for ((attempt = 0; attempt < 120; attempt++)); do
        status=0
        said=$(LC_ALL=C apt-get update "${patient[@]}" 2>&1) || status=$?
        [[ $status -ne 0 && $said == *"Could not get lock"* ]] || break
        sleep 5
    done
    printf '%s\n' "$said"
    return "$status"
}
