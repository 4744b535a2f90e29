/* Streams: what an application calls, and its callbacks. */
#ifndef SSPC_STREAMS_H
#define SSPC_STREAMS_H

/* One stream. */
struct lws_sspc_handle;

/* Sources call lws_ss_*; the streams of this library are the proxied ones. */
#define lws_ss_handle			lws_sspc_handle
#define lws_ss_create			lws_sspc_create
#define lws_ss_destroy			lws_sspc_destroy
#define lws_ss_request_tx		lws_sspc_request_tx
#define lws_ss_request_tx_len		lws_sspc_request_tx_len
#define lws_ss_client_connect		lws_sspc_client_connect
#define lws_ss_get_context		lws_sspc_get_context
#define lws_ss_rideshare		lws_sspc_rideshare
#define lws_ss_set_metadata		lws_sspc_set_metadata
#define lws_ss_alloc_set_metadata	lws_sspc_alloc_set_metadata
#define lws_ss_get_metadata		lws_sspc_get_metadata
#define lws_ss_add_peer_tx_credit	lws_sspc_add_peer_tx_credit
#define lws_ss_get_est_peer_tx_credit	lws_sspc_get_est_peer_tx_credit
#define lws_ss_start_timeout		lws_sspc_start_timeout
#define lws_ss_cancel_timeout		lws_sspc_cancel_timeout
#define lws_ss_to_user_object		lws_sspc_to_user_object
#define lws_ss_change_handlers		lws_sspc_change_handlers
#define lws_ss_server_ack		lws_sspc_server_ack
#define lws_ss_validity_confirmed	lws_sspc_validity_confirmed
#define lws_ss_tag			lws_sspc_tag

/* The most payload that an rx callback gets, with what may be around it. */
#define LWS_SS_MTU 1540

/* Counts a stream's tx callbacks. */
typedef uint32_t lws_ss_tx_ordinal_t;

/* What happened to a stream, or to its onward connection. */
typedef enum {
	LWSSSCS_CREATING		= 1,	/* the proxy knows it; once in its life */
	LWSSSCS_DISCONNECTED		= 2,	/* the connection, or the link to the proxy, is lost */
	LWSSSCS_UNREACHABLE		= 3,	/* an attempt to connect failed */
	LWSSSCS_AUTH_FAILED		= 4,
	LWSSSCS_CONNECTED		= 5,
	LWSSSCS_CONNECTING		= 6,
	LWSSSCS_DESTROYING		= 7,	/* the last callback; or the proxy's, see below */
	LWSSSCS_POLL			= 8,	/* the proxy is about to try again */
	LWSSSCS_ALL_RETRIES_FAILED	= 9,
	LWSSSCS_QOS_ACK_REMOTE		= 10,	/* the remote peer has it: a 2xx, a PUBACK */
	LWSSSCS_QOS_NACK_REMOTE		= 11,
	LWSSSCS_QOS_ACK_LOCAL		= 12,
	LWSSSCS_QOS_NACK_LOCAL		= 13,
	LWSSSCS_TIMEOUT			= 14,	/* what lws_ss_start_timeout() started ended */
	LWSSSCS_SERVER_TXN		= 15,
	LWSSSCS_SERVER_UPGRADE		= 16,
	LWSSSCS_EVENT_WAIT_CANCELLED	= 17,
	LWSSSCS_UPSTREAM_LINK_RETRY	= 18,	/* no link to the proxy, for `ack` ms; by the way */
	LWSSSCS_SINK_JOIN		= 19,
	LWSSSCS_SINK_PART		= 20,
	LWSSSCS_USER_BASE		= 1000,	/* from here on: what the policy says */
} lws_ss_constate_t;

/* Flags of payload, both ways. */
enum {
	LWSSS_FLAG_SOM			= 1 << 0,	/* start of a message */
	LWSSS_FLAG_EOM			= 1 << 1,	/* end of a message */
	LWSSS_FLAG_POLL			= 1 << 2,	/* nothing to send; poll for rx */
	LWSSS_FLAG_RELATED_START	= 1 << 3,	/* a group of messages starts */
	LWSSS_FLAG_RELATED_END		= 1 << 4,	/* a group of messages ends */
	LWSSS_FLAG_RIDESHARE		= 1 << 5,
	LWSSS_FLAG_PERF_JSON		= 1 << 6,	/* not payload: how the connection went */
};

/* As `flags` of an info; none of them means anything to a client. */
enum {
	LWSSSINFLAGS_REGISTER_SINK	= 1 << 0,
	LWSSSINFLAGS_PROXIED		= 1 << 1,
	LWSSSINFLAGS_SERVER		= 1 << 2,
	LWSSSINFLAGS_ACCEPTED		= 1 << 3,
	LWSSSINFLAGS_ACCEPTED_SINK	= 1 << 4,
};

/* Payload came, in pieces of no more than 1380 bytes that are there during the call. */
typedef lws_ss_state_return_t (*lws_sscb_rx)(void *userobj, const uint8_t *buf, size_t len,
					     int flags);

/*
 * Payload can be sent: put no more than *len bytes in buf, and set *len and *flags. To send more,
 * request it again, from here or later.
 */
typedef lws_ss_state_return_t (*lws_sscb_tx)(void *userobj, lws_ss_tx_ordinal_t ord, uint8_t *buf,
					     size_t *len, int *flags);

/* Something happened. `h_src` is always NULL. */
typedef lws_ss_state_return_t (*lws_sscb_state)(void *userobj, void *h_src,
						lws_ss_constate_t state, lws_ss_tx_ordinal_t ack);

/* What a stream is to be. Copied, but for what it points to: no need to keep it. */
typedef struct lws_ss_info {
	const char	*streamtype;		/* the name in the proxy's policy; ASCII, 1 to 31 */
	size_t		user_alloc;		/* size of the application's object, made with it */
	size_t		handle_offset;		/* where in that the handle is written */
	size_t		opaque_user_data_offset; /* where in that opaque_user_data is written */
	lws_sscb_rx	rx;			/* the callbacks; each may be NULL */
	lws_sscb_tx	tx;
	lws_sscb_state	state;
	int		manual_initial_tx_credit; /* what the remote peer may send; 0: any amount */
	uint32_t	client_pid;		/* of no effect from here on */
	uint8_t		flags;
	uint8_t		sss_protocol_version;
} lws_ss_info_t;

/* The head of the application's object, up to a closing `} name_t;`. */
#define LWS_SS_USER_TYPEDEF \
	typedef struct { \
		struct lws_ss_handle	*ss; \
		void			*opaque_data;

/* An info `ssi_<type>` for such an object, up to further members and a closing `};`. */
#define LWS_SS_INFO(_streamtype, _type) \
	const lws_ss_info_t ssi_##_type = { \
		.streamtype = _streamtype, \
		.user_alloc = sizeof(_type), \
		.handle_offset = offsetof(_type, ss), \
		.opaque_user_data_offset = offsetof(_type, opaque_data),

#define lws_ss_from_user(_user)		((_user)->ss)
#define lws_ss_opaque_from_user(_user)	((_user)->opaque_data)
#define lws_ss_cx_from_user(_user)	lws_ss_get_context((_user)->ss)

/*
 * Makes a stream, and with it the application's object, which is all 0 but for handle and opaque
 * pointer. 0 if it could be made; then it looks for its link. Where there is none the state callback
 * may be called from here; if that destroys the stream the result is 1. ppss may be NULL, reserved
 * and ppayload_fmt should be.
 */
int lws_sspc_create(struct lws_context_standalone *cx, int tsi, const lws_ss_info_t *ssi,
		    void *opaque_user_data, struct lws_sspc_handle **ppss, void *reserved,
		    const char **ppayload_fmt);

/*
 * Ends a stream and sets the pointer to NULL. In a callback of this very stream it ends after the
 * callback. DESTROYING is its last callback, before which comes DISCONNECTED if it was connected.
 *
 * It also comes when the proxy destroys a stream, for example because its policy changed. Then the handle
 * stays, and the stream goes on with DISCONNECTED, unless the callback destroys it.
 */
void lws_sspc_destroy(struct lws_sspc_handle **ppss);

/* Asks to send; connects if needed. The tx callback comes when it is possible. Always OK. */
lws_ss_state_return_t lws_sspc_request_tx(struct lws_sspc_handle *h);

/* The same for a message of so many bytes, which for instance becomes its content-length. */
lws_ss_state_return_t lws_sspc_request_tx_len(struct lws_sspc_handle *h, unsigned long len);

/* Asks for the onward connection. Always OK. */
lws_ss_state_return_t lws_sspc_client_connect(struct lws_sspc_handle *h);

/*
 * Sets metadata by the policy's name for it, for the stream's life; it is copied. Other than 0 if
 * it cannot be set: an empty value, a name of more than 30 bytes or not ASCII, no memory.
 */
int lws_sspc_set_metadata(struct lws_sspc_handle *h, const char *name, const void *value,
			  size_t len);
static inline int
lws_sspc_alloc_set_metadata(struct lws_sspc_handle *h, const char *name, const void *value,
			    size_t len)
{
	return lws_sspc_set_metadata(h, name, value, len);
}

/*
 * The last value from the proxy, which stays until the next of that name, and has a NUL behind it.
 * Other than 0 if there is none.
 */
int lws_sspc_get_metadata(struct lws_sspc_handle *h, const char *name, const void **value,
			  size_t *len);

/* Lets the remote peer send more, and how much it may send by now. */
int lws_sspc_add_peer_tx_credit(struct lws_sspc_handle *h, int32_t add);
int lws_sspc_get_est_peer_tx_credit(struct lws_sspc_handle *h);

/* Has the proxy report TIMEOUT after so long. */
#define LWSSS_TIMEOUT_FROM_POLICY 0
void lws_sspc_start_timeout(struct lws_sspc_handle *h, unsigned int timeout_ms);
static inline void
lws_sspc_cancel_timeout(struct lws_sspc_handle *h)
{
	lws_sspc_start_timeout(h, 0xffffffff);
}

/* In rx: which streamtype the payload is of. Else, and in tx: of which it is to be. */
const char *lws_sspc_rideshare(struct lws_sspc_handle *h);

/* Sets other callbacks; NULL leaves one as it is. */
void lws_sspc_change_handlers(struct lws_sspc_handle *h, lws_sscb_rx rx, lws_sscb_tx tx,
			      lws_sscb_state state);

void *lws_sspc_to_user_object(struct lws_sspc_handle *h);
struct lws_context_standalone *lws_sspc_get_context(struct lws_sspc_handle *h);

/* A name for the log, such as [sspc|report|2]. */
const char *lws_sspc_tag(struct lws_sspc_handle *h);

/* The name of a state, for the log. */
const char *lws_ss_state_name(lws_ss_constate_t state);

/* Names the streams that there are in the log, a line each, as notices. */
void lws_ss_dump_extant(struct lws_context_standalone *cx, int tsi);

/* It is the proxy that sees to it that the onward connection lives: nothing here. */
static inline void
lws_sspc_validity_confirmed(struct lws_sspc_handle *h)
{
	(void)h;
}

/* For servers; nothing here. */
static inline void
lws_sspc_server_ack(struct lws_sspc_handle *h, int nack)
{
	(void)h;
	(void)nack;
}

#endif
