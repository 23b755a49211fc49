# shellcheck shell=bash
# What the invoking user gets: configuration, image, key pair, network, the instance `demo`. Needs common.sh, host.sh and
# the variables of quickstart. Everything from here on is done as that user, with that user's access key.

demo=demo
image=debian_12_x64
group=quickstart
key_pair=quickstart
vpc=quickstart

as_user() {
    if [[ $user == root ]]; then env HOME="$home" "$@"; else runuser -u "$user" -- env HOME="$home" "$@"; fi
}

ecs() { as_user "$bin/ecsctl" "$@"; }

# asked WHAT ECSCTL-ARGUMENTS…: the answer, or die with what ecsctl said.
value_of() { ecs "$@" -o json | sed -e 's/^"\(.*\)"$/\1/' -e 's/^null$//'; }
