/*
 * The mux: many streams over one line of bytes, such as a UART, with supervision of the line. It is
 * the transport of the streams, and has the firmware's as its own.
 *
 * To wire it up: a context whose txp_cpath.ops_onw is &lws_transport_mux_client_ops; an info whose
 * txp_cpath.ops_onw is the firmware's transport; lws_transport_mux_create(); and the mux as the
 * context's txp_cpath.mux. Of the firmware's transport only req_write and _write are called.
 */
#ifndef SSPC_MUX_H
#define SSPC_MUX_H

typedef uint8_t lws_mux_ch_idx_t;

/* Of a channel's `state`. */
enum {
	LWSTMC_PENDING_CREATE_CHANNEL		= 0,
	LWSTMC_AWAITING_CREATE_CHANNEL_ACK	= 1,
	LWSTMC_PENDING_CREATE_CHANNEL_NACK	= 2,	/* not used */
	LWSTMC_PENDING_CREATE_CHANNEL_ACK	= 3,	/* not used */
	LWSTMC_OPERATIONAL			= 4,
	LWSTMC_PENDING_CLOSE_CHANNEL		= 5,
	LWSTMC_AWAITING_CLOSE_CHANNEL_ACK	= 6,	/* not used */
	LWSTMC_PENDING_CLOSE_CHANNEL_ACK	= 7,	/* not used */
};

/* A channel, by the side of the stream that has it. */
typedef struct lws_transport_mux_ch {
	lws_dll2_t		list;		/* in the mux's `owner` */
	lws_transport_priv_t	priv;		/* the stream, or NULL */
	void			*opaque;	/* for the application */
	lws_mux_ch_idx_t	ch_idx;
	uint8_t			state;
	uint8_t			sspc_todo;	/* private */
} lws_transport_mux_ch_t;

/* Of a mux's `link_state`. */
enum {
	LWSTM_TRANSPORT_DOWN	= 0,
	LWSTM_OPERATIONAL	= 1,
};

#define LWSTMINFO_SERVER (1 << 0)

typedef struct lws_transport_info {
	uint32_t			ping_interval_us; /* a PING so long after the last answer */
	uint32_t			pong_grace_us;	/* and its answer in this time; 0: default */
	lws_txp_path_client_t		txp_cpath;
	lws_txp_path_proxy_t		txp_ppath;	/* of no effect from here on */
	struct lws_transport_info	*onward_txp_info;
	uint32_t			flags;
} lws_transport_info_t;

/* A mux; more follows, so it is always lws_transport_mux_create() that makes one. */
typedef struct lws_transport_mux {
	struct lws_context_standalone	*cx;
	lws_transport_info_t		info;		/* a copy */
	void				*txp_handle;
	void				*txp_aux;	/* for the application */
	uint64_t			us_unixtime_peer; /* the proxy's clock, us since 1970; 0 */
	uint64_t			us_unixtime_peer_loc; /* and lws_now_usecs() at that time */
	lws_dll2_owner_t		owner;		/* the channels */
	uint8_t				link_state;
} lws_transport_mux_t;

#define assert_is_tm(_mux)	((void)(_mux))
#define assert_is_tmch(_ch)	((void)(_ch))

/* What is done with what the mux reads and has to write; lws_transport_mux_client_ops has its own. */
typedef struct lws_txp_mux_parse_cbs {
	/* Bytes of a channel; other than 0 to close it. */
	int (*payload)(lws_transport_mux_ch_t *ch, const uint8_t *buf, size_t len);
	/* A channel is open (0), or could not be opened (other): tell the stream. */
	int (*ch_opens)(lws_transport_mux_ch_t *ch, int determination);
	/* A channel was closed; the stream is called in any case. */
	int (*ch_closes)(lws_transport_mux_ch_t *ch);
	/* There may be more to write. */
	void (*txp_req_write)(lws_transport_mux_t *mux);
	/* The channel may write: call lws_txp_inside_sspc.event_can_write(). */
	int (*txp_can_write)(lws_transport_mux_ch_t *ch);
} lws_txp_mux_parse_cbs_t;

/* Makes a mux; NULL if there is no memory. It shakes hands as soon as the event loop runs. */
lws_transport_mux_t *lws_transport_mux_create(struct lws_context_standalone *cx,
					      lws_transport_info_t *info, void *txp_handle);

/* Ends a mux and sets the pointer to NULL. Streams that are left have no link from then on. */
void lws_transport_mux_destroy(lws_transport_mux_t **mux);

/* Asks the mux's transport for a chance to write. */
void lws_transport_mux_request_tx(lws_transport_mux_t *mux);

/* Bytes came from the line; lws_transport_mux_client_ops.event_read() is the same. Always 0. */
int lws_transport_mux_rx_parse(lws_transport_mux_t *mux, const uint8_t *buf, size_t len,
			       const lws_txp_mux_parse_cbs_t *cbs);

/*
 * The line can take bytes: puts no more than *len, which is to be 64 or more, in buf and sets *len.
 * 0 if there is nothing to write. Give the line no more than it needs to stay busy: what is urgent
 * is put in first.
 */
int lws_transport_mux_pending(lws_transport_mux_t *mux, uint8_t *buf, size_t *len,
			      const lws_txp_mux_parse_cbs_t *cbs);

/*
 * Packets on the mux's line, so that what it loses, changes or doubles costs time and nothing else; not
 * one of libwebsockets' functions, and in the library if it was built with --features arq. Call it once,
 * before the event loop runs.
 *
 * The proxy may know packets or not; with `reliable` other than 0 one that does not is not spoken to.
 * Both buffers stay the mux's as long as it is there. In `packet` one comes: the longest payload, which
 * the proxy learns, and 6 bytes. `sent` has what is not acknowledged yet: 65 bytes or more; what a round
 * trip of the line carries keeps it busy. Other than 0 if a buffer is too short.
 */
int sspc_mux_packets(lws_transport_mux_t *mux, uint8_t *packet, size_t packet_len,
		     uint8_t *sent, size_t sent_len, int reliable);

/* The mux as a transport of streams. */
extern const lws_transport_client_ops_t lws_transport_mux_client_ops;

#endif
