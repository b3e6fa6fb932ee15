#!/bin/sh
# Removes the agent. Content in place stays; so do the machine's key and state, unless --forget is given.
set -eu
[ "$(id -u)" = 0 ] || { echo "as root: a service is removed" >&2; exit 1; }
case ${1:-} in
  "") dpkg --remove gate-agent ;;
  --forget)
    dpkg --purge gate-agent
    rm -rf /etc/systemd/system/gate-agent.service.d /etc/systemd/system/gate-agent-early.service.d ;;
  *) echo "usage: remove.sh [--forget]" >&2; exit 2 ;;
esac
echo "the gate still expects this machine: decommission it on its page there"
