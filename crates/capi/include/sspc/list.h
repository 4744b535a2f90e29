/*
 * Lists whose links are inside what they list. An element that is all 0 is in no list, a list that
 * is all 0 is empty.
 */
#ifndef SSPC_LIST_H
#define SSPC_LIST_H

struct lws_dll2_owner;

typedef struct lws_dll2 {
	struct lws_dll2		*prev;
	struct lws_dll2		*next;
	struct lws_dll2_owner	*owner;
} lws_dll2_t;

typedef struct lws_dll2_owner {
	struct lws_dll2		*tail;
	struct lws_dll2		*head;
	uint32_t		count;
} lws_dll2_owner_t;

static inline struct lws_dll2 *
lws_dll2_get_head(struct lws_dll2_owner *owner)
{
	return owner->head;
}

static inline struct lws_dll2 *
lws_dll2_get_tail(struct lws_dll2_owner *owner)
{
	return owner->tail;
}

/* In C++ the function and the type of this name may live side by side, of which g++ may warn. */
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
static inline const struct lws_dll2_owner *
lws_dll2_owner(const struct lws_dll2 *d)
{
	return d->owner;
}
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

/* 1 if the element is in no list. One that is in a list can be added to none. */
static inline int
lws_dll2_is_detached(const struct lws_dll2 *d)
{
	return !d->owner;
}

void lws_dll2_add_head(struct lws_dll2 *d, struct lws_dll2_owner *owner);
void lws_dll2_add_tail(struct lws_dll2 *d, struct lws_dll2_owner *owner);
void lws_dll2_add_before(struct lws_dll2 *d, struct lws_dll2 *after);
void lws_dll2_add_insert(struct lws_dll2 *d, struct lws_dll2 *prev);

/* In front of the first element for which compare(that, d) is 0 or more. */
void lws_dll2_add_sorted(lws_dll2_t *d, lws_dll2_owner_t *owner,
			 int (*compare)(const lws_dll2_t *d, const lws_dll2_t *i));
void lws_dll2_add_sorted_priv(lws_dll2_t *d, lws_dll2_owner_t *owner, void *priv,
			      int (*compare3)(void *priv, const lws_dll2_t *d,
					      const lws_dll2_t *i));

/* Takes the element out of its list, if it is in one. */
void lws_dll2_remove(struct lws_dll2 *d);

/* Makes it all 0. */
static inline void
lws_dll2_clear(struct lws_dll2 *d)
{
	d->prev = d->next = NULL;
	d->owner = NULL;
}

static inline void
lws_dll2_owner_clear(struct lws_dll2_owner *owner)
{
	owner->tail = owner->head = NULL;
	owner->count = 0;
}

typedef int (*lws_dll2_foreach_cb_t)(struct lws_dll2 *d, void *user);

/* Stops when the callback, which may remove its element, returns other than 0; then returns 1. */
int lws_dll2_foreach_safe(struct lws_dll2_owner *owner, void *user, lws_dll2_foreach_cb_t cb);

void *_lws_dll2_search_sz_pl(lws_dll2_owner_t *owner, const char *name, size_t namelen,
			     size_t dll2_ofs, size_t ptr_ofs);

/* The object of a list of _type whose string member _name_member is this name, or NULL. */
#define lws_dll2_search_sz_pl(_owner, _name, _namelen, _type, _list_member, _name_member) \
	((_type *)_lws_dll2_search_sz_pl(_owner, _name, _namelen, offsetof(_type, _list_member), \
					 offsetof(_type, _name_member)))

#define lws_dll2_describe(_owner, _text)

/* Loops over a list: `_start` is its head, `_it` each element. In the safe one `_it` may go. */
#define lws_start_foreach_dll(_type, _it, _start) \
	for (_type _it = (_start); _it; _it = (_it)->next) {
#define lws_end_foreach_dll(_it) \
	}

#define lws_start_foreach_dll_safe(_type, _it, _next, _start) \
	{ \
		_type _it = (_start); \
		_type _next; \
		for (; _it; _it = _next) { \
			_next = (_it)->next;
#define lws_end_foreach_dll_safe(_it, _next) \
		} \
	}

#endif
