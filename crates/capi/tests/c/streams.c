/* What applications send and hear where all goes well. */
#include "tests.h"

void
get(void)
{
	const void *value;
	size_t len;
	app_t *a;

	rig_start(PEER_CONNECTS);
	a = app_with("report", LWSSSCS_CREATING, connects);
	CHECK(!lws_ss_set_metadata(a->ss, "who", "me", 2));
	CHECK(!lws_ss_set_metadata(a->ss, "who", "you", 3));
	CHECK(!lws_ss_alloc_set_metadata(a->ss, "what", "that", 4));
	CHECK(lws_ss_set_metadata(a->ss, "empty", "", 0));
	CHECK(lws_ss_set_metadata(a->ss, "a name that is longer than it may be", "x", 1));
	CHECK_TEXT(told(a), "");
	rig_run(SECOND);
	CHECK_TEXT(told(a), CREATED CONNECTED);
	CHECK_TEXT(peer_heard(), "open streamtype report who=you what=that connect ");
	CHECK(rig.channels[rig.last].credit == 500000000);

	CHECK(lws_ss_get_metadata(a->ss, "srv", &value, &len));
	peer_metadata(rig.last, "srv", "apache");
	peer_metadata(rig.last, "ctype", "text/plain");
	peer_metadata(rig.last, "srv", "nginx");
	peer_payload(rig.last, LWSSS_FLAG_SOM, "hello ", 6);
	peer_payload(rig.last, LWSSS_FLAG_EOM, "world", 5);
	peer_payload(rig.last, LWSSS_FLAG_SOM | LWSSS_FLAG_EOM, "", 0);
	peer_state(rig.last, LWSSSCS_QOS_ACK_REMOTE);
	peer_state(rig.last, LWSSSCS_DISCONNECTED);
	rig_run(SECOND);
	CHECK_TEXT(told(a), "rx:hello world rx: QOS_ACK_REMOTE DISCONNECTED ");
	CHECK(!lws_ss_get_metadata(a->ss, "srv", &value, &len) && len == 5);
	CHECK_TEXT(value, "nginx");
	CHECK(!lws_ss_get_metadata(a->ss, "ctype", &value, &len) && len == 10);
	CHECK_TEXT(value, "text/plain");

	/* And once more. */
	connects(a);
	rig_run(SECOND);
	CHECK_TEXT(told(a), CONNECTED);
	CHECK_TEXT(peer_heard(), "connect ");
	destroy(a);
	CHECK(ended == 1);
	CHECK_TEXT(last_words.at, "DISCONNECTED DESTROYING ");
	rig_run(SECOND);
	CHECK_TEXT(peer_heard(), "destroying close ");
	CHECK(!rig.mux->owner.head);
	rig_stop();
}

void
many_messages_of_two_streams(void)
{
	char text[40];
	uint8_t first;
	app_t *a, *b;
	int n;

	rig_start(PEER_CONNECTS);
	a = app_with("ticker", LWSSSCS_CREATING, connects);
	rig_run(SECOND);
	first = rig.last;
	b = app_with("page", LWSSSCS_CREATING, connects);
	rig_run(SECOND);
	CHECK(first == 255 && rig.last == 254);
	told(a);
	for (n = 0; n < 300; n++) {
		snprintf(text, sizeof(text), "price %d", n);
		peer_payload(first, 3, text, strlen(text));
		peer_payload(rig.last, n ? n == 299 ? 2 : 0 : 1, text, strlen(text));
		if (n % 20 == 19) {
			rig_run(MS);
			told(a);
		}
	}
	CHECK(a->messages == 300 && b->messages == 1);
	CHECK_TEXT(a->body.at, "price 299");
	CHECK(!strncmp(b->body.at, "price 0price 1price 2", 21));
	CHECK(lws_ss_get_est_peer_tx_credit(a->ss) == 500000000 - 10 * 7 - 90 * 8 - 200 * 9);
	destroy(a);
	destroy(b);
	rig_stop();
}

/* A payload of 3000 bytes in one frame, as larger links have it, comes in pieces. */
void
long_payload(void)
{
	char payload[3000];
	app_t *a;

	rig_start(PEER_CONNECTS);
	a = app_with("page", LWSSSCS_CREATING, connects);
	rig_run(SECOND);
	memset(payload, 'p', sizeof(payload));
	peer_payload(rig.last, 3, payload, sizeof(payload));
	rig_run(SECOND);
	CHECK(a->messages == 1 && a->body.len == sizeof(payload));
	destroy(a);
	rig_stop();
}

void
post(void)
{
	char body[5970];
	size_t n;
	app_t *a;

	for (n = 0; n < sizeof(body); n++)
		body[n] = (char)('a' + n % 26);
	rig_start(PEER_CONNECTS);
	a = app("post");
	a->send = body;
	a->send_len = sizeof(body);
	a->piece = 777;
	CHECK(lws_ss_request_tx_len(a->ss, sizeof(body)) == LWSSSSRET_OK);
	rig_run(SECOND);
	CHECK_TEXT(told(a), CREATED CONNECTED);
	CHECK(!a->send && rig.channels[rig.last].payload.len == sizeof(body));
	CHECK(!memcmp(rig.channels[rig.last].payload.at, body, sizeof(body)));
	CHECK(!strncmp(rig.heard.at, "open streamtype post hint 5970 connect tx+SOM tx ", 49));
	CHECK(!strcmp(rig.heard.at + rig.heard.len - 7, "tx+EOM "));
	destroy(a);
	rig_stop();
}

/* A tx callback may ask for all that others may ask for; it takes effect behind the payload. */
static lws_ss_state_return_t
asks_for_all(void *user)
{
	app_t *a = user;

	a->on_tx = NULL;
	a->send = "abc";
	a->send_len = 3;
	CHECK(!lws_ss_set_metadata(a->ss, "later", "on", 2));
	CHECK(lws_ss_set_metadata(a->ss, "none", "", 0));
	lws_ss_start_timeout(a->ss, 4321);
	CHECK(!lws_ss_add_peer_tx_credit(a->ss, 99));
	CHECK_TEXT(lws_ss_rideshare(a->ss), "post");
	CHECK(lws_ss_client_connect(a->ss) == LWSSSSRET_OK);
	return lws_ss_request_tx_len(a->ss, 4);
}

void
commands_while_sending(void)
{
	app_t *a;

	rig_start(PEER_CONNECTS);
	a = app_with("post", LWSSSCS_CREATING, sends);
	a->on_tx = asks_for_all;
	rig_run(SECOND);
	CHECK_TEXT(peer_heard(), "open streamtype post connect tx+SOM+EOM timeout 4321 later=on "
				 "credit 99 hint 4 ");
	CHECK_TEXT(rig.channels[rig.last].payload.at, "abc");
	destroy(a);
	rig_stop();
}

void
timeouts_and_credit(void)
{
	lws_ss_info_t ssi = ssi_app_t;
	struct lws_ss_handle *h;
	app_t *a;

	rig_start(PEER_CONNECTS);
	ssi.manual_initial_tx_credit = 1000;
	CHECK(!lws_ss_create(&rig.cx, 0, &ssi, NULL, &h, NULL, NULL));
	a = lws_ss_to_user_object(h);
	rig_run(SECOND);
	CHECK(rig.channels[rig.last].credit == 1000);
	peer_heard();
	lws_ss_start_timeout(h, LWSSS_TIMEOUT_FROM_POLICY);
	rig_run(MS);
	CHECK_TEXT(peer_heard(), "timeout 0 ");
	peer_state(rig.last, LWSSSCS_TIMEOUT);
	rig_run(MS);
	CHECK_TEXT(told(a), CREATED "TIMEOUT ");
	lws_ss_start_timeout(h, 100);
	lws_ss_cancel_timeout(h);
	rig_run(MS);
	CHECK_TEXT(peer_heard(), "timeout -1 ");
	CHECK(!lws_ss_add_peer_tx_credit(h, 500));
	CHECK(!lws_ss_add_peer_tx_credit(h, 50));
	CHECK(lws_ss_get_est_peer_tx_credit(h) == 1550);
	rig_run(MS);
	CHECK(strstr(rig.heard.at, "credit "));
	lws_ss_destroy(&h);
	rig_stop();
}

/* What is credit elsewhere are the classes of system messages that are wanted, all bits of them. */
void
system_messages(void)
{
	lws_ss_info_t ssi = ssi_app_t;
	struct lws_ss_handle *h;

	rig_start(PEER_CONNECTS);
	ssi.streamtype = "_lws_smd";
	ssi.manual_initial_tx_credit = -1;
	CHECK(!lws_ss_create(&rig.cx, 0, &ssi, NULL, &h, NULL, NULL));
	rig_run(SECOND);
	CHECK(rig.channels[rig.last].credit == 0xffffffff);
	lws_ss_destroy(&h);
	rig_stop();
}

/* With a proxy that manages credit no more is sent than it gave. */
void
no_more_than_the_credit(void)
{
	char body[100];
	app_t *a;

	memset(body, 'b', sizeof(body));
	rig_start(PEER_CONNECTS | PEER_CREDITS);
	a = app_with("post", LWSSSCS_CREATING, sends);
	a->send = body;
	a->send_len = sizeof(body);
	rig_run(SECOND);
	CHECK(rig.channels[rig.last].payload.len == 64);
	peer_send(rig.last, "\x58\0\4\0\0\0\x40", 7);
	rig_run(SECOND);
	CHECK(rig.channels[rig.last].payload.len == sizeof(body));
	destroy(a);
	rig_stop();
}

/* Metadata that is longer than what the line takes at once. */
void
long_metadata(void)
{
	char value[1400], want[100];
	app_t *a;

	memset(value, 'v', sizeof(value));
	rig_start(PEER_CONNECTS);
	a = app_with("report", LWSSSCS_CREATING, connects);
	CHECK(!lws_ss_set_metadata(a->ss, "short", "s", 1));
	CHECK(!lws_ss_set_metadata(a->ss, "long", value, sizeof(value)));
	CHECK(!lws_ss_set_metadata(a->ss, "last", "l", 1));
	rig_run(SECOND);
	snprintf(want, sizeof(want), "open streamtype report short=s long=vvvvv last=l connect ");
	CHECK_TEXT(peer_heard(), want);
	destroy(a);
	rig_stop();
}

void
rideshares(void)
{
	app_t *a;

	rig_start(PEER_CONNECTS);
	rig.list = ",first,second";
	a = app_with("first", LWSSSCS_CREATING, connects);
	rig_run(SECOND);
	CHECK_TEXT(lws_ss_rideshare(a->ss), "first");
	a->send = "1";
	a->send_len = 1;
	sends(a);
	rig_run(SECOND);
	CHECK_TEXT(lws_ss_rideshare(a->ss), "second");
	peer_send(rig.last, "\x55\0\x17\0\0\0\x23\0\0\0\0\0\0\0\0\0\0\0\0\4sosoyy", 26);
	rig_run(SECOND);
	CHECK_TEXT(a->body.at, "yy");
	/* The names stay where what is set needs more memory. */
	CHECK(!lws_ss_set_metadata(a->ss, "name", "a value", 7));
	CHECK_TEXT(lws_ss_rideshare(a->ss), "second");
	CHECK(!lws_ss_set_metadata(a->ss, "other", "another value", 13));
	CHECK_TEXT(lws_ss_rideshare(a->ss), "second");
	destroy(a);
	rig_stop();
}

void
performance_reports(void)
{
	app_t *a;

	rig_start(PEER_CONNECTS);
	a = app_with("ticker", LWSSSCS_CREATING, connects);
	rig_run(SECOND);
	told(a);
	peer_send(rig.last, "\x5b\0\7{\"a\":1}", 10);
	rig_run(SECOND);
	CHECK_TEXT(told(a), "rx-perf:{\"a\":1} ");
	destroy(a);
	rig_stop();
}

static lws_ss_state_return_t
other_state(void *user, void *h_src, lws_ss_constate_t state, lws_ss_tx_ordinal_t ack)
{
	(void)h_src;
	(void)ack;
	text_add(&((app_t *)user)->told, "<%d> ", (int)state);
	return LWSSSSRET_OK;
}

void
small_things(void)
{
	struct lws_ss_handle *none = NULL;
	lws_ss_info_t bare = { .streamtype = "bare", .user_alloc = 2 * sizeof(void *),
			       .opaque_user_data_offset = sizeof(void *) };
	char line[8], *p = line;
	app_t *a;

	rig_start(PEER_CONNECTS);
	a = app("tagged");
	CHECK_TEXT(lws_ss_tag(a->ss), "[sspc|tagged|0]");
	CHECK_TEXT(lws_ss_tag(NULL), "[null sspc]");
	lws_log_prepend_sspc(NULL, a->ss, &p, line + sizeof(line));
	CHECK_TEXT(line, "[sspc|t");
	CHECK(p == line + 7);
	lws_ss_change_handlers(a->ss, NULL, NULL, other_state);
	rig_run(SECOND);
	CHECK_TEXT(told(a), "<1> ");
	lws_ss_server_ack(a->ss, 0);
	lws_ss_validity_confirmed(a->ss);
	CHECK(!strstr(rig.log.at, "[sspc|tagged|0]: is there\n"));
	lws_ss_dump_extant(&rig.cx, 0);
	CHECK(strstr(rig.log.at, "[sspc|tagged|0]: is there\n"));
	destroy(a);

	/* Without callbacks; without an application that keeps the handle. */
	CHECK(!lws_ss_create(&rig.cx, 0, &bare, NULL, &none, NULL, NULL));
	sends(&(app_t){ .ss = none });
	rig_run(SECOND);
	peer_payload(rig.last, 3, "nobody hears", 12);
	rig_run(SECOND);
	lws_ss_destroy(&none);

	/* Names that no proxy takes. */
	bare.streamtype = "";
	CHECK(lws_ss_create(&rig.cx, 0, &bare, NULL, &none, NULL, NULL) && !none);
	bare.streamtype = "a name of more than thirty-one b";
	CHECK(lws_ss_create(&rig.cx, 0, &bare, NULL, &none, NULL, NULL) && !none);

	CHECK_TEXT(lws_ss_state_name(LWSSSCS_SINK_PART), "LWSSSCS_SINK_PART");
	CHECK_TEXT(lws_ss_state_name(500), "unknown");
	CHECK_TEXT(lws_ss_state_name(1001), "user state");
	CHECK_TEXT(lws_strncpy(line, "0123456789", sizeof(line)), "0123456");
	lws_strnncpy(line, "0123456789", 3, sizeof(line));
	CHECK_TEXT(line, "012");

	/* The proxy's clock. */
	peer_line("\xf6\1\2\3\4\5\6\7\x08", 9);
	rig_run(MS);
	CHECK(rig.mux->us_unixtime_peer == 0x00059c5d7d400102);
	CHECK(rig.mux->us_unixtime_peer_loc + MS >= (uint64_t)rig.now);
	rig_stop();
}

/* Nothing is asked for when there is nothing to do: a device may sleep. */
void
no_more_wakeups_than_needed(void)
{
	int writes;
	app_t *a;

	rig_start(PEER_CONNECTS);
	a = app_with("ticker", LWSSSCS_CREATING, connects);
	rig_run(SECOND);
	writes = rig.writes;
	CHECK(!rig.want_write);
	rig_run(100 * SECOND);
	/* A PING and a PONGACK each ten seconds, or a little more often. */
	CHECK(rig.writes - writes <= 2 * 14 && rig.writes - writes >= 2 * 9);
	destroy(a);
	rig_stop();
}
