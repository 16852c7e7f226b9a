#!/bin/sh
# Installs Debian packages without starting the services that come with them: tests
# start their own, on ports and in folders of their own. Run as root:
#
#     sh xtask/install-packages.sh unbound redis-server
#
# Debian's maintainer scripts ask /usr/sbin/policy-rc.d whether a service may be
# started. One that says no (101) stands there while we install. A machine that has a
# policy of its own keeps it, whatever it says.
set -eu

policy=/usr/sbin/policy-rc.d

if (set -C; printf '#!/bin/sh\n# from weft: no services while test packages are installed\nexit 101\n' >"$policy") 2>/dev/null; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM HUP
    chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet || echo 'the package lists could not be renewed; going on with those that are here' >&2
apt-get install --yes --quiet --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
