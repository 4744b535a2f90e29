/* Time and timers, whose functions the firmware provides. */
#ifndef SSPC_TIME_H
#define SSPC_TIME_H

/* A moment or a time, in microseconds. */
typedef int64_t lws_usec_t;

#define LWS_US_PER_SEC		((lws_usec_t)1000000)
#define LWS_USEC_PER_SEC	LWS_US_PER_SEC
#define LWS_MS_PER_SEC		((lws_usec_t)1000)
#define LWS_US_PER_MS		((lws_usec_t)1000)
#define LWS_NS_PER_US		((lws_usec_t)1000)
#define LWS_NS_PER_SEC		((lws_usec_t)1000000000)
#define LWS_US_TO_MS(_us)	(((_us) + LWS_US_PER_MS / 2) / LWS_US_PER_MS)

/* As the wait of lws_sul_schedule(): the timer is to be cancelled. */
#define LWS_SET_TIMER_USEC_CANCEL ((lws_usec_t)-1)

struct lws_sorted_usec_list;

typedef void (*sul_cb_t)(struct lws_sorted_usec_list *sul);

/* A timer. All 0 it is not set. */
typedef struct lws_sorted_usec_list {
	struct lws_dll2	list;		/* in the firmware's list of timers; the first member */
	lws_usec_t	us;		/* when it is due */
	sul_cb_t	cb;
	uint32_t	latency_us;	/* how much later it may come; the library sets 0 */
} lws_sorted_usec_list_t;

/* From the firmware: the time, from any start, which never goes back. */
lws_usec_t lws_now_usecs(void);

/*
 * From the firmware: sets a timer, or resets it. When the time is over its event loop takes it
 * out of its list and calls back, outside of any function of this library.
 */
void lws_sul_schedule(struct lws_context_standalone *cx, int tsi, lws_sorted_usec_list_t *sul,
		      sul_cb_t cb, lws_usec_t us);

/* From the firmware: the timer is not to call back; nothing if it is not set. */
void lws_sul_cancel(lws_sorted_usec_list_t *sul);

#endif
