/*
 * How bytes get from a stream to the proxy and back. A path has an inner and an outer side: a stream
 * is inside, a transport outside, and the mux of sspc/mux.h may be between them.
 */
#ifndef SSPC_TRANSPORT_H
#define SSPC_TRANSPORT_H

struct lws_sspc_handle;
struct lws_transport_mux;
struct lws_transport_client_ops;
struct lws_transport_proxy_ops;
struct sspc_arena;

/* What a callback of the application returns, and with it some of the transport's. */
typedef enum lws_ss_state_return {
	LWSSSSRET_TX_DONT_SEND	= 1,	/* of tx only: there is nothing to send after all */
	LWSSSSRET_OK		= 0,
	LWSSSSRET_DISCONNECT_ME	= -1,	/* the onward connection is to be dropped */
	LWSSSSRET_DESTROY_ME	= -2,	/* the stream is to be destroyed, after the callback */
} lws_ss_state_return_t;

/* Whatever the callbacks of a transport know their link by; NULL means that there is none. */
typedef void *lws_transport_priv_t;

typedef struct lws_txp_path_client {
	const struct lws_transport_client_ops	*ops_in;
	lws_transport_priv_t			priv_in;
	const struct lws_transport_client_ops	*ops_onw;
	lws_transport_priv_t			priv_onw;
	struct lws_transport_mux		*mux;
} lws_txp_path_client_t;

/* Of a proxy; here only so that it can be initialized. */
typedef struct lws_txp_path_proxy {
	const struct lws_transport_proxy_ops	*ops_in;
	lws_transport_priv_t			priv_in;
	const struct lws_transport_proxy_ops	*ops_onw;
	lws_transport_priv_t			priv_onw;
	struct lws_transport_mux		*mux;
} lws_txp_path_proxy_t;

/*
 * One side's operations. Those named event_* are called from the outer side inwards, the others,
 * and event_retry_connect and event_stream_up, from the inner side outwards.
 */
typedef struct lws_transport_client_ops {
	const char *name;

	/*
	 * Open a link for the stream: set path->priv_onw to what the others are to be called with,
	 * and call event_connect_disposition when it is known how that went, now or later. Other
	 * than 0: it failed.
	 */
	int (*event_retry_connect)(lws_txp_path_client_t *path, struct lws_sspc_handle *h);
	/* The stream has its link (0), or could not get it (other). */
	lws_ss_state_return_t (*event_connect_disposition)(struct lws_sspc_handle *h,
							   int disposition);
	/* Call event_can_write as soon as bytes can be written. */
	void (*req_write)(lws_transport_priv_t priv);
	/*
	 * Write all these bytes; there are LWS_PRE more in front of them to be used. Other than 0:
	 * the link is lost.
	 */
	int (*_write)(lws_transport_priv_t priv, uint8_t *buf, size_t len);
	/* These bytes came. */
	lws_ss_state_return_t (*event_read)(lws_transport_priv_t priv, const uint8_t *buf,
					    size_t len);
	/* What comes breaks the protocol. */
	void (*lost_coherence)(lws_transport_priv_t priv);
	/* Close the link. */
	void (*_close)(lws_transport_priv_t priv);
	/* The proxy knows the stream. */
	void (*event_stream_up)(lws_transport_priv_t priv);
	void (*event_client_up)(lws_transport_priv_t priv);
	/* Bytes can be written: no more than this many at a time. */
	lws_ss_state_return_t (*event_can_write)(struct lws_sspc_handle *h, size_t limit);
	/* The link is gone. */
	lws_ss_state_return_t (*event_closed)(lws_transport_priv_t priv);

	/* Of no effect. */
	uint32_t flags;
	uint32_t dsh_splitat;
} lws_transport_client_ops_t;

enum {
	LWS_DSHFLAG_ENABLE_COALESCE	= 1 << 24,
	LWS_DSHFLAG_ENABLE_SPLIT	= 1 << 25,
};

/* A stream's own side of a path. */
extern const lws_transport_client_ops_t lws_txp_inside_sspc;

/*
 * What stands for a context: made by the application, static, all 0 but for the transport of its
 * streams, and the mux if there is one.
 */
struct lws_context_standalone {
	lws_txp_path_client_t	txp_cpath;
	lws_dll2_owner_t	ss_client_owner;	/* the streams */
	uint32_t		ssidx;			/* how many there were */

	/* From here on not in libwebsockets. */
	struct sspc_arena	*arena;			/* where memory comes from; NULL: malloc() */
};

#define lws_transport_path_client_dump(_path, _text) do { (void)(_path); } while (0)

#endif
