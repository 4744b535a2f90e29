/* Streams whose transport is the application's own, a link for each, without the mux. */
#include "tests.h"

static struct {
	struct lws_sspc_handle	*h;
	int			mode;	/* how a link is opened: 0 fails, 1 at once, 2 later */
	int			opened, closed, wants, fails;
	uint8_t			out[4096];
	size_t			len;
} d;

static int
retry_connect(lws_txp_path_client_t *path, struct lws_sspc_handle *h)
{
	d.h = h;
	d.opened++;
	if (!d.mode)
		return 1;
	path->priv_onw = &d;
	CHECK(path->ops_in == &lws_txp_inside_sspc && path->priv_in == h);
	if (d.mode == 1)
		path->ops_in->event_connect_disposition(h, 0);
	return 0;
}

static void
wants_write(lws_transport_priv_t priv)
{
	CHECK(priv == &d);
	d.wants = 1;
}

static int
writes(lws_transport_priv_t priv, uint8_t *buf, size_t len)
{
	CHECK(priv == &d && d.len + len <= sizeof(d.out));
	memset(buf - LWS_PRE, 0, LWS_PRE);
	memcpy(d.out + d.len, buf, len);
	d.len += len;
	return d.fails;
}

static void
closes(lws_transport_priv_t priv)
{
	CHECK(priv == &d);
	d.closed++;
}

static const lws_transport_client_ops_t ops = {
	.name = "direct",
	.event_retry_connect = retry_connect,
	.req_write = wants_write,
	._write = writes,
	._close = closes,
};

static void
run(lws_usec_t us)
{
	lws_usec_t at;

	for (at = 0; at <= us; at += 10 * MS) {
		rig_run(at ? 10 * MS : 0);
		while (d.wants) {
			d.wants = 0;
			lws_txp_inside_sspc.event_can_write(d.h, 2048);
		}
	}
}

static void
comes(const void *bytes, size_t len)
{
	CHECK(lws_txp_inside_sspc.event_read(d.h, bytes, len) == LWSSSSRET_OK);
}

#define CREATE "\x56\0\5\0\0\0\0\0\x57\0\5\1\0\0\0\0"
#define CONNECT "\x57\0\5\6\0\0\0\0\x57\0\5\5\0\0\0\0"

void
direct_transport(void)
{
	app_t *a;

	rig_start(PEER_SILENT);
	lws_transport_mux_destroy(&rig.mux);
	rig.cx.txp_cpath.ops_onw = &ops;
	memset(&d, 0, sizeof(d));

	/* It cannot be opened; then it can. */
	a = app("direct");
	run(SECOND);
	CHECK(d.opened > 1);
	CHECK(!strncmp(a->told.at, "LINK_RETRY LINK_RETRY ", 22));
	told(a);
	d.mode = 1;
	run(3 * SECOND);
	CHECK(d.len == 12 + 6 && !memcmp(d.out, "\xaa\0\x0f\1", 4));
	d.len = 0;
	comes(CREATE, 16);
	CHECK_TEXT(told(a), "CREATING ");
	a->send = "payload";
	a->send_len = 7;
	CHECK(lws_ss_request_tx(a->ss) == LWSSSSRET_OK);
	run(MS);
	CHECK(d.len == 3 && d.out[0] == 0xab);
	d.len = 0;
	comes(CONNECT, 16);
	run(MS);
	CHECK(d.len == 19 + 7 && !memcmp(d.out + 19, "payload", 7));
	CHECK_TEXT(told(a), "CONNECTING CONNECTED ");

	/* The link is lost, and comes back later than at once. */
	d.mode = 2;
	d.len = 0;
	lws_txp_inside_sspc.event_closed(d.h);
	CHECK_TEXT(told(a), "DISCONNECTED LINK_RETRY ");
	run(3 * SECOND);
	CHECK(!d.len);
	lws_txp_inside_sspc.event_connect_disposition(d.h, 0);
	run(MS);
	CHECK(d.len == 18);
	comes(CREATE, 16);

	/* It does not take what is written. */
	d.fails = 1;
	CHECK(lws_ss_client_connect(a->ss) == LWSSSSRET_OK && d.wants);
	CHECK(lws_txp_inside_sspc.event_can_write(d.h, 2048) == LWSSSSRET_DISCONNECT_ME);
	d.fails = d.wants = 0;
	lws_txp_inside_sspc.event_closed(d.h);

	/* What comes has no sense, or comes not at all: the stream closes the link. */
	d.mode = 1;
	run(10 * SECOND);
	CHECK(d.closed > 0);
	for (d.len = 0; !d.len;)
		run(10 * MS);
	d.closed = 0;
	comes("nonsense", 8);
	CHECK(d.closed == 1);
	run(30 * SECOND);
	d.closed = 0;
	lws_ss_destroy(&a->ss);
	CHECK(d.closed <= 1 && ended == 1);
	rig_stop();
}
