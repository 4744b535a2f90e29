/*
 * A page through a proxy at the other end of a serial port, on a plain poll() loop:
 *
 *     posix DEVICE STREAMTYPE
 *
 * connects a stream, prints what comes, and ends when it was acknowledged or has failed. All that a
 * firmware has to bring is here: the four functions, a transport, and the loop.
 *
 *     cc -I include posix.c lib/libsspc.a -o posix
 */
#define _POSIX_C_SOURCE 200809L /* for compilers that are told to be strict, as with -std=c99 */
#include <libwebsockets.h>
#include <termios.h>

static lws_dll2_owner_t timers;
static int port, want_write, result = -1;

/* The four functions. */

lws_usec_t
lws_now_usecs(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * LWS_US_PER_SEC + t.tv_nsec / LWS_NS_PER_US;
}

static int
earlier(const lws_dll2_t *a, const lws_dll2_t *b)
{
	lws_usec_t x = lws_container_of(a, lws_sorted_usec_list_t, list)->us;
	lws_usec_t y = lws_container_of(b, lws_sorted_usec_list_t, list)->us;

	return x < y ? -1 : x > y;
}

void
lws_sul_schedule(struct lws_context_standalone *cx, int tsi, lws_sorted_usec_list_t *sul,
		 sul_cb_t cb, lws_usec_t us)
{
	(void)cx;
	(void)tsi;
	lws_dll2_remove(&sul->list);
	sul->us = lws_now_usecs() + us;
	sul->cb = cb;
	lws_dll2_add_sorted(&sul->list, &timers, earlier);
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
	char line[200], *p = line;

	(void)fun;
	if (!(level & (LLL_ERR | LLL_WARN | LLL_USER)))
		return;
	if (prep && obj)
		prep(cx, obj, &p, line + sizeof(line));
	vsnprintf(p, (size_t)(line + sizeof(line) - p), format, ap);
	fprintf(stderr, "%s\n", line);
}

/* The transport: the mux calls these, the loop below does the rest. */

static void
req_write(lws_transport_priv_t priv)
{
	(void)priv;
	want_write = 1;
}

static const lws_transport_client_ops_t serial = { .name = "serial", .req_write = req_write };

static struct lws_context_standalone cx = {
	.txp_cpath.ops_onw = &lws_transport_mux_client_ops,
};

static lws_transport_info_t info = {
	.ping_interval_us	= 10 * 1000 * 1000,
	.pong_grace_us		= 2 * 1000 * 1000,
	.txp_cpath = {
		.ops_onw	= &serial,
		.ops_in		= &lws_transport_mux_client_ops,
	},
};

static int
open_port(const char *device)
{
	struct termios tio;
	int fd = open(device, O_RDWR | O_NOCTTY | O_NONBLOCK);

	if (fd < 0 || tcgetattr(fd, &tio))
		return -1;
	/* 8N1, raw, no flow control. */
	tio.c_iflag = tio.c_oflag = tio.c_lflag = 0;
	tio.c_cflag = CS8 | CREAD | CLOCAL;
	if (cfsetispeed(&tio, B115200) || cfsetospeed(&tio, B115200))
		return -1;
	return tcsetattr(fd, TCSANOW, &tio) ? -1 : fd;
}

/* The stream. */

LWS_SS_USER_TYPEDEF
	size_t	bytes;
} page_t;

static lws_ss_state_return_t
page_rx(void *user, const uint8_t *buf, size_t len, int flags)
{
	page_t *page = user;

	(void)flags;
	page->bytes += len;
	fwrite(buf, 1, len, stdout);
	return LWSSSSRET_OK;
}

static lws_ss_state_return_t
page_state(void *user, void *h_src, lws_ss_constate_t state, lws_ss_tx_ordinal_t ack)
{
	page_t *page = user;

	(void)h_src;
	(void)ack;
	fprintf(stderr, "%s %s\n", lws_ss_tag(page->ss), lws_ss_state_name(state));
	switch (state) {
	case LWSSSCS_CREATING:
		return lws_ss_client_connect(page->ss);
	case LWSSSCS_QOS_ACK_REMOTE:
		fprintf(stderr, "%zu bytes\n", page->bytes);
		result = 0;
		break;
	case LWSSSCS_QOS_NACK_REMOTE:
	case LWSSSCS_ALL_RETRIES_FAILED:
	case LWSSSCS_AUTH_FAILED:
	case LWSSSCS_DISCONNECTED:
		/* It also follows a verdict. */
		if (result < 0)
			result = 1;
		break;
	default:
		break;
	}
	return LWSSSSRET_OK;
}

/* How long poll() may wait: until the first timer is due. */
static int
wait_ms(void)
{
	lws_usec_t us;

	if (!timers.head)
		return -1;
	us = lws_container_of(timers.head, lws_sorted_usec_list_t, list)->us - lws_now_usecs();
	return us > 0 ? (int)(us / LWS_US_PER_MS) + 1 : 0;
}

/* A call failed, but another one may succeed: nothing is wrong with the port. */
static int
is_for_now(void)
{
	return errno == EAGAIN || errno == EINTR;
}

int
main(int argc, const char **argv)
{
	uint8_t in[1024], out[1500];
	size_t sent = 0, len = 0;
	int end;
	struct lws_ss_handle *h;
	lws_transport_mux_t *mux;
	lws_ss_info_t page = {
		.handle_offset			= offsetof(page_t, ss),
		.opaque_user_data_offset	= offsetof(page_t, opaque_data),
		.user_alloc			= sizeof(page_t),
		.rx				= page_rx,
		.state				= page_state,
	};

	if (argc != 3) {
		fprintf(stderr, "usage: %s DEVICE STREAMTYPE\n", argv[0]);
		return 2;
	}
	port = open_port(argv[1]);
	if (port < 0) {
		perror(argv[1]);
		return 2;
	}
	page.streamtype = argv[2];
	mux = lws_transport_mux_create(&cx, &info, NULL);
	cx.txp_cpath.mux = mux;
#ifdef PACKETS
	/* For a line that loses bytes; the library is built with --features arq. */
	static uint8_t packet[512 + 6], unacknowledged[1024];

	if (mux && sspc_mux_packets(mux, packet, sizeof(packet), unacknowledged,
				    sizeof(unacknowledged), 1))
		return 2;
#endif
	if (!mux || lws_ss_create(&cx, 0, &page, NULL, &h, NULL, NULL))
		return 2;

	while (result < 0) {
		struct pollfd pfd = { .fd = port, .events = POLLIN };
		ssize_t n;

		/* The next bytes are asked for when the last ones are gone, no sooner. */
		if (sent == len && want_write) {
			want_write = 0;
			sent = 0;
			len = sizeof(out);
			if (!lws_transport_mux_pending(mux, out, &len, NULL))
				len = 0;
		}
		if (sent < len)
			pfd.events |= POLLOUT;
		if (poll(&pfd, 1, want_write && sent == len ? 0 : wait_ms()) < 0) {
			if (!is_for_now())
				break;
			pfd.revents = 0;
		}

		if (pfd.revents & POLLIN) {
			n = read(port, in, sizeof(in));
			if (n > 0)
				info.txp_cpath.ops_in->event_read(mux, in, (size_t)n);
			else if (!n || !is_for_now())
				pfd.revents = POLLHUP;
		}
		if (pfd.revents & POLLOUT) {
			n = write(port, out + sent, len - sent);
			if (n > 0)
				sent += (size_t)n;
			else if (!is_for_now())
				pfd.revents = POLLHUP;
		}
		/* Not before all that came is read. */
		if (!(pfd.revents & POLLIN) && (pfd.revents & (POLLERR | POLLHUP))) {
			fprintf(stderr, "%s is gone\n", argv[1]);
			break;
		}
		while (timers.head) {
			lws_sorted_usec_list_t *sul =
				lws_container_of(timers.head, lws_sorted_usec_list_t, list);

			if (sul->us > lws_now_usecs())
				break;
			lws_dll2_remove(&sul->list);
			sul->cb(sul);
		}
	}
	end = result < 0 ? 2 : result;
	lws_ss_destroy(&h);
	lws_transport_mux_destroy(&mux);
	return end;
}
