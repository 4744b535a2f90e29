/* All tests, in the order in which they run. */
#ifndef TESTS_H
#define TESTS_H

#include "rig.h"

#define TESTS(_test) \
	_test(get) _test(many_messages_of_two_streams) _test(long_payload) _test(post) \
	_test(commands_while_sending) _test(timeouts_and_credit) \
	_test(system_messages) _test(no_more_than_the_credit) _test(link_lost_and_found) \
	_test(created_before_the_link) _test(unknown_streamtype) \
	_test(channels_refused_or_not_answered) _test(nonsense_in_a_channel) \
	_test(destroyed_in_its_callbacks) _test(destroyed_by_another) \
	_test(created_in_callbacks) _test(disconnected_by_its_callbacks) \
	_test(mux_destroyed_before_its_streams) _test(long_metadata) _test(rideshares) \
	_test(performance_reports) _test(destroyed_by_the_proxy) _test(small_things) \
	_test(no_more_wakeups_than_needed) _test(lists) _test(out_of_memory) \
	_test(direct_transport) _test(everything_arrives) _test(chance)

#define TESTS_DECLARE(_name) void _name(void);
TESTS(TESTS_DECLARE)

#endif
