/* SPDX-License-Identifier: BSD-3-Clause */

#include "tap_program.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_INSNS 160
#define MAX_TRIES 1000

/** Where the program jumps to. */
enum label {
	NOWHERE,
	IP6,
	L4,
	PORTS, /* the first word behind IP is the ports, or the SPI */
	UDP,
	LOOK_UP,
	SPREAD,
	NOT_IP,
	N_LABELS,
};

struct program {
	struct bpf_insn insn[MAX_INSNS];
	enum label to[MAX_INSNS];
	unsigned int at[N_LABELS];
	unsigned int n;
};

/*
 * Registers: r0 is what a call returns, r1 to r5 are its arguments and gone after it, r6 to
 * r9 stay, r10 is the end of the stack.
 */
enum {
	R0 = BPF_REG_0,
	R1 = BPF_REG_1,
	R2 = BPF_REG_2,
	R3 = BPF_REG_3,
	R4 = BPF_REG_4,
	SKB = BPF_REG_6,
	HASH = BPF_REG_7,
	L4_OFFSET = BPF_REG_8,
	PROTO = BPF_REG_9,
	STACK = BPF_REG_10,
};

/* The stack, of which words are read at their natural alignment only */
enum {
	WORD_AT = -8, /* the Ethernet type; then ports or SPI */
	IP6_AT = -48,
	IP4_AT = -44,
	KEY_AT = -56,
};

static void
emit(struct program *p, uint8_t code, uint8_t dst, uint8_t src, int off, int32_t imm)
{
	/* one too many is found by the caller: n stays within the array */
	if (p->n >= MAX_INSNS)
		return;
	p->insn[p->n++] = (struct bpf_insn){.code = code,
			.dst_reg = dst & 15,
			.src_reg = src & 15,
			.off = (int16_t)off,
			.imm = imm};
}

static void
alu(struct program *p, uint8_t op, uint8_t dst, uint8_t src)
{
	emit(p, BPF_ALU64 | BPF_X | op, dst, src, 0, 0);
}

static void
alu_imm(struct program *p, uint8_t op, uint8_t dst, int32_t imm)
{
	emit(p, BPF_ALU64 | BPF_K | op, dst, 0, 0, imm);
}

/** @p size: BPF_B, BPF_H, BPF_W, BPF_DW: 1, 2, 4, 8 bytes. */
static void
load(struct program *p, uint8_t size, uint8_t dst, uint8_t base, int off)
{
	emit(p, BPF_LDX | BPF_MEM | size, dst, base, off, 0);
}

static void
store(struct program *p, uint8_t size, int off, uint8_t src)
{
	emit(p, BPF_STX | BPF_MEM | size, STACK, src, off, 0);
}

/** 64 bits take two instructions. @p kind: BPF_PSEUDO_MAP_FD where it is one. */
static void
load_const(struct program *p, uint8_t dst, uint8_t kind, uint64_t value)
{
	emit(p, BPF_LD | BPF_DW | BPF_IMM, dst, kind, 0, (int32_t)(uint32_t)value);
	emit(p, 0, 0, 0, 0, (int32_t)(uint32_t)(value >> 32));
}

static void
call(struct program *p, int32_t helper)
{
	emit(p, BPF_JMP | BPF_CALL, 0, 0, 0, helper);
}

/** @p op: BPF_JEQ and so on; BPF_JA: always. */
static void
jump(struct program *p, uint8_t op, uint8_t reg, int32_t imm, enum label to)
{
	if (p->n < MAX_INSNS)
		p->to[p->n] = to;
	emit(p, BPF_JMP | BPF_K | op, reg, 0, 0, imm);
}

static void
label(struct program *p, enum label here)
{
	p->at[here] = p->n;
}

static void
leave(struct program *p)
{
	emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/** Of the packet, from the offset in R2, to the stack; where it ends before that: @p if_short. */
static void
load_packet(struct program *p, int to, int32_t len, enum label if_short)
{
	alu(p, BPF_MOV, R1, SKB);
	alu(p, BPF_MOV, R3, STACK);
	alu_imm(p, BPF_ADD, R3, to);
	alu_imm(p, BPF_MOV, R4, len);
	call(p, BPF_FUNC_skb_load_bytes);
	jump(p, BPF_JNE, R0, 0, if_short);
}

/** R1 into the hash. */
static void
mix(struct program *p)
{
	alu(p, BPF_XOR, HASH, R1);
	load_const(p, R2, 0, 0x9e3779b97f4a7c15);
	alu(p, BPF_MUL, HASH, R2);
	alu(p, BPF_MOV, R1, HASH);
	alu_imm(p, BPF_RSH, R1, 32);
	alu(p, BPF_XOR, HASH, R1);
}

static void
ethernet(struct program *p)
{
	alu(p, BPF_MOV, SKB, R1);
	alu_imm(p, BPF_MOV, HASH, 0);
	alu_imm(p, BPF_MOV, R2, offsetof(struct ethhdr, h_proto));
	load_packet(p, WORD_AT, 2, NOT_IP);
	load(p, BPF_H, R1, STACK, WORD_AT);
	jump(p, BPF_JEQ, R1, RTE_BE16(ETH_P_IPV6), IP6);
	jump(p, BPF_JNE, R1, RTE_BE16(ETH_P_IP), NOT_IP);
}

/** Of fragments, the first as well, only addresses count: they are to stay together. */
static void
ip4(struct program *p)
{
	alu_imm(p, BPF_MOV, R2, ETH_HLEN);
	load_packet(p, IP4_AT, 20, NOT_IP);
	load(p, BPF_DW, R1, STACK, IP4_AT + 12);
	mix(p);
	load(p, BPF_H, R1, STACK, IP4_AT + 6);
	alu_imm(p, BPF_AND, R1, RTE_BE16(0x3fff)); /* more to come, or not the first */
	jump(p, BPF_JNE, R1, 0, SPREAD);
	load(p, BPF_B, PROTO, STACK, IP4_AT + 9);
	load(p, BPF_B, L4_OFFSET, STACK, IP4_AT);
	alu_imm(p, BPF_AND, L4_OFFSET, 15);
	alu_imm(p, BPF_LSH, L4_OFFSET, 2);
	alu_imm(p, BPF_ADD, L4_OFFSET, ETH_HLEN);
	jump(p, BPF_JA, 0, 0, L4);
}

/** What comes behind extension headers, fragments' among them, is not looked at. */
static void
ip6(struct program *p)
{
	label(p, IP6);
	alu_imm(p, BPF_MOV, R2, ETH_HLEN);
	load_packet(p, IP6_AT, 40, NOT_IP);
	for (int at = 8; at < 40; at += 8) {
		load(p, BPF_DW, R1, STACK, IP6_AT + at);
		mix(p);
	}
	load(p, BPF_B, PROTO, STACK, IP6_AT + 6);
	alu_imm(p, BPF_MOV, L4_OFFSET, ETH_HLEN + 40);
}

/** Makes the key of ESP, plain or in UDP; all others are spread. */
static void
l4(struct program *p)
{
	label(p, L4);
	jump(p, BPF_JEQ, PROTO, IPPROTO_ESP, PORTS);
	jump(p, BPF_JEQ, PROTO, IPPROTO_UDP, PORTS);
	jump(p, BPF_JEQ, PROTO, IPPROTO_TCP, PORTS);
	jump(p, BPF_JNE, PROTO, IPPROTO_SCTP, SPREAD);
	label(p, PORTS);
	alu(p, BPF_MOV, R2, L4_OFFSET);
	load_packet(p, WORD_AT, 4, SPREAD);
	load(p, BPF_W, R1, STACK, WORD_AT);
	mix(p);
	alu_imm(p, BPF_MOV, R1, 0);
	store(p, BPF_W, KEY_AT + (int)offsetof(struct gw_tap_key, dport), R1);
	jump(p, BPF_JNE, PROTO, IPPROTO_ESP, UDP);
	load(p, BPF_W, R1, STACK, WORD_AT);
	store(p, BPF_W, KEY_AT, R1);
	jump(p, BPF_JA, 0, 0, LOOK_UP);

	label(p, UDP);
	jump(p, BPF_JNE, PROTO, IPPROTO_UDP, SPREAD);
	load(p, BPF_H, R1, STACK, WORD_AT + 2);
	store(p, BPF_H, KEY_AT + (int)offsetof(struct gw_tap_key, dport), R1);
	alu(p, BPF_MOV, R2, L4_OFFSET);
	alu_imm(p, BPF_ADD, R2, 8);
	load_packet(p, KEY_AT, 4, SPREAD);
}

static void
choose(struct program *p, int map, unsigned int n_queues)
{
	label(p, LOOK_UP);
	load_const(p, R1, BPF_PSEUDO_MAP_FD, (uint32_t)map);
	alu(p, BPF_MOV, R2, STACK);
	alu_imm(p, BPF_ADD, R2, KEY_AT);
	call(p, BPF_FUNC_map_lookup_elem);
	jump(p, BPF_JEQ, R0, 0, SPREAD);
	load(p, BPF_W, R0, R0, 0);
	leave(p);

	label(p, SPREAD);
	alu(p, BPF_MOV, R0, HASH);
	alu_imm(p, BPF_RSH, R0, 32);
	alu_imm(p, BPF_MOD, R0, (int32_t)n_queues);
	leave(p);

	/* what the kernel may have found out already: 0 for ARP */
	label(p, NOT_IP);
	load(p, BPF_W, R0, SKB, offsetof(struct __sk_buff, hash));
	alu_imm(p, BPF_MOD, R0, (int32_t)n_queues);
	leave(p);
}

static void
resolve(struct program *p)
{
	for (unsigned int i = 0; i < p->n; i++)
		if (p->to[i] != NOWHERE)
			p->insn[i].off = (int16_t)(p->at[p->to[i]] - i - 1);
}

/** The result of the call, or -errno. */
static int
bpf(int cmd, union bpf_attr *attr)
{
	long rc = syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	return rc < 0 ? -errno : (int)rc;
}

int
gw_tap_program_load(int map, unsigned int n_queues)
{
	static const char license[] = "Dual BSD/GPL";
	struct program p = {.n = 0};
	union bpf_attr attr;
	int rc = -EAGAIN;

	ethernet(&p);
	ip4(&p);
	ip6(&p);
	l4(&p);
	choose(&p, map, n_queues);
	resolve(&p);
	if (p.n >= MAX_INSNS)
		return -E2BIG;
	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	attr.insns = (uintptr_t)p.insn;
	attr.insn_cnt = p.n;
	attr.license = (uintptr_t)license;
	strcpy(attr.prog_name, "gw_steer");
	/* a signal stops the verifier, and net_tap has one, SIGIO, for what it receives */
	for (unsigned int i = 0; i < MAX_TRIES; i++) {
		rc = bpf(BPF_PROG_LOAD, &attr);
		if (rc != -EAGAIN)
			break;
	}
	return rc;
}

int
gw_tap_map_create(void)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_type = BPF_MAP_TYPE_HASH;
	attr.key_size = sizeof(struct gw_tap_key);
	attr.value_size = sizeof(uint32_t);
	attr.max_entries = GW_TAP_MAP_SIZE;
	attr.map_flags = BPF_F_NO_PREALLOC; /* most gateways have few SAs */
	strcpy(attr.map_name, "gw_steer");
	return bpf(BPF_MAP_CREATE, &attr);
}

static int
update(int map, const struct gw_tap_key *key, uint32_t queue, uint64_t flags)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)map;
	attr.key = (uintptr_t)key;
	attr.value = (uintptr_t)&queue;
	attr.flags = flags;
	return bpf(BPF_MAP_UPDATE_ELEM, &attr);
}

int
gw_tap_map_add(int map, const struct gw_tap_key *key, uint32_t queue)
{
	int rc = update(map, key, queue, BPF_NOEXIST);

	return rc == -E2BIG ? -ENOSPC : rc;
}

int
gw_tap_map_change(int map, const struct gw_tap_key *key, uint32_t queue)
{
	return update(map, key, queue, BPF_EXIST);
}

void
gw_tap_map_del(int map, const struct gw_tap_key *key)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)map;
	attr.key = (uintptr_t)key;
	bpf(BPF_MAP_DELETE_ELEM, &attr);
}
