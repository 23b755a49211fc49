# shellcheck shell=bash
# The program on the host and the agent as a service. Needs common.sh, python.sh, host.sh and the variables of quickstart.

# install_program: $venv and $catalogue from the repository, unless they are of this content.
install_program() {
    local wanted source
    wanted=$(content_hash "$root" pyproject.toml agent ecsctl)
    if [[ $(cat "$venv/.installed" 2>/dev/null) == "$wanted" ]]; then
        note "$venv is up to date"
    else
        make_venv "$venv"
        rm -f "$venv/.installed"
        source=$(mktemp -d)
        copy_source "$root" "$source"
        logged "installing the program and its Python packages" pip_install "$venv" "$source"
        rm -rf "$source"
        printf '%s\n' "$wanted" >"$venv/.installed"
    fi
    install_catalogue
    make_link "$bin/ecsctl" "$venv/bin/ecsctl"
    make_link "$bin/ecs-agent" "$venv/bin/ecs-agent"
}

install_catalogue() {
    local wanted
    wanted=$(content_hash "$root" images)
    [[ $(cat "$catalogue/.installed" 2>/dev/null) == "$wanted" ]] && return
    rm -rf "$catalogue.new"
    mkdir -p "$catalogue.new"
    cp -rT --no-preserve=ownership,timestamps "$root/images" "$catalogue.new"
    printf '%s\n' "$wanted" >"$catalogue.new/.installed"
    rm -rf "$catalogue"
    mv "$catalogue.new" "$catalogue"
    note "the catalogue of images is in $catalogue"
}

# agent_answers: over its socket, as root.
agent_answers() { timeout 20 "$bin/ecsctl" host show --endpoint "unix://$socket" -o json; }

agent_answers_or_is_gone() { agent_answers || ! agent_runs; }

# What the running agent was started from: when this changes it is started again.
agent_identity() { cat "$venv/.installed" "$catalogue/.installed" "$config"; }

agent_is_current() { [[ $(agent_identity | sha256sum) == "$(cat "$state/agent.started" 2>/dev/null)" ]]; }

# supervisor_pid: of the living one, or nothing. A number in a file may be anybody's by now; trying its lock would get in
# the way of a supervisor that starts just then.
supervisor_pid() {
    local pid
    pid=$(cat "$run_dir/supervisor.pid" 2>/dev/null) || return 0
    if [[ -n $pid ]] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q ' supervise '; then printf '%s\n' "$pid"; fi
}

supervisor_pid_is_there() { [[ -n $(supervisor_pid) ]]; }

supervisor_ended() { [[ -z $(supervisor_pid) ]]; }

install_units() {
    local unit changed=
    for unit in ecs-agent.service ecs-guests.service; do
        if ! cmp -s "$root/scripts/systemd/$unit" "$units/$unit"; then
            install -m 0644 "$root/scripts/systemd/$unit" "$units/$unit"
            changed=1
        fi
    done
    if [[ -n $changed ]]; then
        systemctl daemon-reload
        rm -f "$state/agent.started"
    fi
    systemctl enable --quiet ecs-agent.service ecs-guests.service
}

# start_agent: running, from the program and configuration that are installed now, and answering.
start_agent() {
    if have_systemd; then install_units; fi
    if agent_is_current && agent_runs; then
        note "it runs"
    else
        rm -f "$state/agent.started"
        stop_agent
        launch_agent
        mkdir -p "$state"
    fi
    until_ok 120 "the agent" agent_answers_or_is_gone || agent_is_silent
    agent_runs || agent_is_silent
    agent_identity | sha256sum >"$state/agent.started"
    note "it answers at $socket"
}

agent_runs() {
    if have_systemd; then systemctl is-active --quiet ecs-agent.service; else [[ -n $(supervisor_pid) ]]; fi
}

launch_agent() {
    if have_systemd; then
        note "starting ecs-agent.service"
        systemctl start ecs-agent.service ecs-guests.service
    else
        note "starting the agent under its supervisor: no systemd here"
        mkdir -p "$log_dir"
        detached "$bin/ecs-agent" supervise --config "$config"
        until_ok 10 "the supervisor" supervisor_pid_is_there || true # agent_is_silent says why
    fi
}

# stop_agent: guests run on.
stop_agent() {
    local pid
    if have_systemd; then
        if systemctl is-active --quiet ecs-agent.service; then systemctl stop ecs-agent.service; fi
        return
    fi
    pid=$(supervisor_pid)
    [[ -n $pid ]] || return 0
    note "stopping the agent (pid $pid)"
    kill -TERM "$pid"
    until_ok 60 "the end of pid $pid" supervisor_ended ||
        die "the supervisor (pid $pid) does not end; see $log_dir/supervisor.log"
}

agent_is_silent() {
    local -a look=(tail -n 20 "$log_dir/supervisor.log")
    if have_systemd; then look=(journalctl -u ecs-agent.service -n 20 --no-pager -o cat); fi
    [[ $(supervisor_pid) || ${look[0]} != tail ]] || look=(tail -n 20 "$log") # it did not come as far as its own log
    "${look[@]}" 2>&1 | sed 's/^/        | /' >&2 || true
    die "the agent does not run or does not answer at $socket; above: ${look[*]}"
}
