# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# calibrate.sh - how dear page tables are on this machine; sourced by demo and check
#
# hmm_calibrate FILE: compiles tests/calibration.c to FILE and runs it.  Sets hmm_machine, a sentence for people, and
# hmm_scale: 1.0 on the reference machine, 5.0 where page faults, signals or copies take five times as long.
# An HMM_TEST_SCALE that the user has set is taken as it is.

hmm_calibrate() {
	local said
	# shellcheck disable=SC2034
	hmm_machine="not measured" hmm_scale=${HMM_TEST_SCALE:-}
	if ${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -O1 -I. tests/calibration.c tests/calibrate.c -o "$1" && said=$("$1"); then
		hmm_machine=${said%%$'\n'*}
		hmm_scale=${hmm_scale:-${said##*$'\n'scale }}
	fi
	# Nobody has measured: limits for any machine.
	hmm_scale=${hmm_scale:-20}
}
