/*
 * Secure Streams for C, from sspc: the client and its mux, with the API that libwebsockets has in
 * its LWS_ONLY_SSPC form. Sources written to that include this and link libsspc.a. docs/c.md is the
 * guide, and says what differs.
 *
 * Four functions come from the firmware: lws_now_usecs(), lws_sul_schedule() and lws_sul_cancel()
 * of sspc/time.h, and __lws_logv() of sspc/log.h.
 */
#ifndef SSPC_LIBWEBSOCKETS_H
#define SSPC_LIBWEBSOCKETS_H

#include "sspc/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#include "sspc/list.h"
#include "sspc/time.h"
#include "sspc/log.h"
#include "sspc/arena.h"
#include "sspc/transport.h"
#include "sspc/streams.h"
#include "sspc/mux.h"

#ifdef __cplusplus
}
#endif

#endif
