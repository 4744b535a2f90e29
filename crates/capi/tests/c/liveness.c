/*
 * Nothing that came stays behind while the device waits: from 1 to 5,000 messages in one read or in
 * many, and their end right behind them, all arrives, and then the end.
 */
#include "tests.h"

static int messages_at_end;

static lws_ss_state_return_t
ends(void *user)
{
	messages_at_end = ((app_t *)user)->messages;
	return LWSSSSRET_OK;
}

static lws_ss_state_return_t
credits(void *user)
{
	lws_ss_add_peer_tx_credit(((app_t *)user)->ss, 20);
	return LWSSSSRET_OK;
}

/* What the application does with each message. */
static lws_ss_state_return_t (*const on_rx[])(void *user) = { NULL, credits, sends };

/* How the proxy ends, behind the last message. */
enum ending { DISCONNECTS, CLOSES, RESETS, ENDINGS };

static void
arrives(int messages, enum ending ending, lws_ss_state_return_t (*act)(void *user))
{
	static const uint8_t payload[40] = "forty bytes of which some are sent";
	uint8_t close[2] = { 0xf3 };
	size_t bytes = 0, len;
	app_t *a;
	int n;

	rig_start(PEER_CONNECTS);
	a = app_with("ticker", LWSSSCS_CREATING, connects);
	rig_run(SECOND);
	CHECK_TEXT(told(a), CREATED CONNECTED);
	a->on_state = LWSSSCS_DISCONNECTED;
	a->act = ends;
	a->on_rx = act;
	messages_at_end = -1;

	for (n = 0; n < messages; n++) {
		len = 1 + (size_t)n % sizeof(payload);
		bytes += len;
		peer_payload(rig.last, LWSSS_FLAG_SOM | LWSSS_FLAG_EOM, payload, len);
	}
	close[1] = rig.last;
	switch (ending) {
	case DISCONNECTS:
		peer_state(rig.last, LWSSSCS_DISCONNECTED);
		break;
	case CLOSES:
		peer_line(close, sizeof(close));
		break;
	default:
		peer_line("\xf9", 1);
		break;
	}
	/* Before any timer is due. */
	rig_run(MS);
	CHECK(a->messages == messages && a->bytes == bytes);
	CHECK(messages_at_end == messages);
	a->act = NULL;
	destroy(a);
	rig_stop();
}

void
everything_arrives(void)
{
	static const int messages[] = { 1, 2, 15, 16, 17, 18, 100, 1000, 5000 };
	size_t n, act;
	int ending;

	for (n = 0; n < LWS_ARRAY_SIZE(messages); n++) {
		/* The largest take a while under valgrind. */
		size_t acts = messages[n] > 100 ? 1 : LWS_ARRAY_SIZE(on_rx);
		int endings = messages[n] > 1000 ? 1 : ENDINGS;

		if (messages[n] > 1000 && with_arena)
			break;
		for (ending = 0; ending < endings; ending++)
			for (act = 0; act < acts; act++)
				arrives(messages[n], (enum ending)ending, on_rx[act]);
	}
}
