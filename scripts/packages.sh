# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# packages.sh - install the Debian packages that are missing; sourced by demo and check
#
# hmm_install_packages PACKAGE...: returns 0 if all are installed afterwards.  Where it can't install them it says what
# to type and returns 1.  Asks for nothing: without root it uses sudo only where sudo needs no password, or a terminal
# is there to ask on.

# What building the library, its examples and its tests takes.
# shellcheck disable=SC2034
hmm_build_packages="gcc libc6-dev meson ninja-build pkg-config uthash-dev libunwind-dev libxxhash-dev libcjson-dev libzstd-dev zlib1g-dev libgc-dev libsqlite3-dev check"

hmm_missing_packages() {
	local package
	for package; do
		case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) in
		installed) ;;
		*) printf '%s\n' "$package" ;;
		esac
	done
}

hmm_apt_get() {
	local sudo=$1
	shift
	# shellcheck disable=SC2086
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends "$@" </dev/null
}

hmm_install_packages() {
	local missing sudo=
	if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
		echo "This is not Debian: please see to it that these are installed: $*" >&2
		return 0
	fi
	missing=$(hmm_missing_packages "$@" | tr '\n' ' ')
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" != 0 ]; then
		if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
			sudo=sudo
		else
			echo "Missing packages.  As root, type: apt-get install $missing" >&2
			return 1
		fi
	fi
	echo "Installing $missing" >&2
	# The lists of packages may be absent or old: try with them as they are, then renew them and try again.
	# shellcheck disable=SC2086
	set -- $missing
	if ! hmm_apt_get "$sudo" install "$@" >/dev/null 2>&1; then
		hmm_apt_get "$sudo" update >/dev/null || true
		if ! hmm_apt_get "$sudo" install "$@" >/dev/null; then
			echo "Could not install them.  As root, type: apt-get update && apt-get install $missing" >&2
			return 1
		fi
	fi
	[ -z "$(hmm_missing_packages "$@")" ]
}
