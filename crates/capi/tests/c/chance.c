/*
 * Streams, callbacks and a proxy that all do what chance says: whatever comes in which order, the
 * tools find nothing, and in the end the link is up again and everything freed.
 */
#include "tests.h"

#define STREAMS 5

LWS_SS_USER_TYPEDEF
	char	filler[27];
} mad_t;

static struct lws_ss_handle *streams[STREAMS];
static uint32_t seed;
static int calm;

static uint32_t
random_below(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed % n;
}

static lws_ss_state_return_t act(mad_t *mad, int in_callback);

static void
make(int slot);

static lws_ss_state_return_t
mad_rx(void *user, const uint8_t *buf, size_t len, int flags)
{
	volatile uint8_t sum = 0;

	(void)flags;
	while (len--)
		sum = (uint8_t)(sum + *buf++);
	return random_below(4) ? LWSSSSRET_OK : act(user, 1);
}

static lws_ss_state_return_t
mad_tx(void *user, lws_ss_tx_ordinal_t ord, uint8_t *buf, size_t *len, int *flags)
{
	lws_ss_state_return_t result = random_below(3) ? LWSSSSRET_OK : act(user, 1);

	(void)ord;
	memset(buf, 1, *len);
	*len = random_below((uint32_t)*len + 1);
	*flags = (int)random_below(4);
	if (result == LWSSSSRET_OK && !random_below(4))
		return LWSSSSRET_TX_DONT_SEND;
	return result;
}

static lws_ss_state_return_t
mad_state(void *user, void *h_src, lws_ss_constate_t state, lws_ss_tx_ordinal_t ack)
{
	mad_t *mad = user;

	(void)h_src;
	(void)ack;
	if (state == LWSSSCS_DESTROYING) {
		struct lws_ss_handle **slot = lws_ss_opaque_from_user(mad);

		CHECK(*slot == mad->ss);
		*slot = NULL;
		ended++;
		/* Also if it was the proxy that destroyed it. */
		return LWSSSSRET_DESTROY_ME;
	}
	return random_below(3) ? LWSSSSRET_OK : act(mad, 1);
}

static lws_ss_state_return_t
act(mad_t *mad, int in_callback)
{
	struct lws_ss_handle *h = mad->ss;
	char value[300] = { 0 }, name[] = "name0";
	const void *at;
	int slot = (int)random_below(STREAMS);
	size_t len;

	if (calm)
		return LWSSSSRET_OK;
	name[4] = (char)('0' + random_below(4));
	switch (random_below(16)) {
	case 0:
	case 1:
		(void)lws_ss_request_tx_len(h, random_below(1000));
		break;
	case 2:
		return lws_ss_client_connect(h);
	case 3:
		(void)lws_ss_set_metadata(h, name, value, random_below(sizeof(value)));
		break;
	case 4:
		if (!lws_ss_get_metadata(h, name, &at, &len))
			CHECK(strlen(at) <= len);
		break;
	case 5:
		lws_ss_start_timeout(h, random_below(2) * 100);
		break;
	case 6:
		(void)lws_ss_add_peer_tx_credit(h, (int32_t)random_below(100));
		break;
	case 7:
		CHECK(strlen(lws_ss_rideshare(h)) < 33 && strlen(lws_ss_tag(h)) < 60);
		break;
	case 8:
		/* Itself or another one. */
		if (streams[slot] && !random_below(3)) {
			struct lws_ss_handle *other = streams[slot];

			lws_ss_destroy(&other);
			CHECK(!other);
		}
		break;
	case 9:
		if (!streams[slot])
			make(slot);
		break;
	case 10:
		return in_callback && !random_below(3) ? LWSSSSRET_DESTROY_ME : LWSSSSRET_OK;
	case 11:
		return in_callback && !random_below(3) ? LWSSSSRET_DISCONNECT_ME : LWSSSSRET_OK;
	default:
		return lws_ss_request_tx(h);
	}
	return LWSSSSRET_OK;
}

static void
make(int slot)
{
	static const lws_ss_info_t ssi = {
		.streamtype = "mad",
		.user_alloc = sizeof(mad_t),
		.handle_offset = offsetof(mad_t, ss),
		.opaque_user_data_offset = offsetof(mad_t, opaque_data),
		.rx = mad_rx,
		.tx = mad_tx,
		.state = mad_state,
	};

	CHECK(lws_ss_create(&rig.cx, 0, &ssi, &streams[slot], &streams[slot], NULL, NULL) ==
	      !streams[slot]);
}

static void
peer_acts(void)
{
	uint8_t noise[40], channel = (uint8_t)(rig.last + random_below(3));
	size_t n;

	for (n = 0; n < sizeof(noise); n++)
		noise[n] = (uint8_t)random_below(256);
	switch (random_below(20)) {
	case 0:
		peer_line(noise, 1 + random_below(sizeof(noise)));
		break;
	case 1:
		peer_line("\xf9", 1);
		break;
	case 2:
	case 3:
		noise[0] = (uint8_t)(0x55 + random_below(7));
		noise[1] = 0;
		noise[2] = (uint8_t)random_below(40);
		peer_send(channel, noise, 1 + random_below(sizeof(noise)));
		break;
	case 4:
		peer_line((uint8_t[]){ (uint8_t)(0xf0 + random_below(5)), channel }, 2);
		break;
	case 5:
		peer_state(channel, (uint8_t)(1 + random_below(20)));
		break;
	case 6:
	case 7:
		peer_metadata(channel, "name1", "some value");
		break;
	case 8:
		rig.peer ^= PEER_NACKS;
		break;
	case 9:
		rig.peer ^= PEER_CREDITS;
		break;
	case 10:
		peer_state(channel, LWSSSCS_DISCONNECTED);
		break;
	default:
		peer_payload(channel, random_below(4), noise, random_below(sizeof(noise)));
	}
}

void
chance(void)
{
	int n, round, slot, made = 0;

	for (round = 1; round <= 4; round++) {
		seed = 0x9e3779b9u * (uint32_t)round;
		calm = 0;
		rig_start(PEER_CONNECTS);
		rig.list = round & 1 ? ",mad,another" : NULL;
		for (n = 0; n < 400; n++) {
			slot = (int)random_below(STREAMS);
			if (!streams[slot]) {
				make(slot);
				made++;
			} else if (random_below(2)) {
				(void)act(lws_ss_to_user_object(streams[slot]), 0);
			}
			peer_acts();
			/* What the proxy heard does not matter, nor what was logged. */
			peer_heard();
			memset(rig.channels, 0, sizeof(rig.channels[0]));
			rig.log.len = 0;
			rig_run(random_below(40) ? random_below(20) * MS : 3 * SECOND);
		}
		calm = 1;
		rig.peer = PEER_CONNECTS;
		rig_run(20 * SECOND);
		CHECK(rig.mux->link_state == LWSTM_OPERATIONAL);
		for (slot = 0; slot < STREAMS; slot++) {
			struct lws_ss_handle *h = streams[slot];

			lws_ss_destroy(&h);
			CHECK(!streams[slot]);
		}
		rig_stop();
	}
	CHECK(made > 30);
}
