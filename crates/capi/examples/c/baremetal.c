/*
 * Two streams over a UART on a microcontroller without an operating system and without a heap: a
 * page, and the prices of a ticker. For QEMU's board mps2-an386, a Cortex-M4: UART 0 is the line to
 * the proxy, UART 1 is where it prints. ./baremetal-run builds and runs it.
 */
#include <libwebsockets.h>

/* The board. */

struct uart {
	volatile uint32_t data, state, control, interrupts, divider;
};
#define LINE ((struct uart *)0x40004000)
#define PRINT ((struct uart *)0x40005000)
#define TX_FULL 1u
#define RX_FULL 2u

#define SYSTICK ((volatile uint32_t *)0xe000e010) /* control, reload */
#define CLOCK_HZ 25000000u
#define TICK_US 1000

static volatile uint64_t ticks;

static void
tick(void)
{
	ticks++;
}

static void
uart_start(struct uart *uart, uint32_t baud)
{
	uart->divider = CLOCK_HZ / baud;
	uart->control = 3;
	/* QEMU gives nothing to read before the first look. */
	(void)uart->data;
}

static void
print_bytes(const char *text, size_t len)
{
	while (len--) {
		while (PRINT->state & TX_FULL)
			;
		PRINT->data = (uint8_t)*text++;
	}
}

static void
print(const char *text)
{
	print_bytes(text, strlen(text));
}

static void
print_number(uint32_t number, uint32_t base)
{
	char digits[12], *p = digits + sizeof(digits);

	do {
		*--p = "0123456789abcdef"[number % base];
		number /= base;
	} while (number);
	print_bytes(p, (size_t)(digits + sizeof(digits) - p));
}

/* The four functions. */

static lws_dll2_owner_t timers;

lws_usec_t
lws_now_usecs(void)
{
	uint64_t now;

	/* Two words, between which a tick may come. */
	do
		now = ticks;
	while (now != ticks);
	return (lws_usec_t)now * TICK_US;
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
	char tag[60], *p = tag;

	/* The library's lines have no arguments; this image has no others. */
	(void)level;
	(void)fun;
	(void)ap;
	tag[0] = '\0';
	if (prep && obj)
		prep(cx, obj, &p, tag + sizeof(tag));
	print(tag);
	print(format);
	print("\n");
}

/* The transport. */

static int want_write;

static void
req_write(lws_transport_priv_t priv)
{
	(void)priv;
	want_write = 1;
}

static const lws_transport_client_ops_t serial = { .name = "uart", .req_write = req_write };

static struct lws_context_standalone cx = {
	.txp_cpath.ops_onw = &lws_transport_mux_client_ops,
};

static lws_transport_info_t info = {
	.ping_interval_us	= 1000 * 1000,
	.pong_grace_us		= 1000 * 1000,
	.txp_cpath = {
		.ops_onw	= &serial,
		.ops_in		= &lws_transport_mux_client_ops,
	},
};

static uint64_t memory[2560 / 8];

/* The streams. */

LWS_SS_USER_TYPEDEF
	uint32_t		crc, bytes, count;
	char			text[48];
	size_t			len;
	lws_sorted_usec_list_t	again;
} app_t;

static lws_ss_state_return_t
page_rx(void *user, const uint8_t *buf, size_t len, int flags)
{
	app_t *page = user;
	size_t n;
	int bit;

	if (flags & LWSSS_FLAG_SOM)
		page->crc = page->bytes = 0;
	page->bytes += (uint32_t)len;
	page->crc = ~page->crc;
	for (n = 0; n < len; n++) {
		page->crc ^= buf[n];
		for (bit = 0; bit < 8; bit++)
			page->crc = page->crc >> 1 ^ (page->crc & 1 ? 0xedb88320 : 0);
	}
	page->crc = ~page->crc;
	return LWSSSSRET_OK;
}

static void
ask_again(lws_sorted_usec_list_t *sul)
{
	app_t *page = lws_container_of(sul, app_t, again);

	(void)lws_ss_client_connect(page->ss);
}

static lws_ss_state_return_t
page_state(void *user, void *h_src, lws_ss_constate_t state, lws_ss_tx_ordinal_t ack)
{
	app_t *page = user;

	(void)h_src;
	(void)ack;
	switch (state) {
	case LWSSSCS_CREATING:
		return lws_ss_client_connect(page->ss);
	case LWSSSCS_QOS_ACK_REMOTE:
		print("page of ");
		print_number(page->bytes, 10);
		print(" bytes, CRC-32 ");
		print_number(page->crc, 16);
		print("\n");
		break;
	case LWSSSCS_DISCONNECTED:
	case LWSSSCS_ALL_RETRIES_FAILED:
	case LWSSSCS_AUTH_FAILED:
		/* However it went, with a verdict or without. */
		lws_sul_schedule(lws_ss_cx_from_user(page), 0, &page->again, ask_again,
				 5 * LWS_US_PER_SEC);
		break;
	case LWSSSCS_DESTROYING:
		lws_sul_cancel(&page->again);
		break;
	default:
		break;
	}
	return LWSSSSRET_OK;
}

static lws_ss_state_return_t
ticker_rx(void *user, const uint8_t *buf, size_t len, int flags)
{
	app_t *ticker = user;

	/* A message may come in parts. */
	if (flags & LWSSS_FLAG_SOM)
		ticker->len = 0;
	if (len > sizeof(ticker->text) - ticker->len)
		len = sizeof(ticker->text) - ticker->len;
	memcpy(ticker->text + ticker->len, buf, len);
	ticker->len += len;
	if (flags & LWSSS_FLAG_EOM && ++ticker->count % 20 == 1) {
		print("price ");
		print_number(ticker->count, 10);
		print(" is ");
		print_bytes(ticker->text, ticker->len);
		print("\n");
	}
	return LWSSSSRET_OK;
}

static lws_ss_state_return_t
ticker_state(void *user, void *h_src, lws_ss_constate_t state, lws_ss_tx_ordinal_t ack)
{
	app_t *ticker = user;

	(void)h_src;
	(void)ack;
	print("ticker: ");
	print(lws_ss_state_name(state));
	print("\n");
	return state == LWSSSCS_CREATING ? lws_ss_client_connect(ticker->ss) : LWSSSSRET_OK;
}

static LWS_SS_INFO("page", app_t)
	.rx = page_rx,
	.state = page_state,
};

static void
run(void)
{
	uint8_t in[128], out[256];
	size_t n, len = 0, sent = 0;
	lws_ss_info_t ticker = ssi_app_t;
	lws_transport_mux_t *mux;

	cx.arena = sspc_arena_init(memory, sizeof(memory));
	mux = lws_transport_mux_create(&cx, &info, NULL);
	cx.txp_cpath.mux = mux;
	ticker.streamtype = "ticker";
	ticker.rx = ticker_rx;
	ticker.state = ticker_state;
	if (!mux || lws_ss_create(&cx, 0, &ssi_app_t, NULL, NULL, NULL, NULL) ||
	    lws_ss_create(&cx, 0, &ticker, NULL, NULL, NULL, NULL))
		return;
	print("of the arena's bytes are left: ");
	print_number((uint32_t)sspc_arena_left(cx.arena), 10);
	print("\n");

	for (;;) {
		for (n = 0; n < sizeof(in) && (LINE->state & RX_FULL); n++)
			in[n] = (uint8_t)LINE->data;
		if (n)
			info.txp_cpath.ops_in->event_read(mux, in, n);

		while (timers.head) {
			lws_sorted_usec_list_t *sul =
				lws_container_of(timers.head, lws_sorted_usec_list_t, list);

			if (sul->us > lws_now_usecs())
				break;
			lws_dll2_remove(&sul->list);
			sul->cb(sul);
		}

		if (sent == len && want_write) {
			want_write = 0;
			sent = 0;
			len = sizeof(out);
			if (!lws_transport_mux_pending(mux, out, &len, NULL))
				len = 0;
		}
		while (sent < len && !(LINE->state & TX_FULL))
			LINE->data = out[sent++];
	}
}

/* What a C runtime would do. */

extern uint32_t data_start[], data_end[], data_load[], bss_start[], bss_end[], stack_top[];

static void
start(void)
{
	uint32_t *to, *from = data_load;

	for (to = data_start; to < data_end; to++)
		*to = *from++;
	for (to = bss_start; to < bss_end; to++)
		*to = 0;
	uart_start(LINE, 921600);
	uart_start(PRINT, 921600);
	SYSTICK[1] = CLOCK_HZ / (1000000 / TICK_US) - 1;
	SYSTICK[0] = 7;
	run();
	print("no memory\n");
	for (;;)
		;
}

static void
fault(void)
{
	print("fault\n");
	for (;;)
		;
}

__attribute__((section(".vectors"), used)) static const struct {
	uint32_t *stack;
	void (*handlers[15])(void);
} vectors = {
	stack_top,
	{
		start, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault,
		fault, fault, tick,
	},
};
