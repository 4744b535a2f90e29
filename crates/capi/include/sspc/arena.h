/* Memory without a heap. */
#ifndef SSPC_ARENA_H
#define SSPC_ARENA_H

struct sspc_arena;

/*
 * Makes memory an arena, for the member `arena` of a context: all that is made with that context is
 * then in this memory, and malloc() is not used. It is the arena's for as long as any of that
 * exists. NULL if it is too small for anything.
 */
struct sspc_arena *sspc_arena_init(void *memory, size_t bytes);

/* How many bytes of it are free, in all. */
size_t sspc_arena_left(const struct sspc_arena *arena);

#endif
