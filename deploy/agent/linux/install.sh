#!/bin/sh
# Installs the agent from a .deb and enrols this machine; needs no network but the gate's.
#   install.sh [--code-file FILE] [--writes FOLDER]... gate-agent_*.deb https://gate.example [enrol options]
# The code is read from FILE (such as one on a USB stick), else from standard input: never from the command line, where
# others see it. FOLDER: a folder outside /srv that content is put into; the unit may write nowhere else.
set -eu
code="" drop=/etc/systemd/system
usage() { echo "usage: install.sh [--code-file FILE] [--writes FOLDER]... FILE.deb URL [enrol options]" >&2; exit 2; }
folders="" mounts=""
while [ $# -gt 0 ]; do
  case $1 in
    --code-file) [ $# -ge 2 ] || usage; code=$2; shift 2 ;;
    --writes)
      [ $# -ge 2 ] || usage
      case $2 in "" | /*[!A-Za-z0-9/._-]* | [!/]*) echo "$2 is not an absolute path of plain letters" >&2; exit 2 ;; esac
      case $2 in /home* | /root*) echo "$2: the units see no home folder" >&2; exit 2 ;; esac
      folders="$folders -$2" mounts="$mounts $2"; shift 2 ;;
    *) break ;;
  esac
done
[ $# -ge 2 ] || usage
package=$1 url=$2
shift 2
[ "$(id -u)" = 0 ] || { echo "as root: a service is installed" >&2; exit 1; }
[ -z "$code" ] || [ -r "$code" ] || { echo "$code cannot be read" >&2; exit 1; }
dpkg -i "$package"
if [ -n "$folders" ]; then
  # shellcheck disable=SC2086
  mkdir -p $mounts
  for unit in gate-agent gate-agent-early; do
    mkdir -p "$drop/$unit.service.d"
    printf '[Unit]\nRequiresMountsFor=%s\n[Service]\nReadWritePaths=%s\n' "${mounts# }" "${folders# }" > "$drop/$unit.service.d/folders.conf"
  done
  systemctl daemon-reload
fi
# An agent that is enrolled already keeps its directory to itself; whatever comes of this, it runs again.
systemctl stop gate-agent.service
trap 'systemctl restart gate-agent.service' EXIT
if [ -n "$code" ]; then
  gate-agent enrol "$url" - "$@" < "$code"
else
  gate-agent enrol "$url" - "$@"
fi
echo "compare the fingerprint above with the page Machines before you accept it"
