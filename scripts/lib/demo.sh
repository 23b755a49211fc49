# shellcheck shell=bash
# What the invoking user gets: the configuration of ecsctl, the image, a key pair, a network, the instance. Needs
# common.sh, host.sh, python.sh and the variables of quickstart. All but the first key is done as that user with that key.

demo=demo
image=debian_12_x64
demo_type=ecs.t1.small   # 1 vCPU, 1 GiB: fits everywhere
demo_name=quickstart    # of the key pair, and of the network where there is no default one

as_user() {
    if [[ $user == root ]]; then env HOME="$home" "$@"; else runuser -u "$user" -- env HOME="$home" "$@"; fi
}

profile=                # of the user's ecsctl, if it is not the current one

ecs() { as_user "$bin/ecsctl" ${profile:+--profile "$profile"} "$@"; }

# configure_user: ecsctl of the invoking user reaches this agent with an administrator's access key. Root takes the key,
# over the socket, into a copy; the file is written by the user: a path in a home is not for root to follow.
configure_user() {
    local file=$home/.ecsctl/config.toml copy=$run_dir/quickstart-home
    rm -rf "$copy"
    mkdir -m 0700 "$copy"
    if as_user test -e "$file"; then as_user cat "$file" | install -m 0600 /dev/stdin "$copy/config.toml"; fi
    choose_profile "$copy"
    ECSCTL_HOME=$copy logged "asking for an access key, unless there is one that works" "$bin/ecsctl" ${profile:+--profile "$profile"} config init
    if as_user cat "$file" 2>/dev/null | cmp -s - "$copy/config.toml"; then
        note "$file is up to date"
    else
        # ssh will write known_hosts beside it.
        as_user test -e "${file%/*}" || remember "$made" "user-file $user ${file%/*}/known_hosts"
        as_user test -e "$file" || remember "$made" "user-file $user $file"
        (
            umask 077
            as_user mkdir -p "${file%/*}"
            as_user tee "$file.new" <"$copy/config.toml" >/dev/null
            as_user mv "$file.new" "$file"
        )
        note "wrote $file"
    fi
    rm -rf "$copy"
}

# choose_profile HOME: the current one, unless that is about another agent.
choose_profile() {
    local http endpoint
    http=$(configured "$config" http)
    endpoint=$(ECSCTL_HOME=$1 "$bin/ecsctl" config get endpoint)
    if [[ $endpoint != "unix://$socket" && $endpoint != "http://$http" ]]; then
        profile=local
        note "the current profile is about $endpoint: using the profile '$profile' for this agent"
    fi
    # A user without the group's rights comes over http; only the usual port needs no telling.
    if [[ $user != root && $http != 127.0.0.1:8800 ]]; then
        [[ -n $http ]] || die "$config switches http off, so $user cannot reach the agent: give it a loopback port, or run this as root itself"
        ECSCTL_HOME=$1 "$bin/ecsctl" ${profile:+--profile "$profile"} config set endpoint "http://$http"
    fi
}

build_image() { shown "building the image $image" ecs image build "$image"; }

run_demo() {
    ensure_key_pair
    ensure_network
    ensure_instance
}

# ensure_key_pair: one of which the user holds the private key.
ensure_key_pair() {
    local file=$home/.ecsctl/keys/$demo_name.pem known users
    known=$(ecs key-pair ls --query "[?KeyPairName=='$demo_name'].KeyPairName")
    if as_user test -e "$file"; then
        if [[ -n $known ]]; then
            note "key pair $demo_name: private key in $file"
            return
        fi
        as_user mv "$file" "$file.old" # of an agent that is gone
    fi
    if [[ -n $known ]]; then
        users=$(ecs instance ls --query "[?KeyPairName=='$demo_name'].InstanceName" | tr '\n' ' ')
        [[ -z $users ]] || die "the private key of the key pair '$demo_name' is not in $file: put it there, or release the instances that use it: $users"
        ecs key-pair delete "$demo_name" >>"$log" 2>&1
    fi
    remember "$made" "user-file $user $file"
    shown "creating the key pair" ecs key-pair create "$demo_name"
}

# ensure_network: the agent makes a default VPC with a VSwitch and a security group; their owner may have deleted them.
ensure_network() {
    local vswitch vpc group
    network=()
    vswitch=$(ecs vswitch ls --query '[?IsDefault].VSwitchId | [0]')
    if [[ -n $vswitch ]]; then
        note "the default VSwitch is $vswitch"
        return
    fi
    vpc=$(ecs vpc ls --query "[?VpcName=='$demo_name'].VpcId | [0]")
    [[ -n $vpc ]] || shown "creating a VPC" ecs vpc create "$demo_name" --cidr 172.16.0.0/12
    vswitch=$(ecs vswitch ls --vpc "$demo_name" --query '[0].VSwitchId')
    [[ -n $vswitch ]] || shown "creating a VSwitch" ecs vswitch create "$demo_name" --vpc "$demo_name" --cidr 172.16.0.0/24
    group=$(ecs security-group ls --vpc "$demo_name" --query '[0].SecurityGroupId')
    [[ -n $group ]] || shown "creating a security group" ecs security-group create "$demo_name" --vpc "$demo_name"
    network=(--vpc "$demo_name")
}

# ensure_instance: there, running, and answering SSH.
ensure_instance() {
    local status
    status=$(ecs instance ls --query "[?InstanceName=='$demo'].Status")
    case $status in
        '') shown "creating $demo" ecs instance create "$demo" --image "$image" --type "$demo_type" \
            --key-pair "$demo_name" "${network[@]}" ;;
        Stopping)
            shown "waiting for $demo to stop" ecs instance wait "$demo" --for stopped
            shown "starting $demo" ecs instance start "$demo"
            ;;
        Stopped) shown "starting $demo" ecs instance start "$demo" ;;
        Running | Starting | Pending) note "$demo is $status" ;;
        *) die "several instances are called '$demo' ($(tr '\n' ' ' <<<"$status")): rename or release all but one" ;;
    esac
    shown "waiting for SSH" ecs instance wait "$demo" --for ssh --timeout 900
}

log_in() { shown "the login" ecs instance ssh "$demo" -- 'uname -a; cloud-init status --wait | tail -n 1'; }

next_commands() {
    local ecsctl=ecsctl${profile:+ --profile $profile}
    if [[ -n $with_demo ]]; then
        cat <<END
  $ecsctl instance ssh $demo
  $ecsctl instance ls -o wide
  $ecsctl instance create web --key-pair $demo_name
  $ecsctl host show
END
    else
        cat <<END
  $ecsctl host show
  $ecsctl image ls --catalogue
  $ecsctl key-pair create mine
  $ecsctl instance create web --key-pair mine
END
    fi
}
