/* The log, of which the firmware provides one function. */
#ifndef SSPC_LOG_H
#define SSPC_LOG_H

#define LLL_ERR		(1 << 0)
#define LLL_WARN	(1 << 1)
#define LLL_NOTICE	(1 << 2)
#define LLL_INFO	(1 << 3)
#define LLL_DEBUG	(1 << 4)
#define LLL_PARSER	(1 << 5)
#define LLL_HEADER	(1 << 6)
#define LLL_EXT		(1 << 7)
#define LLL_CLIENT	(1 << 8)
#define LLL_LATENCY	(1 << 9)
#define LLL_USER	(1 << 10)
#define LLL_THREAD	(1 << 11)
#define LLL_COUNT	12

/*
 * Which levels are compiled in. LWS_WITH_NO_LOGS leaves errors and LLL_USER; a firmware may add and
 * remove levels with LWS_LOGGING_BITFIELD_SET and LWS_LOGGING_BITFIELD_CLEAR.
 */
#if defined(LWS_WITH_NO_LOGS)
#define SSPC_LOGS_DEFAULT (LLL_ERR | LLL_USER)
#elif defined(_DEBUG)
#define SSPC_LOGS_DEFAULT ((1 << LLL_COUNT) - 1)
#else
#define SSPC_LOGS_DEFAULT (LLL_ERR | LLL_WARN | LLL_NOTICE | LLL_USER)
#endif
#if !defined(LWS_LOGGING_BITFIELD_SET)
#define LWS_LOGGING_BITFIELD_SET 0
#endif
#if !defined(LWS_LOGGING_BITFIELD_CLEAR)
#define LWS_LOGGING_BITFIELD_CLEAR 0
#endif
#define _LWS_ENABLED_LOGS \
	((SSPC_LOGS_DEFAULT | (LWS_LOGGING_BITFIELD_SET)) & ~(LWS_LOGGING_BITFIELD_CLEAR))

struct lws_sspc_handle;

/* Always NULL here. */
struct lws_log_cx;
typedef struct lws_log_cx lws_log_cx_t;

/* Writes what comes in front of a line about obj to *p, which it moves, and no further than end. */
typedef void (*lws_log_prepend_cx_t)(struct lws_log_cx *cx, void *obj, char **p, char *end);

/*
 * From the firmware: a line for the log, of one level. It may have to be ended. If prep and obj are
 * not NULL then prep writes what comes in front, a stream's tag.
 */
void __lws_logv(lws_log_cx_t *cx, lws_log_prepend_cx_t prep, void *obj, int level, const char *fun,
		const char *format, va_list ap);

/* From the firmware, if it logs with lwsl_hexdump_*(). */
void lwsl_hexdump_level(int level, const void *bytes, size_t len);

/* The tag of a stream. */
void lws_log_prepend_sspc(struct lws_log_cx *cx, void *obj, char **p, char *end);

static inline struct lws_log_cx *
lwsl_sspc_get_cx(struct lws_sspc_handle *h)
{
	(void)h;
	return NULL;
}

SSPC_MAYBE_UNUSED static void
_lws_logv(int level, const char *format, va_list ap)
{
	__lws_logv(NULL, NULL, NULL, level, NULL, format, ap);
}

SSPC_MAYBE_UNUSED LWS_FORMAT(2) static void
_lws_log(int level, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	__lws_logv(NULL, NULL, NULL, level, NULL, format, ap);
	va_end(ap);
}

SSPC_MAYBE_UNUSED LWS_FORMAT(6) static void
_lws_log_cx(lws_log_cx_t *cx, lws_log_prepend_cx_t prep, void *obj, int level, const char *fun,
	    const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	__lws_logv(cx, prep, obj, level, fun, format, ap);
	va_end(ap);
}

/* What is not compiled in still has its arguments checked. */
#define SSPC_LOG(_level, ...) \
	do { \
		if (_LWS_ENABLED_LOGS & (_level)) \
			_lws_log(_level, __VA_ARGS__); \
	} while (0)
#define lwsl_sspc(_h, _level, ...) \
	do { \
		if (_LWS_ENABLED_LOGS & (_level)) \
			_lws_log_cx(lwsl_sspc_get_cx(_h), lws_log_prepend_sspc, _h, _level, \
				    __func__, __VA_ARGS__); \
	} while (0)
#define lwsl_hexdump_sspc(_h, _level, _bytes, _len) \
	do { \
		(void)(_h); \
		if (_LWS_ENABLED_LOGS & (_level)) \
			lwsl_hexdump_level(_level, _bytes, _len); \
	} while (0)

#define lwsl_err(...)		SSPC_LOG(LLL_ERR, __VA_ARGS__)
#define lwsl_warn(...)		SSPC_LOG(LLL_WARN, __VA_ARGS__)
#define lwsl_notice(...)	SSPC_LOG(LLL_NOTICE, __VA_ARGS__)
#define lwsl_info(...)		SSPC_LOG(LLL_INFO, __VA_ARGS__)
#define lwsl_debug(...)		SSPC_LOG(LLL_DEBUG, __VA_ARGS__)
#define lwsl_parser(...)	SSPC_LOG(LLL_PARSER, __VA_ARGS__)
#define lwsl_header(...)	SSPC_LOG(LLL_HEADER, __VA_ARGS__)
#define lwsl_ext(...)		SSPC_LOG(LLL_EXT, __VA_ARGS__)
#define lwsl_client(...)	SSPC_LOG(LLL_CLIENT, __VA_ARGS__)
#define lwsl_latency(...)	SSPC_LOG(LLL_LATENCY, __VA_ARGS__)
#define lwsl_user(...)		SSPC_LOG(LLL_USER, __VA_ARGS__)
#define lwsl_thread(...)	SSPC_LOG(LLL_THREAD, __VA_ARGS__)

#define lwsl_sspc_err(_h, ...)		lwsl_sspc(_h, LLL_ERR, __VA_ARGS__)
#define lwsl_sspc_warn(_h, ...)		lwsl_sspc(_h, LLL_WARN, __VA_ARGS__)
#define lwsl_sspc_notice(_h, ...)	lwsl_sspc(_h, LLL_NOTICE, __VA_ARGS__)
#define lwsl_sspc_info(_h, ...)		lwsl_sspc(_h, LLL_INFO, __VA_ARGS__)
#define lwsl_sspc_debug(_h, ...)	lwsl_sspc(_h, LLL_DEBUG, __VA_ARGS__)
#define lwsl_sspc_user(_h, ...)		lwsl_sspc(_h, LLL_USER, __VA_ARGS__)

#define lwsl_ss			lwsl_sspc
#define lwsl_ss_get_cx		lwsl_sspc_get_cx
#define lwsl_ss_err		lwsl_sspc_err
#define lwsl_ss_warn		lwsl_sspc_warn
#define lwsl_ss_notice		lwsl_sspc_notice
#define lwsl_ss_info		lwsl_sspc_info
#define lwsl_ss_debug		lwsl_sspc_debug
#define lwsl_ss_user		lwsl_sspc_user

#define lwsl_hexdump_err(...)		lwsl_hexdump_if(LLL_ERR, __VA_ARGS__)
#define lwsl_hexdump_warn(...)		lwsl_hexdump_if(LLL_WARN, __VA_ARGS__)
#define lwsl_hexdump_notice(...)	lwsl_hexdump_if(LLL_NOTICE, __VA_ARGS__)
#define lwsl_hexdump_info(...)		lwsl_hexdump_if(LLL_INFO, __VA_ARGS__)
#define lwsl_hexdump_debug(...)		lwsl_hexdump_if(LLL_DEBUG, __VA_ARGS__)
#define lwsl_hexdump_if(_level, _bytes, _len) lwsl_hexdump_sspc(NULL, _level, _bytes, _len)

#define lwsl_hexdump_sspc_err(_h, ...)		lwsl_hexdump_sspc(_h, LLL_ERR, __VA_ARGS__)
#define lwsl_hexdump_sspc_warn(_h, ...)		lwsl_hexdump_sspc(_h, LLL_WARN, __VA_ARGS__)
#define lwsl_hexdump_sspc_notice(_h, ...)	lwsl_hexdump_sspc(_h, LLL_NOTICE, __VA_ARGS__)
#define lwsl_hexdump_sspc_info(_h, ...)		lwsl_hexdump_sspc(_h, LLL_INFO, __VA_ARGS__)
#define lwsl_hexdump_sspc_debug(_h, ...)	lwsl_hexdump_sspc(_h, LLL_DEBUG, __VA_ARGS__)
#define lwsl_hexdump_ss				lwsl_hexdump_sspc
#define lwsl_hexdump_ss_err			lwsl_hexdump_sspc_err
#define lwsl_hexdump_ss_warn			lwsl_hexdump_sspc_warn
#define lwsl_hexdump_ss_notice			lwsl_hexdump_sspc_notice
#define lwsl_hexdump_ss_info			lwsl_hexdump_sspc_info
#define lwsl_hexdump_ss_debug			lwsl_hexdump_sspc_debug

#endif
