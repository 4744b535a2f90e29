/* Streams that are ended, made and disconnected in callbacks, their own and others'. */
#include "tests.h"

/* What applications do in their callbacks. */

static lws_ss_state_return_t
returns_destroy(void *user)
{
	(void)user;
	return LWSSSSRET_DESTROY_ME;
}

static lws_ss_state_return_t
returns_disconnect(void *user)
{
	(void)user;
	return LWSSSSRET_DISCONNECT_ME;
}

static lws_ss_state_return_t
destroys_itself(void *user)
{
	struct lws_ss_handle *h = ((app_t *)user)->ss;

	lws_ss_destroy(&h);
	CHECK(!h);
	/* It is still there until the callback returns. */
	CHECK(lws_ss_request_tx(((app_t *)user)->ss) == LWSSSSRET_OK);
	return LWSSSSRET_OK;
}

static app_t *other;

static lws_ss_state_return_t
destroys_other(void *user)
{
	(void)user;
	if (other)
		lws_ss_destroy(&other->ss);
	other = NULL;
	return LWSSSSRET_OK;
}

static lws_ss_state_return_t
creates_other(void *user)
{
	(void)user;
	if (!other)
		other = app_with("second", LWSSSCS_CREATING, connects);
	return LWSSSSRET_OK;
}

void
destroyed_in_its_callbacks(void)
{
	lws_ss_state_return_t (*how[])(void *) = { returns_destroy, destroys_itself };
	int states[] = { LWSSSCS_CREATING, LWSSSCS_CONNECTING, LWSSSCS_CONNECTED,
			 LWSSSCS_DISCONNECTED, LWSSSCS_UPSTREAM_LINK_RETRY, LWSSSCS_USER_BASE };
	size_t h, s;
	app_t *a;

	for (h = 0; h < LWS_ARRAY_SIZE(how); h++) {
		for (s = 0; s < LWS_ARRAY_SIZE(states); s++) {
			rig_start(PEER_CONNECTS);
			a = app_with("ticker", states[s], how[h]);
			connects(a);
			rig_run(SECOND);
			if (states[s] == LWSSSCS_DISCONNECTED) {
				peer_state(rig.last, LWSSSCS_DISCONNECTED);
				peer_payload(rig.last, 3, "not heard", 9);
			} else if (states[s] == LWSSSCS_UPSTREAM_LINK_RETRY) {
				peer_line("\xf9", 1);
			} else if (states[s] == LWSSSCS_USER_BASE) {
				peer_send(rig.last, "\x57\0\x08\0\0\x03\xe8\0\0\0\7", 11);
			}
			rig_run(SECOND);
			CHECK(ended == 1 && strstr(last_words.at, "DESTROYING "));
			CHECK(!strstr(last_words.at, "rx"));
			if (states[s] == LWSSSCS_USER_BASE)
				CHECK_TEXT(last_words.at, CREATED CONNECTED
					   "USER(1000,7) DISCONNECTED DESTROYING ");
			rig_run(SECOND);
			CHECK(!rig.mux->owner.head);
			rig_stop();
		}
		/* In rx, with more to come, and in tx. */
		rig_start(PEER_CONNECTS);
		a = app_with("ticker", LWSSSCS_CREATING, connects);
		a->on_rx = how[h];
		rig_run(SECOND);
		peer_payload(rig.last, 3, "last", 4);
		peer_payload(rig.last, 3, "not heard", 9);
		rig_run(SECOND);
		CHECK(ended == 1);
		CHECK(!strstr(last_words.at, "not heard"));
		rig_stop();

		rig_start(PEER_CONNECTS);
		a = app_with("post", LWSSSCS_CREATING, sends);
		a->on_tx = how[h];
		rig_run(SECOND);
		CHECK(ended == 1);
		CHECK_TEXT(last_words.at, CREATED CONNECTED "DISCONNECTED DESTROYING ");
		rig_run(SECOND);
		CHECK(strstr(rig.heard.at, "destroying close "));
		rig_stop();
	}
}

void
destroyed_by_another(void)
{
	lws_ss_state_return_t (**on[2])(void *);
	app_t *a;
	int n;

	for (n = 0; n < 4; n++) {
		rig_start(PEER_CONNECTS);
		if (n & 1)
			other = app_with("other", LWSSSCS_CREATING, connects);
		a = app_with("first", LWSSSCS_CREATING, sends);
		if (!(n & 1))
			other = app_with("other", LWSSSCS_CREATING, connects);
		on[0] = &a->on_tx;
		on[1] = &a->on_rx;
		*on[n >> 1] = destroys_other;
		rig_run(SECOND);
		peer_payload(255, 3, "x", 1);
		peer_payload(254, 3, "y", 1);
		rig_run(SECOND);
		CHECK(ended == 1 && !other);
		rig_run(SECOND);
		CHECK(strstr(rig.heard.at, "destroying close "));
		destroy(a);
		rig_stop();
	}
}

void
created_in_callbacks(void)
{
	app_t *a;
	int n;

	for (n = 0; n < 3; n++) {
		rig_start(PEER_CONNECTS);
		other = NULL;
		a = app_with("first", LWSSSCS_CONNECTED, n == 0 ? creates_other : NULL);
		if (n == 1)
			a->on_tx = creates_other;
		if (n == 2)
			a->on_rx = creates_other;
		sends(a);
		rig_run(SECOND);
		peer_payload(rig.last, 3, "x", 1);
		rig_run(SECOND);
		CHECK(other);
		CHECK_TEXT(told(other), n < 2 ? CREATED CONNECTED "rx:x " : CREATED CONNECTED);
		destroy(a);
		destroys_other(NULL);
		rig_stop();
	}
}

/* The onward connection is dropped; the stream stays, idle. */
void
disconnected_by_its_callbacks(void)
{
	app_t *a;

	rig_start(PEER_CONNECTS);
	a = app_with("ticker", LWSSSCS_CREATING, connects);
	a->on_rx = returns_disconnect;
	rig_run(SECOND);
	told(a);
	peer_heard();
	peer_payload(rig.last, 3, "enough", 6);
	peer_payload(rig.last, 3, "not heard", 9);
	rig_run(5 * SECOND);
	CHECK_TEXT(told(a), "rx:enough DISCONNECTED ");
	CHECK_TEXT(peer_heard(), "close open streamtype ticker ");
	connects(a);
	rig_run(SECOND);
	CHECK_TEXT(told(a), CONNECTED);

	a->on_tx = returns_disconnect;
	sends(a);
	rig_run(5 * SECOND);
	CHECK_TEXT(told(a), "DISCONNECTED ");
	destroy(a);
	rig_stop();

	/* At its end there is no more to disconnect. */
	rig_start(PEER_CONNECTS);
	a = app_with("ticker", LWSSSCS_DESTROYING, returns_disconnect);
	rig_run(SECOND);
	destroy(a);
	rig_run(SECOND);
	CHECK_TEXT(peer_heard(), "open streamtype ticker destroying close ");
	rig_stop();
}

static lws_ss_state_return_t
destroys_the_mux(void *user)
{
	(void)user;
	lws_transport_mux_destroy(&rig.mux);
	return LWSSSSRET_OK;
}

void
mux_destroyed_before_its_streams(void)
{
	lws_transport_mux_t *none = NULL;
	struct lws_ss_handle *h = NULL;
	app_t *a, *b;

	rig_start(PEER_CONNECTS);
	a = app_with("one", LWSSSCS_CREATING, connects);
	b = app("two");
	rig_run(SECOND);
	lws_transport_mux_destroy(&rig.mux);
	CHECK(!rig.cx.txp_cpath.mux);
	CHECK_TEXT(told(a), CREATED CONNECTED "DISCONNECTED LINK_RETRY ");
	rig_run(5 * SECOND);
	connects(b);
	destroy(a);
	destroy(b);
	lws_ss_destroy(&h);
	lws_transport_mux_destroy(&none);

	/* And in a callback. */
	rig_start(PEER_CONNECTS);
	a = app_with("one", LWSSSCS_CREATING, destroys_the_mux);
	rig_run(SECOND);
	CHECK(!rig.mux && strstr(a->told.at, CREATED "LINK_RETRY "));
	rig_run(SECOND);
	destroy(a);
	rig_start(PEER_CONNECTS);
	rig_stop();
}
