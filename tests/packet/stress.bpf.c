/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packets for the stress test of the flow table, made and judged in the kernel.
 *
 * A test run of `stress_xdp` goes through here once per packet, and gets what
 * the program under test left of the last one as its input.  It judges that,
 * makes the next packet of it, and calls the program under test by a tail call.
 * Two CPUs do so at once; in lockstep each waits, but not for ever, until the
 * other is at the same packet.
 *
 * Which flow a packet is of follows from a number alone: client, protocol,
 * service.  What is expected of it does, too, but for the server of a service
 * that has several: there the first one that was seen is the right one.
 */
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include "helpers.h"

#define FLOWS		65536
#define SERVICES	8
#define SERVERS		8
#define SCRIPT		16
#define PATIENCE	4000

enum kind { SYN, ACK, FIN, RST, REPLY = 4 /* or any of the above */ };

/* What user space asks for; each CPU has its own copy, and what is private to it behind. */
struct run {
	__u64	random;		/* state of the generator */
	__u32	flows;		/* their numbers are below */
	__u32	share;		/* so many flows in a row have one client address and port */
	__u32	udp;		/* so many of four flows are of UDP */
	__u32	burst;		/* packets of a flow in a row, by the script; 0: one, whichever of the script */
	__u32	length;		/* of the script */
	__u32	several;	/* services have several servers */
	__u32	lockstep;
	__u32	fresh;		/* not begun yet */
	__u32	cpu;		/* the first of the two; the other one has another order of flows if *apart* */
	__u32	apart;
	__u8	script[SCRIPT];
	__u32	v6;
	/* From here on the program's own. */
	__u32	flow;		/* of the last packet */
	__u32	kind;
	__u32	made;		/* there is a last packet */
	__u32	left;		/* of the burst */
	__u64	packets;
	__u32	server;		/* that the last packet, a reply, came from */
	__u32	pad;
};

/* What became of packets; per CPU. */
struct tally {
	__u64	forwarded;
	__u64	kept;		/* not forwarded: dropped, or left to the host */
	__u64	kept_syn;
	__u64	wrong_server;
	__u64	wrong_address;	/* MAC of one server, address of another, or not translated back */
	__u64	wrong_client;	/* a reply to another client's next hop */
	__u64	strange;	/* none of it */
	__u64	last;		/* number of the last flow with a fault, its kind above */
};

struct counts {
	__u64	in_pkts;
	__u64	out_pkts;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct run);
} run SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tally);
} tally SEC(".maps");

/* By family, protocol, service, server. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4 * SERVICES * SERVERS);
	__type(key, __u32);
	__type(value, struct counts);
} sent SEC(".maps");

/* By family and flow: its server's number, from 1 on. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * FLOWS);
	__type(key, __u32);
	__type(value, __u32);
} server_of SEC(".maps");

struct step {
	__u64	at;
	__u64	pad[15];
};

/* How far both CPUs are. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct step);
} steps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} stressed SEC(".maps");

struct frame4 {
	struct ethhdr eth;
	struct iphdr ip;
	__u8	l4[20];
} __attribute__((packed));

struct frame6 {
	struct ethhdr eth;
	struct ipv6hdr ip;
	__u8	l4[20];
} __attribute__((packed));

/* The flow of a number. */
struct who {
	__be32	client;		/* last word of the address */
	__be16	cport;
	__u8	group;		/* which next hop the client is behind */
	__u8	service;
	__u8	udp;
	__u8	nat;
};

static __always_inline struct who who_is(const struct run *r, __u32 n)
{
	__u32 share = r->share ? r->share : 1;
	__u32 end = n / share;
	struct who w;

	w.group = end >> 3 & 1;
	w.client = htonl(0x64400000 + ((__u32)w.group << 16) + (end & 7));
	w.cport = htons(1024 + (end >> 4));
	w.service = (end + n % share) & (SERVICES - 1);
	w.nat = !(w.service & 1);
	w.udp = (n >> 3 & 3) < r->udp;
	return w;
}

static __always_inline __u64 random(struct run *r)
{
	__u64 x = r->random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	r->random = x;
	return x >> 16;
}

static __always_inline void tally_fault(__u64 *what, struct tally *t, const struct run *r)
{
	(*what)++;
	t->last = (__u64)r->kind << 32 | r->flow;
}

static __always_inline void set_mac(__u8 *mac, __u8 fifth, __u8 sixth)
{
	mac[0] = 2;
	mac[1] = mac[2] = mac[3] = 0;
	mac[4] = fifth;
	mac[5] = sixth;
}

static __always_inline __u32 place_in_sent(const struct run *r, const struct who *w, __u32 server)
{
	return (((r->v6 & 1) * 2 + w->udp) * SERVICES + w->service) * SERVERS + ((server - 1) & (SERVERS - 1));
}

/* Judge a packet to a server: *mac* and *addr* are the last bytes of those it was sent to, *addr* 0 the virtual one. */
static __always_inline void judge_forward(struct run *r, struct tally *t, const struct who *w, __u8 mac, __u8 addr, __be16 port)
{
	__u32 key = (r->v6 & 1) * FLOWS + (r->flow & (FLOWS - 1)), want, at;
	__u32 *seen = bpf_map_lookup_elem(&server_of, &key);
	struct counts *c;

	if (!seen || !mac || mac > SERVERS) {
		tally_fault(&t->strange, t, r);
		return;
	}
	if (w->nat ? addr != mac || port != htons(8080 + w->service) : addr != 0 || port != htons(80 + w->service))
		tally_fault(&t->wrong_address, t, r);
	if (r->several) {
		want = __sync_val_compare_and_swap(seen, 0, mac);
		want = want ? want : mac;
	} else {
		want = w->service + 1;
		*seen = want;
	}
	if (mac != want)
		tally_fault(&t->wrong_server, t, r);
	at = place_in_sent(r, w, addr ? addr : mac);
	c = bpf_map_lookup_elem(&sent, &at);
	if (c)
		c->in_pkts++;
}

static __always_inline void judge_reply(struct run *r, struct tally *t, const struct who *w, __u8 mac, int is_virt, __be16 port)
{
	__u32 at = place_in_sent(r, w, r->server);
	struct counts *c = bpf_map_lookup_elem(&sent, &at);

	if (mac != 7 + w->group)
		tally_fault(&t->wrong_client, t, r);
	if (!is_virt || port != htons(80 + w->service))
		tally_fault(&t->wrong_address, t, r);
	if (c)
		c->out_pkts++;
}

/* Look at what became of the last packet. */
static __always_inline int judge(void *data, void *end, struct run *r, struct tally *t)
{
	struct ethhdr *eth = data;
	__u8 addr, from;
	int is_virt;
	__be16 *ports;
	struct who w;

	if (data + sizeof(struct frame4) > end)
		return 0;
	if (r->v6) {
		struct frame6 *f = data;

		if (data + sizeof(*f) > end)
			return 0;
		addr = f->ip.daddr.in6_u.u6_addr8[0] == 0xfd ? f->ip.daddr.in6_u.u6_addr8[15] : 0;
		is_virt = f->ip.saddr.in6_u.u6_addr8[0] == 0x20;
		ports = (void *)f->l4;
	} else {
		struct frame4 *f = data;

		addr = (f->ip.daddr & 0xff) == 10 ? f->ip.daddr >> 24 : 0;
		is_virt = (f->ip.saddr & 0xff) == 192;
		ports = (void *)f->l4;
	}
	if (!r->made)
		return 1;
	r->made = 0;
	w = who_is(r, r->flow);
	from = eth->h_dest[4];
	if (from == 0) {		/* still the director's */
		t->kept++;
		if (r->kind == SYN)
			t->kept_syn++;
		return 1;
	}
	t->forwarded++;
	if (r->kind & REPLY && from == 1)
		judge_reply(r, t, &w, eth->h_dest[5], is_virt, ports[0]);
	else if (!(r->kind & REPLY) && from == 2)
		judge_forward(r, t, &w, eth->h_dest[5], addr, ports[1]);
	else
		tally_fault(&t->strange, t, r);
	return 1;
}

static __always_inline __u8 flags_of(__u32 kind)
{
	switch (kind) {
	case SYN: return 0x02;
	case FIN: return 0x11;
	case RST: return 0x04;
	case SYN | REPLY: return 0x12;
	case FIN | REPLY: return 0x11;
	case RST | REPLY: return 0x14;
	}
	return 0x10;
}

static __always_inline void make_l4(__u8 *l4, const struct who *w, __u32 kind)
{
	__be16 *ports = (void *)l4;

	__builtin_memset(l4 + 4, 0, 16);
	if (kind & REPLY) {
		ports[0] = htons(8080 + w->service);
		ports[1] = w->cport;
	} else {
		ports[0] = w->cport;
		ports[1] = htons(80 + w->service);
	}
	if (w->udp) {
		ports[2] = htons(20);
		ports[3] = 0x1234;
	} else {
		l4[12] = 5 << 4;
		l4[13] = flags_of(kind);
		ports[8] = 0x1234;
	}
}

static __always_inline void make_v4(struct frame4 *f, const struct who *w, __u32 kind, __u32 server)
{
	__be32 virt = htonl(0xc0000201), real = htonl(0x0a000000 | server);

	f->eth.h_proto = htons(ETH_P_IP);
	__builtin_memset(&f->ip, 0, sizeof(f->ip));
	((__u8 *)&f->ip)[0] = 0x45;
	f->ip.tot_len = htons(40);
	f->ip.frag_off = htons(0x4000);
	f->ip.ttl = 64;
	f->ip.protocol = w->udp ? 17 : 6;
	f->ip.check = 0x1234;
	f->ip.saddr = kind & REPLY ? real : w->client;
	f->ip.daddr = kind & REPLY ? w->client : virt;
	make_l4(f->l4, w, kind);
}

static __always_inline void make_v6(struct frame6 *f, const struct who *w, __u32 kind, __u32 server)
{
	struct in6_addr client = {}, other = {};

	client.in6_u.u6_addr32[0] = htonl(0x20010db8);
	client.in6_u.u6_addr32[1] = htonl(0x000d0000 + ((__u32)w->group << 16));
	client.in6_u.u6_addr32[3] = w->client;
	if (kind & REPLY) {
		other.in6_u.u6_addr32[0] = htonl(0xfd000000);
		other.in6_u.u6_addr32[3] = htonl(server);
	} else {
		other.in6_u.u6_addr32[0] = htonl(0x20010db8);
		other.in6_u.u6_addr32[3] = htonl(1);
	}
	f->eth.h_proto = htons(ETH_P_IPV6);
	__builtin_memset(&f->ip, 0, sizeof(f->ip));
	((__u8 *)&f->ip)[0] = 0x60;
	f->ip.payload_len = htons(20);
	f->ip.nexthdr = w->udp ? 17 : 6;
	f->ip.hop_limit = 64;
	f->ip.saddr = kind & REPLY ? other : client;
	f->ip.daddr = kind & REPLY ? client : other;
	make_l4(f->l4, w, kind);
}

/* Choose the next packet. */
static __always_inline void choose_next(struct run *r)
{
	__u32 length = r->length ? r->length : 1, flows = r->flows ? r->flows : 1, at;

	if (!r->left) {
		r->flow = random(r) % flows;
		r->left = r->burst ? r->burst : 1;
	}
	at = r->burst ? (r->burst - r->left) % length : random(r) % length;
	r->left--;
	r->kind = r->script[at & (SCRIPT - 1)] & 7;
}

static __always_inline int make(void *data, void *end, struct run *r)
{
	__u32 key, *server;
	struct ethhdr *eth = data;
	struct who w;

	choose_next(r);
	w = who_is(r, r->flow);
	if (!w.nat)
		r->kind &= ~REPLY;
	key = (r->v6 & 1) * FLOWS + (r->flow & (FLOWS - 1));
	server = bpf_map_lookup_elem(&server_of, &key);
	if (!server || data + sizeof(struct frame4) > end)
		return 0;
	r->server = r->several ? *server : w.service + 1;
	if (!r->server)
		r->kind = SYN;
	if (r->v6) {
		if (data + sizeof(struct frame6) > end)
			return 0;
		make_v6(data, &w, r->kind, r->server);
	} else {
		make_v4(data, &w, r->kind, r->server);
	}
	set_mac(eth->h_dest, 0, 1);
	set_mac(eth->h_source, 1, 7);
	r->made = 1;
	return 1;
}

struct waiting {
	__u64	for_step;
	__u32	other;
};

static long wait_once(__u32 i, struct waiting *w)
{
	__u32 other = w->other & 1;
	struct step *step = bpf_map_lookup_elem(&steps, &other);

	(void)i;
	return !step || READ_ONCE(step->at) >= w->for_step;
}

/* Be where the other CPU is. */
static __always_inline void keep_step(struct run *r, __u32 me)
{
	struct waiting w = { .for_step = r->packets, .other = !me };
	struct step *step = bpf_map_lookup_elem(&steps, &me);

	if (step)
		__sync_lock_test_and_set(&step->at, r->packets);
	bpf_loop(PATIENCE, wait_once, &w, 0);
}

SEC("xdp") int stress_xdp(struct xdp_md *ctx)
{
	void *data, *end;
	__u32 zero = 0, me;
	struct run *r = bpf_map_lookup_elem(&run, &zero);
	struct tally *t = bpf_map_lookup_elem(&tally, &zero);

	asm volatile("%0 = *(u32 *)(%1 + 0)" : "=r"(data) : "r"(ctx));
	asm volatile("%0 = *(u32 *)(%1 + 4)" : "=r"(end) : "r"(ctx));
	if (!r || !t)
		return XDP_ABORTED;
	me = bpf_get_smp_processor_id() != r->cpu;
	if (r->fresh) {
		r->fresh = 0;
		if (r->apart && me)
			r->random ^= 0x9e3779b97f4a7c15ull;
	}
	if (!judge(data, end, r, t) || !make(data, end, r))
		return XDP_ABORTED;
	r->packets++;
	if (r->lockstep)
		keep_step(r, me);
	bpf_tail_call(ctx, &stressed, 0);
	return XDP_ABORTED;
}

/* Only judge the last one. */
SEC("xdp") int stress_end(struct xdp_md *ctx)
{
	void *data, *end;
	__u32 zero = 0;
	struct run *r = bpf_map_lookup_elem(&run, &zero);
	struct tally *t = bpf_map_lookup_elem(&tally, &zero);

	asm volatile("%0 = *(u32 *)(%1 + 0)" : "=r"(data) : "r"(ctx));
	asm volatile("%0 = *(u32 *)(%1 + 4)" : "=r"(end) : "r"(ctx));
	return r && t && judge(data, end, r, t) ? XDP_PASS : XDP_ABORTED;
}

char _license[] SEC("license") = "GPL";
