# Completion of viaductctl for bash: source it, or put it into
# /usr/share/bash-completion/completions under the name viaductctl.
# shellcheck shell=bash

_viaductctl_commands='status stop cont reset powerdown quit vdpa set-datapath throttle block blockstats top events qmp devices'
_viaductctl_devices_commands='parents show add del bind doctor'

# The options of a command, out of its own --help. "$@": the program and the command's words.
_viaductctl_options() {
    {
        "$@" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*'
        printf '%s\n' --json --socket
    } | sort -u
}

# The values of KEY in the JSON on standard input: _viaductctl_values KEY. They are others' words, and
# the shell expands what it offers and runs what it completed: only those without meaning to it pass.
_viaductctl_values() {
    sed -nE "s|^    \"$1\": \"([A-Za-z0-9_.:/-]+)\",?$|\1|p"
}

# The ids of the machine's devices. "$@": the program and its -s SOCKET, if that was typed.
_viaductctl_devices() {
    timeout 2 "$@" vdpa --json 2>/dev/null | _viaductctl_values id
}

# The names of the host's vDPA devices, or of what makes them. "$@": the program and the command.
_viaductctl_host_names() {
    timeout 2 "$@" --json 2>/dev/null | _viaductctl_values name
}

# The names of the machine's QMP commands.
_viaductctl_qmp_commands() {
    timeout 2 "$@" qmp query-commands --json 2>/dev/null | _viaductctl_values name
}

# Sets `command`, how many words stand after it (`position`) and the way to the machine (`machine`),
# by the words before the one at the cursor.
_viaductctl_look_back() {
    local i word
    machine=("${words[0]}")
    for ((i = 1; i < cword; i++)); do
        word=${words[i]}
        case $word in
            -s | --socket)
                machine+=(-s "${words[++i]}")
                ;;
            --timeout | --on-timeout | --group | --iops* | --bps* | --interval | --count | \
                --mac | --mtu | --max-vqp | --features | --bind)
                i=$((i + 1))
                ;;
            -*) ;;
            *)
                if [[ -z $command || $command == devices ]]; then
                    command+=${command:+ }$word
                else
                    position=$((position + 1))
                fi
                ;;
        esac
    done
}

_viaductctl_candidates() {
    case $previous in
        --on-timeout) echo fail break; return ;;
        --timeout | --interval) echo 1s 5s 30s; return ;;
        --bind) echo vhost virtio; return ;;
    esac
    if [[ $current == -* ]]; then
        # shellcheck disable=SC2086 # Its words.
        _viaductctl_options "${words[0]}" $command
        return
    fi
    case $command:$position in
        :0) echo "$_viaductctl_commands" ;;
        set-datapath:0 | throttle:0) _viaductctl_devices "${machine[@]}" ;;
        set-datapath:1) echo fast slow auto ;;
        devices:0) echo "$_viaductctl_devices_commands" ;;
        'devices show:0' | 'devices del:0' | 'devices bind:0')
            _viaductctl_host_names "${words[0]}" devices
            ;;
        'devices bind:1') echo vhost virtio ;;
        'devices add:1') _viaductctl_host_names "${words[0]}" devices parents ;;
        qmp:0) _viaductctl_qmp_commands "${machine[@]}" ;;
    esac
}

_viaductctl() {
    # Words as the shell splits them, but for ':' and '=', which are part of an address.
    local words cword current previous command='' position=0 machine=()
    if declare -F _get_comp_words_by_ref >/dev/null; then
        _get_comp_words_by_ref -n := -w words -i cword
    else
        words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
    fi
    current=${words[cword]} previous=${words[cword - 1]}
    COMPREPLY=()
    if [[ $previous == -s || $previous == --socket ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
    fi
    _viaductctl_look_back
    mapfile -t COMPREPLY < <(compgen -W "$(_viaductctl_candidates)" -- "$current")
}

complete -F _viaductctl viaductctl
