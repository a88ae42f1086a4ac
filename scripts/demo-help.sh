# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# demo-help.sh - what ./demo and its parts can do, without building them; sourced by demo
#
# The options of a part stand once, in its program's own source; here they are only printed.  Nothing but the shell is
# needed.  tests/lint/help.py compares with what the programs print.

# Options of a program with argp: the rows of its table.
hmm_argp_options() {
	local line row='^[[:space:]]\{ "([^"]*)", [^,]*, (NULL|"([^"]*)"), [^"]*"(.*)", 0 \},$'
	while IFS= read -r line; do
		if [[ $line =~ $row ]] && [ "${BASH_REMATCH[1]}" != json ]; then
			printf '  %-18s %s\n' "--${BASH_REMATCH[1]}${BASH_REMATCH[3]:+=${BASH_REMATCH[3]}}" "${BASH_REMATCH[4]}"
		fi
	done <"$1"
}

# Options of a program that prints them as strings.
hmm_usage_options() {
	local line string='^[[:space:]]*"(  .*)\\n"(\);)?$'
	while IFS= read -r line; do
		if [[ $line =~ $string ]]; then
			printf '%s\n' "${BASH_REMATCH[1]}"
		fi
	done <"$1"
}

hmm_demo_help() {
	if [ "$1" = all ]; then
		printf '%s\n' "\
Usage: ./demo [sort | gc | sqlite] [OPTION...]
       ./demo [PART] --help

Installs what is missing, builds in build/demo, and shows programs that use more than they have memory for.  Each part
takes about two minutes or less: if nothing is said about it, how much it does follows from what page tables cost on this
machine, which is measured and printed.
"
	fi
	case $1 in
	all | sort)
		echo "./demo [sort] [OPTION...]: sort a text with qsort() in memory that the program pages itself, and check the result"
		hmm_usage_options examples/paged-sort/options.c ;;
	esac
	[ "$1" != all ] || echo
	case $1 in
	all | gc)
		echo "./demo gc [OPTION...]: programs on the Boehm collector, unmodified, with half the memory that their heaps take"
		hmm_argp_options bench/gc/main.c ;;
	esac
	[ "$1" != all ] || echo
	case $1 in
	all | sqlite)
		echo "./demo sqlite [OPTION...]: an SQLite database in use, with memory for a part of its pages"
		hmm_argp_options bench/sqlite/main.c ;;
	esac
}
