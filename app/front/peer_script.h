/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef PEER_SCRIPT_H
#define PEER_SCRIPT_H

/*
 * The parts of a Linux peer's script that are the same for all tunnels, but for
 * names: formats of peer_commands.c. Only spaces, no tabs; and no ! before a word.
 */

/* name, the peer's address, ours */
static const char peer_script_head[] =
		"#!/bin/sh\n"
		"# The Linux end of tunnel %s, for the machine that has %s;\n"
		"# printed by dpdk-pcpu-gw at %s. As root: sh FILE, or paste it into a shell.\n"
		"# It wants Linux and iproute2 6.13 or newer. Down again: sh FILE down, or peer_down.\n"
		"#\n";

/* name */
static const char peer_script_live[] =
		"# Use it once, and soon: it goes on behind the sequence numbers used so far. A second\n"
		"# run, after a reboot or peer_down, would use IVs with the same keys again, which gives\n"
		"# away what AES-GCM hides: get it anew from the console: show peer-commands %s\n";

static const char peer_script_fresh[] =
		"# It begins with sequence number 1: for keys that no end has used yet. Where they have\n"
		"# been, or to run it again after a reboot or peer_down, get it from the console of the\n"
		"# running gateway, which knows the numbers used: show peer-commands %s. With the same\n"
		"# keys and numbers again, AES-GCM gives away what it hides.\n";

static const char peer_script_secret[] =
		"#\n"
		"# IT HOLDS KEYS: umask 077 for the file. A shell writes what is pasted into its history:\n"
		"# unset HISTFILE before.\n";

/* name */
static const char peer_script_keys[] =
		"#\n"
		"# Keys are left out. Have the gateway put them in: show peer-commands %s with keys, or\n"
		"# --with-keys; or set these variables, to 0x and hex digits, the salt behind the key:\n";

/* name */
static const char peer_script_say[] = "\npeer_say() {\n"
				      "    echo \"tunnel %s: $*\" >&2\n"
				      "}\n";

/* The pattern stands in quotes for the sake of interactive shells: see above. */
static const char peer_script_key[] =
		"\n# Is variable $1 a key of $2 bytes? Without 0x, ip would take the text itself for one.\n"
		"peer_key() {\n"
		"    peer_other='*[!0-9a-fA-F]*'\n"
		"    eval \"peer_value=\\${$1:-}\"\n"
		"    case ${peer_value#0x} in\n"
		"    \"$peer_value\" | $peer_other) peer_value= ;;\n"
		"    esac\n"
		"    if [ ${#peer_value} -eq $((2 + 2 * $2)) ]; then\n"
		"        peer_value=\n"
		"        return 0\n"
		"    fi\n"
		"    peer_value=\n"
		"    peer_say \"$1 wants 0x and $((2 * $2)) hex digits; see the head of the script\"\n"
		"    return 1\n"
		"}\n";

/*
 * Python comes first, as it says more; both go into the background only when the
 * port is theirs, so that a refusal can be told.
 */
static const char peer_script_encap[] =
		"\n# Linux decapsulates UDP only where a socket says so (UDP_ENCAP 100, ESPINUDP 2): a\n"
		"# process in the background holds one. $1: 4 or 6, $2: the port.\n"
		"peer_encap() {\n"
		"    if command -v python3 >/dev/null; then\n"
		"        peer_out=$(python3 -c '\n"
		"import os, signal, socket, sys\n"
		"v6 = sys.argv[1] == \"6\"\n"
		"try:\n"
		"    s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)\n"
		"    if v6:\n"
		"        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)\n"
		"    s.setsockopt(socket.IPPROTO_UDP, 100, 2)\n"
		"    s.bind((\"::\" if v6 else \"0.0.0.0\", int(sys.argv[2])))\n"
		"except OSError as e:\n"
		"    sys.exit(str(e))\n"
		"if os.fork():\n"
		"    os._exit(0)\n"
		"os.setsid()\n"
		"null = os.open(\"/dev/null\", os.O_RDWR)\n"
		"for fd in range(3):\n"
		"    os.dup2(null, fd)\n"
		"while True:\n"
		"    signal.pause()\n"
		"' \"$1\" \"$2\" esp-in-udp </dev/null 2>&1)\n"
		"    elif command -v perl >/dev/null; then\n"
		"        peer_out=$(perl -e '\n"
		"($v, $port) = @ARGV;\n"
		"socket(S, $v == 6 ? 10 : 2, 2, 17) or die \"$! \\n\";\n"
		"$v == 4 or setsockopt(S, 41, 26, pack(\"i\", 1)) or die \"$! \\n\";\n"
		"setsockopt(S, 17, 100, pack(\"i\", 2)) or die \"$! \\n\";\n"
		"$any = $v == 6 ? pack(\"SnNx16L\", 10, $port, 0, 0) : pack(\"Snx12\", 2, $port);\n"
		"bind(S, $any) or die \"$! \\n\";\n"
		"defined($pid = fork) or die \"$! \\n\";\n"
		"exit 0 if $pid;\n"
		"setpgrp;\n"
		"$SIG{HUP} = \"IGNORE\";\n"
		"open(STDOUT, \">/dev/null\");\n"
		"open(STDERR, \">/dev/null\");\n"
		"sleep 1000 while 1;\n"
		"' \"$1\" \"$2\" esp-in-udp </dev/null 2>&1)\n"
		"    else\n"
		"        peer_out=\"there is neither python3 nor perl\"\n"
		"    fi\n"
		"    [ -n \"$peer_out\" ] || return 0\n"
		"    peer_say \"UDP port $2 is not opened for ESP: $peer_out\"\n"
		"    case $peer_out in\n"
		"    *already*) peer_say \"fine if charon or an earlier run has it for ESP; else nothing comes in\" ;;\n"
		"    esac\n"
		"}\n";

/* A machine that has an address in the tunnel's selector is to use it. */
static const char peer_script_route[] =
		"\n# Packets get to the policies by a route. $1: -4 or -6, $2: to where; then our networks.\n"
		"peer_route() {\n"
		"    peer_family=$1\n"
		"    peer_to=$2\n"
		"    shift 2\n"
		"    case $peer_to in\n"
		"    */0) [ -z \"$(ip \"$peer_family\" route show default)\" ] || return 0 ;;\n"
		"    esac\n"
		"    peer_src=\n"
		"    for peer_net in \"$@\"; do\n"
		"        [ -n \"$peer_src\" ] ||\n"
		"            peer_src=$(ip -o \"$peer_family\" addr show to \"$peer_net\" scope global |\n"
		"                sed -n '1s/.* inet6* \\([^/ ]*\\).*/\\1/p')\n"
		"    done\n"
		"    ip \"$peer_family\" route replace \"$peer_to\" dev \"$peer_dev\" proto 250 \\\n"
		"        ${peer_src:+src \"$peer_src\"} ||\n"
		"        peer_say \"there is no route to $peer_to through $peer_dev: make one\"\n"
		"}\n";

/* the peer's address three times, ours between them */
static const char peer_script_check[] =
		"\npeer_check() {\n"
		"    if [ \"$(id -u)\" != 0 ]; then\n"
		"        peer_say \"this is for root\"\n"
		"        return 1\n"
		"    fi\n"
		"    if ip xfrm state help 2>&1 | grep -q pcpu-num; then :; else\n"
		"        peer_say \"this ip does not know pcpu-num: it wants Linux and iproute2 6.13 or newer\"\n"
		"        return 1\n"
		"    fi\n"
		"    if [ -z \"$(ip -o addr show to %s)\" ]; then\n"
		"        peer_say \"no interface of this machine has %s, the tunnel's address here\"\n"
		"        return 1\n"
		"    fi\n"
		"    if [ -z \"$(ip -o route get %s 2>/dev/null)\" ]; then\n"
		"        peer_say \"there is no route from %s to %s, the gateway\"\n"
		"        return 1\n"
		"    fi\n";

/* ours, the peer's address, reqid */
static const char peer_script_state[] =
		"    if [ -n \"$(ip xfrm state list src %s dst %s proto esp reqid %u)\" ]; then\n"
		"        peer_say \"it has SAs already: peer_down (sh FILE down), then get new commands\"\n"
		"        return 1\n"
		"    fi\n";

/* the highest number twice, name */
static const char peer_script_cpus[] =
		"    peer_cpu=$(sed 's/.*[-,]//' /sys/devices/system/cpu/possible 2>/dev/null)\n"
		"    [ -n \"$peer_cpu\" ] || peer_cpu=$(($(getconf _NPROCESSORS_CONF) - 1))\n"
		"    if [ \"$peer_cpu\" -lt %u ]; then\n"
		"        peer_say \"the last CPU here is $peer_cpu, and there are SAs up to CPU %u: get the\"\n"
		"        peer_say \"commands with: show peer-commands %s cpus $((peer_cpu + 1)) (--cpus)\"\n"
		"        return 1\n"
		"    fi\n";

/* Nothing has left on SAs without policies: they can go without a trace. */
static const char peer_script_sas[] =
		"    ip -batch - <<EOF || { peer_say \"these SAs cannot be installed\"; peer_down; return 1; }\n";

/* ours */
static const char peer_script_dev[] =
		"    peer_dev=$(ip -o route get %s | sed -n 's/.* dev \\([^ ]*\\).*/\\1/p')\n";

static const char peer_script_policies[] =
		"    ip -batch - <<EOF || { peer_say \"these policies cannot be installed\"; return 1; }\n";

static const char peer_script_steer[] =
		"    # Each SA to the queue of its CPU, where the NIC can: queue n is to interrupt CPU n.\n"
		"    peer_failed=0\n"
		"    peer_steer() {\n"
		"        ethtool -N \"$peer_dev\" \"$@\" >/dev/null 2>&1 || peer_failed=$((peer_failed + 1))\n"
		"    }\n";

/* 4 or 6 */
static const char peer_script_steered[] =
		"    if [ \"$peer_failed\" -gt 0 ]; then\n"
		"        ethtool -N \"$peer_dev\" rx-flow-hash udp%d sdfn >/dev/null 2>&1\n"
		"        peer_say \"$peer_dev does not steer $peer_failed SAs to their CPUs: slower, and that is all\"\n"
		"    fi\n";

static const char peer_script_shared[] =
		"    # SAs that share UDP ports: only a NIC that looks at the SPI could tell them apart.\n";

static const char peer_script_end[] =
		"\ncase ${1:-up} in\n"
		"down) peer_down ;;\n"
		"*) peer_up ;;\n"
		"esac\n"
		"\n"
		"# What it does: ip -s xfrm state; why packets are dropped: cat /proc/net/xfrm_stat\n"
		"# Down: peer_down, or sh FILE down. The processes \"esp-in-udp\" that hold UDP ports, routes\n"
		"# to the gateway itself, forwarding and the NIC's rules stay.\n";

#endif /* PEER_SCRIPT_H */
