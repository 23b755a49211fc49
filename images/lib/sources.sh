# Where packages come from: the Debian archives that the host itself uses, and nothing else it may have configured.
# shellcheck shell=bash

DEBIAN_RELEASE=bookworm
DEBIAN_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# One line `URI SUITE COMPONENT` for each Debian archive of the host. Others are told apart by the origin in their
# signed Release file; where the host has no package lists yet they are fetched, into the work directory.
host_archives() {
    local state=()
    if [ -z "$(list_archives)" ]; then
        mkdir -p "$WORK/lists/partial"
        state=(-o "Dir::State::lists=$WORK/lists")
        apt-get "${state[@]}" -qq update >&2 || true # one broken third-party source must not matter
    fi
    list_archives "${state[@]}"
}

list_archives() {
    # shellcheck disable=SC2016 # the $(NAMES) are apt's
    apt-get "$@" indextargets --format '$(CREATED_BY)|$(ORIGIN)|$(CODENAME)|$(REPO_URI)|$(COMPONENT)' |
        awk -F'|' -v r="$DEBIAN_RELEASE" '$1 == "Packages" && $2 == "Debian" &&
            ($3 == r || $3 == r "-updates" || $3 == r "-security") && !seen[$0]++ { print $4, $3, $5 }'
}

# sources_list < host_archives: apt's one-line form, verified with Debian's own keys only.
sources_list() {
    sed "s|^|deb [signed-by=$DEBIAN_KEYRING] |"
}

# guest_sources_list < host_archives: what a guest can use: archives on the network, without the host's passwords.
guest_sources_list() {
    local uri suite component
    while read -r uri suite component; do
        case $uri in
            mirror+file:*) uri=$(grep -m1 -o '^https\?://[^[:space:]]*' "${uri#mirror+file:}" || true) ;;
        esac
        case $uri in
            http://* | https://*)
                uri=$(printf '%s' "$uri" | sed -E 's|^(https?://)[^/@]*@|\1|')
                echo "$uri $suite $component"
                ;;
        esac
    done | sources_list
}

# The host's ways to reach archives (proxies, clock checks), as `Name "value";` lines for apt's configuration.
host_apt_options() {
    apt-config dump | grep -E '^Acquire::(https?|Check-|Retries|ForceIPv[46]|Max-ValidTime|Min-ValidTime)' || true
}
