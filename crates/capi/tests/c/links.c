/* Lines, channels and proxies that fail, and proxies that end a stream. */
#include "tests.h"

void
link_lost_and_found(void)
{
	app_t *a;

	rig_start(PEER_CONNECTS);
	a = app_with("ticker", LWSSSCS_CREATING, connects);
	CHECK(!lws_ss_set_metadata(a->ss, "who", "me", 2));
	rig_run(SECOND);
	CHECK_TEXT(told(a), CREATED CONNECTED);
	peer_heard();
	rig.peer |= PEER_SILENT;
	rig_run(13 * SECOND);
	CHECK(rig.mux->link_state == LWSTM_TRANSPORT_DOWN && !rig.mux->owner.head);
	CHECK(!strncmp(a->told.at, "DISCONNECTED LINK_RETRY ", 24));
	told(a);
	rig_run(30 * SECOND);
	CHECK(strstr(a->told.at, "LINK_RETRY ") && !strstr(a->told.at, "C"));
	told(a);
	rig.peer &= ~PEER_SILENT;
	rig_run(3 * SECOND);
	CHECK_TEXT(told(a), CONNECTED);
	CHECK_TEXT(peer_heard(), "open streamtype ticker who=me connect ");

	/* The proxy starts again. */
	peer_line("\xf9", 1);
	rig_run(3 * SECOND);
	CHECK_TEXT(told(a), "DISCONNECTED LINK_RETRY " CONNECTED);

	/* What comes is nonsense, as the firmware's transport sees. */
	rig.mux->info.txp_cpath.ops_in->lost_coherence(rig.mux);
	CHECK(rig.mux->link_state == LWSTM_TRANSPORT_DOWN);
	rig_run(3 * SECOND);
	CHECK_TEXT(told(a), "DISCONNECTED LINK_RETRY " CONNECTED);

	/* Or as the mux sees. */
	peer_line("\1\2\3nonsense", 11);
	rig_run(5 * SECOND);
	CHECK_TEXT(told(a), "DISCONNECTED LINK_RETRY " CONNECTED);
	destroy(a);
	rig_stop();
}

void
created_before_the_link(void)
{
	app_t *a;

	rig_start(PEER_CONNECTS | PEER_SILENT);
	a = app("ticker");
	connects(a);
	rig_run(5 * SECOND);
	CHECK(!strncmp(a->told.at, "LINK_RETRY LINK_RETRY ", 22));
	told(a);
	rig.peer &= ~PEER_SILENT;
	rig_run(5 * SECOND);
	CHECK(!strcmp(strstr(a->told.at, "C"), CREATED CONNECTED));
	destroy(a);
	rig_stop();
}

void
unknown_streamtype(void)
{
	app_t *a, *b;

	rig_start(PEER_CONNECTS | PEER_REFUSES);
	b = app_with("known", LWSSSCS_CREATING, connects);
	rig_run(SECOND);
	told(b);
	a = app_with("unknown", LWSSSCS_CREATING, connects);
	rig_run(60 * SECOND);
	CHECK(!strstr(a->told.at, "CREATING"));
	CHECK(strstr(rig.log.at, "E: [sspc|unknown|1]: the proxy refuses the streamtype"));
	/* The other one has not noticed. */
	CHECK_TEXT(told(b), "");
	CHECK(rig.mux->link_state == LWSTM_OPERATIONAL);
	destroy(a);
	destroy(b);
	rig_stop();
}

void
channels_refused_or_not_answered(void)
{
	app_t *a;

	rig_start(PEER_CONNECTS | PEER_NACKS);
	a = app_with("ticker", LWSSSCS_CREATING, connects);
	rig_run(SECOND);
	CHECK(!strncmp(a->told.at, "LINK_RETRY ", 11) && !strstr(a->told.at, "C"));
	rig.peer = PEER_CONNECTS | PEER_NO_ACK;
	rig_run(10 * SECOND);
	rig.peer = PEER_CONNECTS | PEER_NO_CREATE;
	rig_run(20 * SECOND);
	CHECK(!strstr(a->told.at, "C"));
	rig.peer = PEER_CONNECTS;
	rig_run(20 * SECOND);
	CHECK(!strcmp(strstr(a->told.at, "C"), CREATED CONNECTED));
	destroy(a);
	rig_stop();
}

/* One channel breaks the protocol: the others go on. */
void
nonsense_in_a_channel(void)
{
	uint8_t bad;
	app_t *a, *b;

	rig_start(PEER_CONNECTS);
	a = app_with("good", LWSSSCS_CREATING, connects);
	rig_run(SECOND);
	b = app_with("bad", LWSSSCS_CREATING, connects);
	rig_run(SECOND);
	bad = rig.last;
	told(a);
	told(b);
	peer_heard();
	peer_send(bad, "nonsense", 8);
	rig_run(5 * SECOND);
	CHECK_TEXT(told(a), "");
	CHECK_TEXT(told(b), "DISCONNECTED LINK_RETRY " CONNECTED);
	CHECK_TEXT(peer_heard(), "close open streamtype bad connect ");
	/* A state that cannot follow. */
	peer_state(rig.last, LWSSSCS_ALL_RETRIES_FAILED);
	rig_run(5 * SECOND);
	CHECK_TEXT(told(a), "");
	CHECK_TEXT(told(b), "DISCONNECTED LINK_RETRY " CONNECTED);
	/* The proxy closes a channel. */
	peer_line((uint8_t[]){ 0xf3, rig.last }, 2);
	rig_run(5 * SECOND);
	CHECK_TEXT(told(b), "DISCONNECTED LINK_RETRY " CONNECTED);
	destroy(a);
	destroy(b);
	rig_stop();
}

static lws_ss_state_return_t
returns_destroy(void *user)
{
	(void)user;
	return LWSSSSRET_DESTROY_ME;
}

static lws_ss_state_return_t
destroys(void *user)
{
	destroy(user);
	return LWSSSSRET_OK;
}

/*
 * When a proxy destroys a stream, as it does when its policy changes, the application is told so,
 * and the stream goes on, unless it is then destroyed.
 */
void
destroyed_by_the_proxy(void)
{
	lws_ss_state_return_t (*how[])(void *) = { returns_destroy, destroys };
	size_t n;
	app_t *a;

	rig_start(PEER_CONNECTS);
	a = app_with("ticker", LWSSSCS_CREATING, connects);
	CHECK(!lws_ss_set_metadata(a->ss, "who", "me", 2));
	rig_run(SECOND);
	told(a);
	peer_heard();
	peer_state(rig.last, LWSSSCS_DESTROYING);
	peer_payload(rig.last, 3, "not heard", 9);
	rig_run(5 * SECOND);
	CHECK_TEXT(told(a), "DISCONNECTED DESTROYING DISCONNECTED " CONNECTED);
	CHECK_TEXT(peer_heard(), "close open streamtype ticker who=me connect ");
	/* No sooner than it may. */
	peer_state(rig.last, LWSSSCS_DISCONNECTED);
	peer_state(rig.last, LWSSSCS_DESTROYING);
	rig_run(200 * MS);
	CHECK_TEXT(told(a), "DISCONNECTED DESTROYING DISCONNECTED ");
	CHECK_TEXT(peer_heard(), "close ");
	destroy(a);
	CHECK(ended == 3);
	CHECK_TEXT(last_words.at, "DESTROYING ");
	rig_stop();

	for (n = 0; n < LWS_ARRAY_SIZE(how); n++) {
		rig_start(PEER_CONNECTS);
		app_with("ticker", LWSSSCS_DESTROYING, how[n]);
		rig_run(SECOND);
		peer_state(rig.last, LWSSSCS_DESTROYING);
		rig_run(5 * SECOND);
		CHECK(ended == 1);
		CHECK_TEXT(last_words.at, CREATED "DESTROYING ");
		CHECK_TEXT(peer_heard(), "open streamtype ticker close ");
		CHECK(!rig.cx.ss_client_owner.head && !rig.mux->owner.head);
		rig_stop();
	}
}
