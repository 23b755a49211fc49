# shellcheck shell=bash
# quickstart --remove: the opposite order of the installation, each part only if it is there and ours. Needs all the others.

remove_everything() {
    step_count=$((5 + ${purge:-0}))
    log=$(mktemp /tmp/ecs-remove.XXXXXX)
    step "guests" remove_guests
    step "agent" remove_agent
    step "domains and networks" remove_runtime
    step "program" remove_program
    step "host" remove_host_changes
    if [[ -n $purge ]]; then
        step "data" remove_data
    fi
    say ""
    tell_what_stays
    rm -f "$log"
}

# remove_guests: shut down inside, as long as each is given for that by the configuration.
remove_guests() {
    local name running
    name=$(setting prefix ecs)
    running=$(domains_of "$name" running)
    if [[ -z $running ]]; then
        note "none runs"
    elif agent_answers >>"$log" 2>&1 || revive_agent; then
        logged "shutting down $(wc -w <<<"$running") guests" "$bin/ecs-agent" stop-guests --config "$config"
    else
        note "the agent cannot be started: the guests are powered off"
    fi
}

# setting KEY DEFAULT: from the configuration, without the help of the program, which may be half there.
setting() {
    if [[ ! -e $config ]]; then
        printf '%s\n' "$2"
        return
    fi
    /usr/bin/python3 -c '
import sys, tomllib
try:
    with open(sys.argv[1], "rb") as stream:
        print(tomllib.load(stream).get(*sys.argv[2:]))
except tomllib.TOMLDecodeError as error:
    sys.exit(f"quickstart: cannot read {sys.argv[1]}: {error}")' "$config" "$@"
}

program_is_whole() { [[ -e $venv/.installed && -x $bin/ecs-agent ]]; }

revive_agent() {
    program_is_whole || return 1
    launch_agent
    until_ok 60 "the agent" agent_answers
}

remove_agent() {
    if have_systemd && [[ -e $units/ecs-agent.service ]]; then
        # ecs-guests first: it asks the agent. The guests are down already, so that is quick.
        logged "stopping and disabling the units" systemctl disable --now ecs-guests.service ecs-agent.service
        rm -f "$units/ecs-agent.service" "$units/ecs-guests.service"
        systemctl daemon-reload
    else
        stop_agent
    fi
    rm -f "$state/agent.started"
}

remove_runtime() {
    local name
    name=$(setting prefix ecs)
    if program_is_whole && [[ -e $config ]]; then
        logged "removing what belongs to '$name'" "$bin/ecs-agent" remove --config "$config"
    fi
    sweep_prefix "$name" "$libvirt_uri"
    rm -rf "$run_dir"
}

remove_program() {
    local name
    for name in ecsctl ecs-agent; do
        if [[ -L $bin/$name && $(readlink "$bin/$name") == "$venv/bin/$name" ]]; then rm "$bin/$name"; fi
    done
    rm -rf "$venv" "$catalogue" "$catalogue.new"
    if [[ -d ${venv%/*} ]]; then rmdir --ignore-fail-on-non-empty "${venv%/*}"; fi
}

remove_host_changes() {
    stop_libvirt
    restore_kvm
    local group
    group=$(recalled "$made" group)
    if [[ -n $group ]] && getent group "$group" >/dev/null; then
        groupdel "$group"
        note "removed the group $group"
    fi
    if [[ -e $made ]]; then sed -i '/^\(group\|kvm\|libvirtd\|virtlogd\) /d' "$made"; fi
}

# stop_libvirt: the daemons we started on a host without systemd, unless somebody's guests need them.
stop_libvirt() {
    local name pid
    if libvirt_answers >>"$log" 2>&1 && [[ -n $(virsh -q -c "$libvirt_uri" list --name | tr -d '[:space:]') ]]; then
        note "libvirtd stays: it runs other guests"
        return
    fi
    for name in libvirtd virtlogd; do
        pid=$(recalled "$made" "$name")
        if [[ -n $pid && $(cat "/proc/$pid/comm" 2>/dev/null) == "$name" ]]; then
            kill -TERM "$pid"
            until_ok 30 "the end of $name" process_ended "$pid" || die "$name (pid $pid) does not end"
            note "stopped $name"
        fi
    done
}

process_ended() { [[ ! -e /proc/$1 || $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) == Z* ]]; }

restore_kvm() {
    local was
    was=$(recalled "$made" kvm)
    if [[ -n $was && $(stat -c '%U:%G %a' /dev/kvm 2>/dev/null) == "root:kvm 660" ]]; then
        chown "${was% *}" /dev/kvm
        chmod "${was#* }" /dev/kvm
    fi
}

remove_data() {
    local who path
    # Files in users' homes, as those users: a path there is not ours to follow as root.
    while read -r who path; do
        runuser -u "$who" -- rm -f -- "$path" && note "removed $path"
        runuser -u "$who" -- rmdir --ignore-fail-on-non-empty -- "$(dirname "$path")" 2>/dev/null || true
    done < <(sed -n 's/^user-file //p' "$made" 2>/dev/null | tac)
    if [[ -e $state/packages ]]; then cp "$state/packages" "$log.packages"; fi
    path=$(setting data_dir "$data_dir")
    [[ $path == "$data_dir" ]] || note "left $path, which was chosen in $config: remove it yourself"
    for path in "$data_dir" "$log_dir" "${config%/*}"; do
        if [[ -e $path ]]; then
            rm -rf "$path"
            note "removed $path"
        fi
    done
}

tell_what_stays() {
    local list=$state/packages
    if [[ -e $log.packages ]]; then list=$log.packages; fi
    if [[ -z $purge && -d $data_dir ]]; then
        say "Kept: the data in $data_dir, the configuration in ${config%/*} and the logs in $log_dir (--purge takes them too)."
    fi
    if [[ -s $list ]]; then
        say "Kept: the Debian packages that were installed, because other software may use them by now. To remove them:"
        say "  apt-get remove $(tr '\n' ' ' <"$list")"
    fi
    rm -f "$log.packages"
}
