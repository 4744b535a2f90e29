/* What all the rest needs: the C library, and small macros. */
#ifndef SSPC_BASE_H
#define SSPC_BASE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/* Sources for an operating system rely on these being there. */
#if defined(__unix__) || defined(__APPLE__)
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
/* In strict C it is there only for sources that ask for POSIX. */
#if defined(CLOCK_MONOTONIC)
#define LWS_HAVE_CLOCK_GETTIME 1
#endif
#endif

/* This is the form without a context, an event loop and a network. */
#if !defined(LWS_ONLY_SSPC)
#define LWS_ONLY_SSPC
#endif

/*
 * The only context that there is here is the one which the application makes, so sources may call
 * it by either name, with STANDALONE or without.
 */
#define lws_context lws_context_standalone
struct lws_context_standalone;

#define LWS_LIBRARY_VERSION_MAJOR 4
#define LWS_LIBRARY_VERSION_MINOR 4

#if defined(__GNUC__)
#define LWS_FORMAT(_at) __attribute__((format(printf, _at, _at + 1)))
#define LWS_WARN_UNUSED_RESULT __attribute__((warn_unused_result))
#define LWS_WARN_DEPRECATED __attribute__((deprecated))
#define SSPC_MAYBE_UNUSED __attribute__((unused))
#else
#define LWS_FORMAT(_at)
#define LWS_WARN_UNUSED_RESULT
#define LWS_WARN_DEPRECATED
#define SSPC_MAYBE_UNUSED
#endif
#define LWS_VISIBLE
#define LWS_EXTERN extern
#define LWS_INLINE inline

typedef int lws_sockfd_type;
typedef int lws_filefd_type;

/* The object that a member is in. Not by char *, of whose alignment compilers may warn. */
#define lws_container_of(_member_at, _type, _member) \
	((_type *)((uintptr_t)(_member_at) - offsetof(_type, _member)))

#define LWS_ARRAY_SIZE(_array) (sizeof(_array) / sizeof((_array)[0]))
#define LWS_FOURCC(_a, _b, _c, _d) \
	(((uint32_t)(_a) << 24) | ((uint32_t)(_b) << 16) | ((uint32_t)(_c) << 8) | (uint32_t)(_d))

/* How far one pointer is behind another, in bytes. */
#define lws_ptr_diff(_far, _near) ((int)((const char *)(_far) - (const char *)(_near)))
#define lws_ptr_diff_size_t(_far, _near) ((size_t)((const char *)(_far) - (const char *)(_near)))

/* A transport may write so many bytes in front of those that it is given to write. */
#define LWS_PRE 16

#ifdef __cplusplus
extern "C" {
#endif

/* strncpy() that always ends with a NUL if size is not 0. */
char *lws_strncpy(char *dest, const char *src, size_t size);

/* The same of no more than the first len bytes of src. */
#define lws_strnncpy(_dest, _src, _len, _size) \
	lws_strncpy(_dest, _src, \
		    (size_t)(_len) + 1 < (size_t)(_size) ? (size_t)(_len) + 1 : (size_t)(_size))

/*
 * Not in the library: for sources that bring their own, as the examples of libwebsockets do.
 */
const char *lws_nstrstr(const char *buf, size_t len, const char *name, size_t name_len);
const char *lws_json_simple_find(const char *buf, size_t len, const char *name, size_t *alen);

#ifdef __cplusplus
}
#endif

#endif
