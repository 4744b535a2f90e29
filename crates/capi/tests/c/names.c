/* The context by both of its names, as sources written to libwebsockets use them. C++ too. */
#include <libwebsockets.h>

lws_usec_t
lws_now_usecs(void)
{
	return 0;
}

void
lws_sul_schedule(struct lws_context *cx, int tsi, lws_sorted_usec_list_t *sul, sul_cb_t cb,
		 lws_usec_t us)
{
	(void)cx;
	(void)tsi;
	(void)sul;
	(void)cb;
	(void)us;
}

int create(struct lws_context_standalone *cx, const lws_ss_info_t *info);
int
create(struct lws_context_standalone *cx, const lws_ss_info_t *info)
{
	struct lws_ss_handle *h = NULL;
	struct lws_context *same;

	if (lws_ss_create(cx, 0, info, NULL, &h, NULL, NULL))
		return 1;
	same = lws_ss_get_context(h);
	lws_sul_schedule(cx, 0, NULL, NULL, LWS_SET_TIMER_USEC_CANCEL);
	return lws_ss_create(same, 0, info, NULL, &h, NULL, NULL);
}

/* Macros that cast. */
struct member {
	int		before;
	lws_dll2_t	list;
};

int before(lws_dll2_t *d, const lws_dll2_t *other);
int
before(lws_dll2_t *d, const lws_dll2_t *other)
{
	lwsl_info("%d\n", lws_container_of(d, struct member, list)->before);
	return lws_container_of(other, struct member, list)->before + lws_ptr_diff(d, other);
}
