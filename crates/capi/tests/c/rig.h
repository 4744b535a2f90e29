/*
 * A device in one process: virtual time, a line of bytes, and a proxy at its other end that speaks
 * the mux and the frames of streams. What the application does is up to each test.
 */
#ifndef RIG_H
#define RIG_H

#include <libwebsockets.h>

#define MS 1000
#define SECOND 1000000

#define CHECK(_what) \
	do { \
		if (!(_what)) \
			rig_fail(__FILE__, __LINE__, #_what); \
	} while (0)
#define CHECK_TEXT(_have, _want) rig_check_text(__FILE__, __LINE__, _have, _want)

/* A text that grows. */
struct text {
	char	at[16384];
	size_t	len;
};
void text_add(struct text *t, const char *format, ...) LWS_FORMAT(2);

/* What the proxy does by itself when a frame comes. */
enum {
	PEER_CONNECTS	= 1 << 0,	/* ONWARD_CONNECT: CONNECTING, CONNECTED */
	PEER_SILENT	= 1 << 1,	/* nothing at all */
	PEER_REFUSES	= 1 << 2,	/* CREATE_RESULT 1 for the streamtype "unknown" */
	PEER_NO_ACK	= 1 << 3,	/* CHANNEL_REQ is not answered */
	PEER_NACKS	= 1 << 4,	/* CHANNEL_REQ is refused */
	PEER_NO_CREATE	= 1 << 5,	/* STREAMTYPE is not answered */
	PEER_CREDITS	= 1 << 6,	/* a TXCR_UPDATE of 64 comes before CREATING */
};

struct channel {
	int	open;
	uint8_t	in[70000];		/* of frames that are not whole */
	size_t	in_len;
	char	streamtype[33];
	uint32_t credit;
	struct text payload;		/* of TX_PAYLOAD */
};

struct rig {
	lws_usec_t now;
	lws_dll2_owner_t timers;
	struct lws_context_standalone cx;
	lws_transport_mux_t *mux;
	int want_write;
	int writes;			/* how often something was written */

	size_t chunk;			/* how many bytes the device reads at once */
	size_t room;			/* and how many it writes at once, at most */

	int peer;			/* PEER_* */
	const char *list;		/* rideshare names in CREATE_RESULT */
	uint8_t to_device[400000];
	size_t to_device_at;		/* of these bytes so many were read */
	size_t to_device_len;
	uint8_t from_device[70000];	/* of mux frames that are not whole */
	size_t from_device_len;
	struct channel channels[256];
	uint8_t last;			/* the channel that was opened last */
	struct text heard;		/* frames, by name, in one line */
	struct text log;
};
extern struct rig rig;

/* All as new, with an arena or without, and the link up if `peer` lets it. */
void rig_start(int peer);
/* Ends the mux, and looks that nothing is left. */
void rig_stop(void);
/* Runs until nothing happens for so long. */
void rig_run(lws_usec_t us);

/* From the proxy, in a channel. */
void peer_send(uint8_t channel, const void *frame, size_t len);
void peer_state(uint8_t channel, uint8_t state);
void peer_payload(uint8_t channel, uint32_t flags, const void *payload, size_t len);
void peer_metadata(uint8_t channel, const char *name, const char *value);
/* And on the line itself. */
void peer_line(const void *bytes, size_t len);

/* What the proxy heard since it was asked last. */
const char *peer_heard(void);

/* What all streams in a test are: they write down what they hear. */
LWS_SS_USER_TYPEDEF
	struct text		told;
	struct text		body;
	int			messages;
	size_t			bytes;		/* of payload */
	const char		*send;		/* what tx sends, in pieces */
	size_t			send_len;
	size_t			piece;		/* of no more than this; 0: any size */
	int			on_state;	/* a state, and what is then called and returned */
	lws_ss_state_return_t	(*act)(void *user);
	lws_ss_state_return_t	(*on_rx)(void *user);
	lws_ss_state_return_t	(*on_tx)(void *user);
} app_t;
extern const lws_ss_info_t ssi_app_t;

/* A stream of this type. */
app_t *app(const char *streamtype);
/* The same, before it hears anything: set `on_state` and so on. */
app_t *app_with(const char *streamtype, int on_state, lws_ss_state_return_t (*act)(void *user));
/* What it was told since it was asked last. */
const char *told(app_t *app);
/* Of streams that were destroyed: how many, and what the last one was told at its end. */
extern int ended;
extern struct text last_words;

/* 1 while memory is to come from an arena, and what an arena has when nothing is in it. */
extern int with_arena;
extern size_t arena_bytes;

/* What they are told when all goes well. */
#define CREATED "CREATING "
#define CONNECTED "CONNECTING CONNECTED "

/* What applications do. */

static inline lws_ss_state_return_t
connects(void *user)
{
	return lws_ss_client_connect(((app_t *)user)->ss);
}

static inline lws_ss_state_return_t
sends(void *user)
{
	return lws_ss_request_tx(((app_t *)user)->ss);
}

static inline void
destroy(app_t *a)
{
	struct lws_ss_handle *h = a->ss;

	lws_ss_destroy(&h);
}

void rig_fail(const char *file, int line, const char *what);
void rig_check_text(const char *file, int line, const char *have, const char *want);

#endif
