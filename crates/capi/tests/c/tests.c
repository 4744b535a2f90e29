/* Runs all tests, or the one that is named, in all sizes of buffers, with malloc and an arena. */
#include "tests.h"

void
lists(void)
{
	struct item { const char *name; lws_dll2_t list; } items[3] = {
		{ .name = "a" }, { .name = "bb" }, { .name = "c" } };
	lws_dll2_owner_t owner = { 0 };
	int n = 0;

	lws_dll2_add_tail(&items[1].list, &owner);
	lws_dll2_add_head(&items[0].list, &owner);
	lws_dll2_add_head(&items[0].list, &owner);
	lws_dll2_add_insert(&items[2].list, &items[1].list);
	CHECK(owner.count == 3 && lws_dll2_get_tail(&owner) == &items[2].list);
	lws_start_foreach_dll(struct lws_dll2 *, d, lws_dll2_get_head(&owner)) {
		CHECK(lws_container_of(d, struct item, list) == &items[n++]);
		CHECK(lws_dll2_owner(d) == &owner);
	} lws_end_foreach_dll(d);
	CHECK(n == 3);
	CHECK(lws_dll2_search_sz_pl(&owner, "bbb", 2, struct item, list, name) == &items[1]);
	CHECK(!lws_dll2_search_sz_pl(&owner, "b", 1, struct item, list, name));
	lws_dll2_remove(&items[1].list);
	lws_dll2_remove(&items[1].list);
	CHECK(lws_dll2_is_detached(&items[1].list) && items[0].list.next == &items[2].list);
	lws_dll2_add_before(&items[1].list, &items[0].list);
	CHECK(owner.head == &items[1].list);
	lws_start_foreach_dll_safe(struct lws_dll2 *, d, d1, lws_dll2_get_head(&owner)) {
		lws_dll2_remove(d);
	} lws_end_foreach_dll_safe(d, d1);
	CHECK(!owner.count && !owner.head && !owner.tail);
}

/* No memory: what cannot be made fails, what is there goes on. */
void
out_of_memory(void)
{
	struct lws_ss_handle *h;
	app_t *apps[64];
	static char value[40000];
	size_t n = 0, m;

	if (!with_arena)
		return;
	CHECK(!sspc_arena_init(value, 8));
	rig_start(PEER_CONNECTS);
	for (;;) {
		lws_ss_info_t ssi = ssi_app_t;

		if (lws_ss_create(&rig.cx, 0, &ssi, NULL, &h, NULL, NULL))
			break;
		apps[n++] = lws_ss_to_user_object(h);
		CHECK(n < LWS_ARRAY_SIZE(apps));
	}
	CHECK(n);
	CHECK(strstr(rig.log.at, "no memory"));
	CHECK(lws_ss_set_metadata(apps[0]->ss, "name", value, sizeof(value)));
	connects(apps[0]);
	rig_run(SECOND);
	for (m = 0; m < n; m++)
		destroy(apps[m]);
	rig_run(SECOND);
	rig_stop();
}

static const struct { const char *name; void (*run)(void); } tests[] = {
#define TEST(_name) { #_name, _name },
	TESTS(TEST)
};

int
main(int argc, const char **argv)
{
	static const size_t sizes[][2] = { { 2048, 2048 }, { 1, 256 }, { 7, 64 }, { 300, 1500 } };
	size_t n, s;

	for (n = 0; n < LWS_ARRAY_SIZE(tests); n++) {
		if (argc > 1 && strcmp(argv[1], tests[n].name))
			continue;
		for (s = 0; s < LWS_ARRAY_SIZE(sizes); s++)
			for (with_arena = 0; with_arena < 2; with_arena++) {
				rig.chunk = sizes[s][0];
				rig.room = sizes[s][1];
				tests[n].run();
			}
		printf("ok %s\n", tests[n].name);
		fflush(stdout);
	}
	return 0;
}
