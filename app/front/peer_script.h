/* SPDX-License-Identifier: BSD-3-Clause */

#ifndef PEER_SCRIPT_H
#define PEER_SCRIPT_H

/*
 * The parts of a Linux peer's script that are the same for all tunnels, but for
 * names: formats of the other peer_*.c. Only spaces, no tabs; and no ! before a word.
 */

/* name, the peer's address, ours */
static const char peer_script_head[] =
		"#!/bin/sh\n"
		"# The Linux end of tunnel %s, for the machine that has %s;\n"
		"# printed by dpdk-pcpu-gw at %s. As root: sh FILE, or paste it into a shell.\n"
		"# It wants Linux and iproute2 6.13 or newer. Down again: sh FILE down, or peer_down.\n"
		"#\n";

/* name */
static const char peer_script_noted[] =
		"# It is for once, and soon: it goes on behind all sequence numbers that were told or seen\n"
		"# so far, so that no IV comes twice with a key, which would give away what AES-GCM hides.\n"
		"# After a reboot or peer_down get it anew: show peer-commands %s. It leaves marks in\n"
		"# /var/lib/dpdk-pcpu-gw, and does not run twice.\n";

/* as well */
static const char peer_script_memory[] =
		"# The gateway keeps these numbers in memory only (allow_iv_reuse): they are forgotten when it\n"
		"# or its machine ends. After that new commands repeat IVs, unless there are new keys.\n";

/* name */
static const char peer_script_fresh[] =
		"# It begins with sequence number 1: for keys that no end has used yet; the gateway has no\n"
		"# state file that would know better. Where they have been used, or to run it again after a\n"
		"# reboot or peer_down, get it from the console of the running gateway: show peer-commands\n"
		"# %s. With the same keys and numbers again, AES-GCM gives away what it hides.\n";

static const char peer_script_clear[] =
		"#\n"
		"# While it is not up - after a reboot, peer_down, or where it refuses - what it would carry\n"
		"# leaves in clear, by whatever route there is.\n";

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

/*
 * "ip -force -batch" ends at the first line that fails where that is about xfrm:
 * so there is a look at what there is before.
 */
static const char peer_script_lists[] =
		"\n# What this script adds, and what there is, in the same words.\n"
		"peer_my_sas() {\n"
		"    peer_sas | sed 's/^xfrm state add //; s/ mode .*//'\n"
		"}\n"
		"peer_all_sas() {\n"
		"    ip -o xfrm state list nokeys | sed 's/ *\\\\[[:space:]]*/ /g; s/ mode .*//'\n"
		"}\n"
		"# The same, whoever made them.\n"
		"peer_my_spis() {\n"
		"    peer_my_sas | sed 's/ reqid .*//'\n"
		"}\n"
		"peer_all_spis() {\n"
		"    peer_all_sas | sed 's/ reqid .*//'\n"
		"}\n"
		"peer_my_policies() {\n"
		"    peer_policies | sed 's/^xfrm policy add //; s/ priority .*//'\n"
		"}\n"
		"peer_list() {\n"
		"    ip -o xfrm policy list | sed 's/ *\\\\[[:space:]]*/ /g' | grep '^src .* dir '\n"
		"}\n"
		"peer_all_policies() {\n"
		"    peer_list | sed 's/^\\(src .*\\) dir \\([a-z]*\\) .*/dir \\2 \\1 ./\n"
		"        s/ proto icmp / proto 1 /; s/ proto tcp / proto 6 /; s/ proto udp / proto 17 /\n"
		"        s/ proto gre / proto 47 /; s/ proto esp / proto 50 /; s/ proto ipv6-icmp / proto 58 /\n"
		"        s/ proto sctp / proto 132 /; s/ proto dccp / proto 33 /; s/ \\.$//'\n"
		"}\n"
		"# What two of them both say.\n"
		"peer_both() {\n"
		"    { \"$1\" | sort -u; \"$2\" | sort -u; } | sort | uniq -d\n"
		"}\n"
		"# What passes in clear and is not there yet: another tunnel may have wanted the same.\n"
		"peer_absent() {\n"
		"    { peer_all_policies; peer_clear; } | awk '\n"
		"/^xfrm / {\n"
		"    id = $0\n"
		"    sub(/^xfrm policy add /, \"\", id)\n"
		"    sub(/ priority .*/, \"\", id)\n"
		"    if (id in there)\n"
		"        next\n"
		"    print\n"
		"    next\n"
		"}\n"
		"{ there[$0] = 1 }'\n"
		"}\n"
		"peer_add_clear() {\n"
		"    peer_absent | ip -batch - 2>/dev/null && return 0\n"
		"    peer_absent | while read -r peer_line; do\n"
		"        echo \"$peer_line\" | ip -batch - 2>/dev/null\n"
		"    done\n"
		"}\n";

/* ours, the peer's address, reqid; the peer's, ours, reqid */
static const char peer_script_undo[] =
		"\n# The tunnel's policies: those with its template. With -v: all others.\n"
		"peer_own() {\n"
		"    grep \"$@\" -F -e ' tmpl src %s dst %s proto esp reqid %u mode tunnel' \\\n"
		"        -e ' tmpl src %s dst %s proto esp reqid %u mode tunnel'\n"
		"}\n"
		"peer_mine() {\n"
		"    peer_list | peer_own\n"
		"}\n"
		"peer_undo() {\n"
		"    peer_both peer_my_sas peer_all_sas | sed 's/^/xfrm state delete /; s/ reqid .*//' |\n"
		"        ip -batch - 2>/dev/null\n"
		"    peer_mine | sed 's/^\\(src .*\\) dir \\([a-z]*\\) .*/xfrm policy delete dir \\2 \\1/' |\n"
		"        ip -batch - 2>/dev/null\n"
		"}\n";

/* Before the SAs go, packets are still encrypted, whatever route they take. */
static const char peer_script_wanted[] =
		"    peer_wanted=$(peer_list | grep ' dir out .* tmpl ' | peer_own -v)\n";

static const char peer_script_root[] = "    if [ \"$(id -u)\" != 0 ]; then\n"
				       "        peer_say \"this is for root\"\n"
				       "        return 1\n"
				       "    fi\n";

static const char peer_script_gone[] =
		"    if [ -n \"$(peer_both peer_my_sas peer_all_sas; peer_mine)\" ]; then\n"
		"        peer_say \"not all of it is gone: see ip xfrm state, ip xfrm policy\"\n"
		"        return 1\n"
		"    fi\n"
		"    peer_say \"down: what it carried leaves in clear from now on, by whatever route there is\"\n";

/*
 * What the user has stays, and is not taken down. A machine that has an address
 * in the tunnel's selector is to use it. A route that another tunnel's policies
 * want stays as well.
 */
static const char peer_script_route[] =
		"\n# Packets get to the policies by a route, any will do. $1: -4 or -6, $2: to where, $3: the\n"
		"# source address, or -; then our networks.\n"
		"peer_route() {\n"
		"    peer_family=$1\n"
		"    peer_to=$2\n"
		"    peer_src=${3#-}\n"
		"    shift 3\n"
		"    peer_has=$(ip \"$peer_family\" route show exact \"$peer_to\")\n"
		"    case $peer_has in\n"
		"    unreachable* | blackhole* | prohibit* | throw*)\n"
		"        peer_say \"the route to $peer_to is \\\"${peer_has%% *}\\\": packets do not get to the policies\"\n"
		"        return 0\n"
		"        ;;\n"
		"    ?*) return 0 ;;\n"
		"    esac\n"
		"    for peer_net in \"$@\"; do\n"
		"        [ -n \"$peer_src\" ] ||\n"
		"            peer_src=$(ip -o \"$peer_family\" addr show to \"$peer_net\" scope global -deprecated \\\n"
		"                -temporary | sed -n '1s/.* inet6* \\([^/ ]*\\).*/\\1/p')\n"
		"    done\n"
		"    ip \"$peer_family\" route add \"$peer_to\" dev \"$peer_dev\" proto 250 \\\n"
		"        ${peer_src:+src \"$peer_src\"} ||\n"
		"        peer_say \"there is no route to $peer_to through $peer_dev: make one\"\n"
		"}\n"
		"# Only what peer_route has made, and no other tunnel wants.\n"
		"peer_unroute() {\n"
		"    case $peer_wanted in\n"
		"    *\" dst $2 \"*) return 0 ;;\n"
		"    esac\n"
		"    ip \"$1\" route del \"$2\" dev \"$peer_dev\" proto 250 2>/dev/null\n"
		"}\n";

/* ours; 4 or 6, ours; 4 or 6, ours */
static const char peer_script_pin[] =
		"    # These networks hold the gateway's outer address: its own route stays.\n"
		"    peer_via=$(ip -o route get %s | sed -n 's/.* via \\([^ ]*\\) .*/\\1/p')\n"
		"    if [ -n \"$peer_via\" ] && [ -z \"$(ip -%d route show exact %s)\" ]; then\n"
		"        ip -%d route add %s via \"$peer_via\" dev \"$peer_dev\" proto 250\n"
		"    fi\n";

static const char peer_script_forward6[] =
		"    # A router takes no advertisements of others unless told to.\n"
		"    for peer_ra in /proc/sys/net/ipv6/conf/*/accept_ra; do\n"
		"        [ \"$(cat \"$peer_ra\")\" != 1 ] || echo 2 >\"$peer_ra\"\n"
		"    done\n"
		"    echo 1 >/proc/sys/net/ipv6/conf/all/forwarding\n";

static const char peer_script_widened[] =
		"    # The gateway has no replay window; here it is 64: Linux takes no ESN without one, and\n"
		"    # what was sent already is to be refused.\n";

static const char peer_script_ports[] =
		"    # Linux finds no ports in a fragment, so that no policy with ports has it.\n"
		"    peer_say \"WARNING: selectors have ports: fragments that this machine forwards fit none of\"\n"
		"    peer_say \"them and leave in clear; take selectors without ports where that must not be\"\n";

/* the peer's address three times, ours between them */
static const char peer_script_check[] =
		"    case $(ip -V 2>&1) in\n"
		"    *[Bb]usy[Bb]ox*)\n"
		"        peer_say \"this ip is busybox's, which knows no xfrm: it wants iproute2 6.13 or newer\"\n"
		"        return 1\n"
		"        ;;\n"
		"    esac\n"
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

static const char peer_script_state[] =
		"    peer_there=$(peer_both peer_my_spis peer_all_spis | sed -n 1p)\n"
		"    if [ -n \"$peer_there\" ]; then\n"
		"        peer_say \"there is an SA already: $peer_there\"\n"
		"        peer_say \"if it is this tunnel's: peer_down (sh FILE down), then get new commands\"\n"
		"        return 1\n"
		"    fi\n"
		"    peer_there=$({ peer_both peer_my_policies peer_all_policies; peer_mine; } | sed -n 1p)\n"
		"    if [ -n \"$peer_there\" ]; then\n"
		"        peer_say \"there is a policy already: $peer_there\"\n"
		"        peer_say \"if it is this tunnel's: peer_down (sh FILE down); else two want the same packets\"\n"
		"        return 1\n"
		"    fi\n";

/* name */
static const char peer_script_once[] =
		"    peer_there=$(peer_marks | while read -r peer_mark; do\n"
		"        [ -e \"$peer_marked/$peer_mark\" ] && echo \"$peer_mark\"\n"
		"    done | sed -n 1p)\n"
		"    if [ -n \"$peer_there\" ]; then\n"
		"        peer_say \"these commands were used already: once more, and IVs would repeat. Get new\"\n"
		"        peer_say \"ones of the running gateway: show peer-commands %s\"\n"
		"        return 1\n"
		"    fi\n";

/* Made by mkdir, as that is there or not; and on the disk before the first packet. */
static const char peer_script_mark[] =
		"    if mkdir -p /var/lib && (umask 077 && mkdir -p \"$peer_marked\" && cd \"$peer_marked\" &&\n"
		"        peer_marks | xargs mkdir); then\n"
		"        sync \"$peer_marked\" 2>/dev/null || sync\n"
		"    else\n"
		"        peer_say \"$peer_marked cannot be written, which says that these commands were used\"\n"
		"        return 1\n"
		"    fi\n"
		"    case $(stat -f -c %T \"$peer_marked\" 2>/dev/null) in\n"
		"    tmpfs | ramfs) peer_say \"/var/lib is in memory: after a reboot, nothing says that these were used\" ;;\n"
		"    esac\n";

/* the highest number twice, name */
static const char peer_script_cpus[] =
		"    peer_cpu=$(sed 's/.*[-,]//' /sys/devices/system/cpu/possible 2>/dev/null)\n"
		"    [ -n \"$peer_cpu\" ] || peer_cpu=$(($(getconf _NPROCESSORS_CONF) - 1))\n"
		"    if [ \"$peer_cpu\" -lt %u ]; then\n"
		"        peer_say \"the last CPU here is $peer_cpu, and there are SAs up to CPU %u: get the\"\n"
		"        peer_say \"commands with: show peer-commands %s cpus $((peer_cpu + 1)) (--cpus)\"\n"
		"        return 1\n"
		"    fi\n";

static const char peer_script_add_sas[] = "    if peer_sas | ip -batch -; then :; else\n"
					  "        peer_say \"these SAs cannot be installed\"\n"
					  "        peer_undo\n"
					  "        return 1\n"
					  "    fi\n";

/* ours */
static const char peer_script_dev[] =
		"    peer_dev=$(ip -o route get %s 2>/dev/null | sed -n 's/.* dev \\([^ ]*\\).*/\\1/p')\n";

/* Those in clear first: before them, the tunnel's would take its own packets. */
static const char peer_script_add_policies[] =
		"    peer_add_clear\n"
		"    if peer_policies | ip -batch -; then :; else\n"
		"        peer_say \"these policies cannot be installed\"\n"
		"        peer_undo\n"
		"        return 1\n"
		"    fi\n";

static const char peer_script_steer[] =
		"    # Each SA to the queue of its CPU, where the NIC can: queue n is to interrupt CPU n.\n"
		"    peer_failed=0\n"
		"    peer_steer() {\n"
		"        ethtool -N \"$peer_dev\" \"$@\" >/dev/null 2>&1 || peer_failed=$((peer_failed + 1))\n"
		"    }\n";

/* 4 or 6; queues */
static const char peer_script_steered[] =
		"    if [ \"$peer_failed\" -gt 0 ]; then\n"
		"        ethtool -N \"$peer_dev\" rx-flow-hash udp%d sdfn >/dev/null 2>&1\n"
		"        peer_say \"$peer_dev does not steer $peer_failed SAs to their CPUs: slower, and that is all\"\n"
		"        # Only the queues of the CPUs that have SAs: ethtool -X \"$peer_dev\" equal %u\n"
		"    fi\n";

static const char peer_script_shared[] =
		"    # SAs that share UDP ports: only a NIC that looks at the SPI could tell them apart.\n";

static const char peer_script_end[] =
		"\ncase ${1:-up} in\n"
		"up) peer_up ;;\n"
		"down) peer_down ;;\n"
		"*)\n"
		"    peer_say \"usage: sh FILE [up | down]\"\n"
		"    (exit 2)\n"
		"    ;;\n"
		"esac\n"
		"\n"
		"# What it does: ip -s xfrm state; why packets are dropped: cat /proc/net/xfrm_stat\n"
		"# Down: peer_down, or sh FILE down, also with newer commands. What stays: processes\n"
		"# \"esp-in-udp\" that hold UDP ports, policies without tmpl, which let the tunnel's own packets\n"
		"# and the LAN's pass in clear and may be other tunnels', too, forwarding, the NIC's rules.\n";

#endif /* PEER_SCRIPT_H */
