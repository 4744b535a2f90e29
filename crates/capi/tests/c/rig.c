#include "rig.h"

struct rig rig;
int with_arena, ended;
size_t arena_bytes = 256 * 1024;
struct text last_words;
static uint64_t arena_memory[32 * 1024];
static size_t arena_empty;

void
rig_fail(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: not so: %s (chunk %zu, room %zu, %s)\n%s", file, line, what,
		rig.chunk, rig.room, with_arena ? "arena" : "malloc", rig.log.at);
	exit(1);
}

void
rig_check_text(const char *file, int line, const char *have, const char *want)
{
	if (!strcmp(have, want))
		return;
	fprintf(stderr, "%s:%d: have: %s\n%s:%d: want: %s\n", file, line, have, file, line, want);
	rig_fail(file, line, "have what is wanted");
}

void
text_add(struct text *t, const char *format, ...)
{
	size_t left = sizeof(t->at) - t->len;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(t->at + t->len, left, format, ap);
	va_end(ap);
	t->len += (size_t)n < left ? (size_t)n : left - 1;
}

/* The four functions that a firmware gives. */

lws_usec_t
lws_now_usecs(void)
{
	return rig.now;
}

static int
compare(const lws_dll2_t *a, const lws_dll2_t *b)
{
	lws_usec_t x = lws_container_of(a, lws_sorted_usec_list_t, list)->us;
	lws_usec_t y = lws_container_of(b, lws_sorted_usec_list_t, list)->us;

	return x < y ? -1 : x > y;
}

void
lws_sul_schedule(struct lws_context_standalone *cx, int tsi, lws_sorted_usec_list_t *sul,
		 sul_cb_t cb, lws_usec_t us)
{
	CHECK(cx == &rig.cx && !tsi && us >= 0);
	lws_dll2_remove(&sul->list);
	sul->us = rig.now + us;
	sul->cb = cb;
	lws_dll2_add_sorted(&sul->list, &rig.timers, compare);
}

void
lws_sul_cancel(lws_sorted_usec_list_t *sul)
{
	lws_dll2_remove(&sul->list);
}

void
__lws_logv(lws_log_cx_t *cx, lws_log_prepend_cx_t prep, void *obj, int level, const char *fun,
	   const char *format, va_list ap)
{
	char line[200], *p = line, *end = line + sizeof(line);

	(void)cx;
	(void)fun;
	line[0] = '\0';
	if (prep && obj)
		prep(cx, obj, &p, end);
	vsnprintf(p, (size_t)(end - p), format, ap);
	text_add(&rig.log, "%s%s\n", level & LLL_ERR ? "E: " : "", line);
}

/* The line, as a transport. */

static void
req_write(lws_transport_priv_t priv)
{
	(void)priv;
	rig.want_write = 1;
}

static int
ch_opens(lws_transport_mux_ch_t *ch, int determination)
{
	return lws_txp_inside_sspc.event_connect_disposition(ch->priv, determination);
}

static int
can_write(lws_transport_mux_ch_t *ch)
{
	return lws_txp_inside_sspc.event_can_write(ch->priv, 2048);
}

static void
mux_req_write(lws_transport_mux_t *mux)
{
	mux->info.txp_cpath.ops_onw->req_write(mux->info.txp_cpath.priv_onw);
}

static const lws_txp_mux_parse_cbs_t cbs = {
	.ch_opens = ch_opens,
	.txp_req_write = mux_req_write,
	.txp_can_write = can_write,
};

static const lws_transport_client_ops_t line_ops = { .name = "line", .req_write = req_write };

/* The proxy. */

void
peer_line(const void *bytes, size_t len)
{
	CHECK(rig.to_device_len + len <= sizeof(rig.to_device));
	memcpy(rig.to_device + rig.to_device_len, bytes, len);
	rig.to_device_len += len;
}

void
peer_send(uint8_t channel, const void *frame, size_t len)
{
	uint8_t head[] = { 0xf5, channel, (uint8_t)(len >> 8), (uint8_t)len };

	peer_line(head, sizeof(head));
	peer_line(frame, len);
}

void
peer_state(uint8_t channel, uint8_t state)
{
	uint8_t frame[] = { 0x57, 0, 5, state, 0, 0, 0, 0 };

	peer_send(channel, frame, sizeof(frame));
}

void
peer_payload(uint8_t channel, uint32_t flags, const void *payload, size_t len)
{
	uint8_t frame[4000] = { 0x55, (uint8_t)((len + 16) >> 8), (uint8_t)(len + 16), 0, 0,
				(uint8_t)(flags >> 8), (uint8_t)flags };

	memcpy(frame + 19, payload, len);
	peer_send(channel, frame, 19 + len);
}

void
peer_metadata(uint8_t channel, const char *name, const char *value)
{
	uint8_t frame[4000] = { 0x59 };
	size_t rest = 1 + strlen(name) + strlen(value);

	frame[1] = (uint8_t)(rest >> 8);
	frame[2] = (uint8_t)rest;
	frame[3] = (uint8_t)strlen(name);
	memcpy(frame + 4, name, strlen(name));
	memcpy(frame + 4 + strlen(name), value, strlen(value));
	peer_send(channel, frame, 3 + rest);
}

const char *
peer_heard(void)
{
	static struct text copy;

	copy = rig.heard;
	rig.heard.len = 0;
	rig.heard.at[0] = '\0';
	return copy.at;
}

static uint32_t
u32(const uint8_t *at)
{
	return LWS_FOURCC(at[0], at[1], at[2], at[3]);
}

static void
peer_created(uint8_t index, struct channel *c)
{
	uint8_t frame[200] = { 0x56, 0, 5 };
	size_t list = rig.list ? strlen(rig.list) : 0;

	if (rig.peer & PEER_NO_CREATE)
		return;
	frame[3] = (rig.peer & PEER_REFUSES) && !strcmp(c->streamtype, "unknown");
	frame[2] = (uint8_t)(5 + list);
	if (list)
		memcpy(frame + 8, rig.list, list);
	peer_send(index, frame, 8 + list);
	if (rig.peer & PEER_CREDITS)
		peer_send(index, "\x58\0\4\0\0\0\x40", 7);
	if (!frame[3])
		peer_state(index, LWSSSCS_CREATING);
}

static void
peer_frame(uint8_t index, struct channel *c, const uint8_t *f, size_t len)
{
	switch (f[0]) {
	case 0xaa:
		CHECK(f[3] == 1);
		c->credit = u32(f + 8);
		CHECK(len - 12 < sizeof(c->streamtype));
		memcpy(c->streamtype, f + 12, len - 12);
		c->streamtype[len - 12] = '\0';
		text_add(&rig.heard, "streamtype %s ", c->streamtype);
		peer_created(index, c);
		break;
	case 0xab:
		text_add(&rig.heard, "connect ");
		if (rig.peer & PEER_CONNECTS) {
			peer_state(index, LWSSSCS_CONNECTING);
			peer_state(index, LWSSSCS_CONNECTED);
		}
		break;
	case 0xac:
		text_add(&rig.heard, "destroying ");
		break;
	case 0xad:
		text_add(&rig.heard, "tx%s%s ", f[6] & 1 ? "+SOM" : "", f[6] & 2 ? "+EOM" : "");
		text_add(&c->payload, "%.*s", (int)(len - 19), f + 19);
		break;
	case 0xae:
		text_add(&rig.heard, "%.*s=%.*s ", f[3], f + 4,
			 len < 100 ? (int)(len - 4 - f[3]) : 5, f + 4 + f[3]);
		break;
	case 0xaf:
		text_add(&rig.heard, "credit %u ", u32(f + 3));
		break;
	case 0xb0:
		text_add(&rig.heard, "timeout %d ", (int)u32(f + 3));
		break;
	case 0xb1:
		text_add(&rig.heard, "hint %u ", u32(f + 3));
		break;
	default:
		rig_fail(__FILE__, __LINE__, "the device sends valid frames");
	}
}

static void
peer_data(uint8_t index, const uint8_t *data, size_t len)
{
	struct channel *c = &rig.channels[index];

	CHECK(c->open && c->in_len + len <= sizeof(c->in));
	memcpy(c->in + c->in_len, data, len);
	c->in_len += len;
	while (c->in_len >= 3) {
		size_t frame = 3 + ((size_t)c->in[1] << 8 | c->in[2]);

		if (c->in_len < frame)
			return;
		peer_frame(index, c, c->in, frame);
		c->in_len -= frame;
		memmove(c->in, c->in + frame, c->in_len);
	}
}

static void
peer_channel(uint8_t what, uint8_t index)
{
	uint8_t answer[2] = { 0, index };

	if (what == 0xf0) {
		answer[0] = rig.peer & PEER_NACKS ? 0xf2 : 0xf1;
		text_add(&rig.heard, "open ");
		if (rig.peer & PEER_NO_ACK)
			return;
		memset(&rig.channels[index], 0, sizeof(rig.channels[index]));
		rig.channels[index].open = answer[0] == 0xf1;
		rig.last = index;
	} else if (what == 0xf3) {
		answer[0] = 0xf4;
		rig.channels[index].open = 0;
		text_add(&rig.heard, "close ");
	} else {
		if (what == 0xf2)
			text_add(&rig.heard, "nack ");
		return;
	}
	peer_line(answer, sizeof(answer));
}

/* Takes one mux frame; how long it is, 0 if it is not whole. */
static size_t
peer_take(const uint8_t *f, size_t len)
{
	uint8_t pong[17] = { 0xf7 };
	size_t body;

	switch (f[0]) {
	case 0xf9:
		memset(rig.channels, 0, sizeof(rig.channels));
		return 1;
	case 0xf6:
		if (len < 9)
			return 0;
		memcpy(pong + 1, f + 1, 8);
		peer_line(pong, sizeof(pong));
		return 9;
	case 0xf7:
		if (len < 17)
			return 0;
		peer_line("\xf8\0\5\x9c\x5d\x7d\x40\x01\x02", 9);
		return 17;
	case 0xf8:
		return len < 9 ? 0 : 9;
	case 0xf5:
		if (len < 4)
			return 0;
		body = (size_t)f[2] << 8 | f[3];
		if (len < 4 + body)
			return 0;
		peer_data(f[1], f + 4, body);
		return 4 + body;
	default:
		CHECK(f[0] >= 0xf0 && f[0] <= 0xf4);
		if (len < 2)
			return 0;
		peer_channel(f[0], f[1]);
		return 2;
	}
}

static void
peer_hear(const uint8_t *bytes, size_t len)
{
	size_t taken;

	if (rig.peer & PEER_SILENT)
		return;
	CHECK(rig.from_device_len + len <= sizeof(rig.from_device));
	memcpy(rig.from_device + rig.from_device_len, bytes, len);
	rig.from_device_len += len;
	while (rig.from_device_len && (taken = peer_take(rig.from_device, rig.from_device_len))) {
		rig.from_device_len -= taken;
		memmove(rig.from_device, rig.from_device + taken, rig.from_device_len);
	}
}

/* The device's event loop. */

static int
rig_step(void)
{
	uint8_t buf[2048];
	size_t len = rig.room;
	int did = 0;

	if (rig.mux && rig.to_device_at < rig.to_device_len) {
		/* Its own copy of just these bytes, so that a tool sees what is read outside. */
		size_t left = rig.to_device_len - rig.to_device_at;
		size_t n = left < rig.chunk ? left : rig.chunk;
		uint8_t *copy = malloc(n);

		memcpy(copy, rig.to_device + rig.to_device_at, n);
		rig.to_device_at += n;
		if (rig.to_device_at == rig.to_device_len)
			rig.to_device_at = rig.to_device_len = 0;
		CHECK(!rig.mux->info.txp_cpath.ops_in->event_read(rig.mux->info.txp_cpath.priv_in,
								   copy, n));
		free(copy);
		did = 1;
	}
	if (rig.mux && rig.want_write) {
		rig.want_write = 0;
		if (lws_transport_mux_pending(rig.mux, buf, &len, &cbs)) {
			CHECK(len && len <= rig.room);
			rig.writes++;
			peer_hear(buf, len);
		}
		did = 1;
	}
	if (rig.timers.head) {
		lws_sorted_usec_list_t *sul =
			lws_container_of(rig.timers.head, lws_sorted_usec_list_t, list);

		if (sul->us <= rig.now) {
			lws_dll2_remove(&sul->list);
			sul->cb(sul);
			did = 1;
		}
	}
	return did;
}

void
rig_run(lws_usec_t us)
{
	lws_usec_t until = rig.now + us;
	long steps = 0;

	for (;;) {
		while (rig_step())
			CHECK(++steps < 2000000);
		if (!rig.timers.head ||
		    lws_container_of(rig.timers.head, lws_sorted_usec_list_t, list)->us > until)
			break;
		rig.now = lws_container_of(rig.timers.head, lws_sorted_usec_list_t, list)->us;
	}
	rig.now = until;
}

void
rig_start(int peer)
{
	static lws_transport_info_t info = {
		.ping_interval_us = 10 * SECOND,
		.pong_grace_us = 2 * SECOND,
		.txp_cpath = {
			.ops_onw = &line_ops,
			.ops_in = &lws_transport_mux_client_ops,
		},
	};
	size_t chunk = rig.chunk, room = rig.room;

	memset(&rig, 0, sizeof(rig));
	rig.chunk = chunk;
	rig.room = room;
	rig.peer = peer;
	rig.now = 77 * SECOND;
	ended = 0;
	memset(&last_words, 0, sizeof(last_words));
	if (with_arena) {
		rig.cx.arena = sspc_arena_init(arena_memory, arena_bytes);
		CHECK(rig.cx.arena);
		arena_empty = sspc_arena_left(rig.cx.arena);
	}
	rig.cx.txp_cpath.ops_onw = &lws_transport_mux_client_ops;
	rig.mux = lws_transport_mux_create(&rig.cx, &info, NULL);
	CHECK(rig.mux && rig.mux->link_state == LWSTM_TRANSPORT_DOWN);
	rig.mux->info.txp_cpath.priv_in = rig.mux;
	rig.cx.txp_cpath.mux = rig.mux;
	rig_run(10 * MS);
	CHECK(rig.mux->link_state == !(peer & PEER_SILENT));
}

void
rig_stop(void)
{
	if (rig.mux)
		lws_transport_mux_destroy(&rig.mux);
	CHECK(!rig.mux && !rig.cx.ss_client_owner.head && !rig.timers.head);
	if (with_arena)
		CHECK(sspc_arena_left(rig.cx.arena) == arena_empty);
}

/* The streams. */

static lws_ss_state_return_t
app_rx(void *user, const uint8_t *buf, size_t len, int flags)
{
	app_t *a = user;

	CHECK(len <= 1380);
	if (flags & LWSSS_FLAG_SOM)
		a->body.len = 0;
	a->bytes += len;
	text_add(&a->body, "%.*s", (int)len, buf);
	if (flags & LWSSS_FLAG_EOM) {
		a->messages++;
		text_add(&a->told, "rx%s:%.12s%s ", flags & LWSSS_FLAG_PERF_JSON ? "-perf" : "",
			 a->body.at, a->body.len > 12 ? ".." : "");
	}
	return a->on_rx && flags & LWSSS_FLAG_EOM ? a->on_rx(user) : LWSSSSRET_OK;
}

static lws_ss_state_return_t
app_tx(void *user, lws_ss_tx_ordinal_t ord, uint8_t *buf, size_t *len, int *flags)
{
	app_t *a = user;
	size_t n = *len;

	(void)ord;
	memset(buf, 'x', n);
	if (a->on_tx) {
		lws_ss_state_return_t result = a->on_tx(user);

		if (result)
			return result;
	}
	if (!a->send)
		return LWSSSSRET_TX_DONT_SEND;
	if (a->piece && n > a->piece)
		n = a->piece;
	if (n > a->send_len)
		n = a->send_len;
	memcpy(buf, a->send, n);
	*flags = a->messages ? 0 : LWSSS_FLAG_SOM;
	a->messages = 1;
	a->send += n;
	a->send_len -= n;
	*len = n;
	if (a->send_len)
		return lws_ss_request_tx(a->ss);
	*flags |= LWSSS_FLAG_EOM;
	a->send = NULL;
	return LWSSSSRET_OK;
}

static lws_ss_state_return_t
app_state(void *user, void *h_src, lws_ss_constate_t state, lws_ss_tx_ordinal_t ack)
{
	app_t *a = user;

	CHECK(!h_src && lws_ss_to_user_object(a->ss) == user);
	CHECK(lws_ss_cx_from_user(a) == &rig.cx);
	if (state == LWSSSCS_UPSTREAM_LINK_RETRY)
		text_add(&a->told, "LINK_RETRY ");
	else if ((int)state >= LWSSSCS_USER_BASE)
		text_add(&a->told, "USER(%d,%u) ", (int)state, (unsigned int)ack);
	else
		text_add(&a->told, "%s ", lws_ss_state_name(state) + strlen("LWSSSCS_"));
	if (state == LWSSSCS_DESTROYING) {
		ended++;
		last_words = a->told;
	}
	if (a->act && (int)state == a->on_state)
		return a->act(user);
	return LWSSSSRET_OK;
}

LWS_SS_INFO("app", app_t)
	.rx = app_rx,
	.tx = app_tx,
	.state = app_state,
};

app_t *
app(const char *streamtype)
{
	char name[40];
	lws_ss_info_t ssi = ssi_app_t;
	struct lws_ss_handle *h = NULL;
	int opaque;
	app_t *a;

	/* Neither the info nor the name is kept. */
	snprintf(name, sizeof(name), "%s", streamtype);
	ssi.streamtype = name;
	CHECK(!lws_ss_create(&rig.cx, 0, &ssi, &opaque, &h, NULL, NULL));
	memset(name, 'z', sizeof(name));
	a = lws_ss_to_user_object(h);
	CHECK(a->ss == h && lws_ss_opaque_from_user(a) == &opaque);
	return a;
}

app_t *
app_with(const char *streamtype, int on_state, lws_ss_state_return_t (*act)(void *user))
{
	app_t *a = app(streamtype);

	a->on_state = on_state;
	a->act = act;
	return a;
}

const char *
told(app_t *a)
{
	static struct text copy;

	copy = a->told;
	a->told.len = 0;
	a->told.at[0] = '\0';
	return copy.at;
}
