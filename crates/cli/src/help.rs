//! The longer texts of the help.

pub(crate) const TOP_SHORT: &str = "\
Try `sspc demo` first. `sspc COMMAND --help` has examples.";

pub(crate) const TOP_LONG: &str = "\
Examples:
  sspc demo
      See everything at work, without any set-up.

  sspc proxy &
  sspc cat __default --meta endpoint=https://example.com/
      Fetch a page through a proxy with the embedded policy.

  sspc policy check policy.json
  sspc proxy --policy policy.json
      Check a policy, then run a proxy with it.

Exit codes:
  0  done
  1  failed; stderr says what and why
  2  the command line is wrong
  `sspc cat` has more, see `sspc cat --help`.";

pub(crate) const PROXY: &str = "\
Examples:
  sspc proxy
      The embedded policy, on the default address.

  sspc proxy --policy policy.json --overlay site.json -v
      A policy, with a site's changes on top; logs what happens.

  sspc proxy -p policy.json -l 'uds:/run/sspc.sock?mode=0660' -l tcp:127.0.0.1:7681
      Two listeners.

  sspc proxy -p policy.json -l 'serial:/dev/ttyS1?baud=2000000&profile=fast'
      For a device at the other end of a serial line.

Signals:
  SIGHUP           reads policy and overlays again, for new streams; if they are wrong, says
                   so and keeps the old ones
  SIGTERM, SIGINT  accepts no more clients, lets streams finish for --grace seconds, exits
                   with 0; a second one ends at once, with 143 or 130

Service managers:
  Type=notify: READY, RELOADING and STOPPING are sent to $NOTIFY_SOCKET.
  Sockets passed by $LISTEN_FDS are used, Unix and TCP; each --listen is added to them. With
  passed sockets and no --listen, the default address is not used.

Exit codes:
  0  ended by a signal, and drained
  1  the policy is wrong or an address cannot be listened on; nothing was served
  2  the command line is wrong";

pub(crate) const CAT: &str = "\
Examples:
  sspc cat __default --meta endpoint=https://example.com/ > page.html
      Fetch a page.

  sspc cat upload --data photo.jpg --states
      Send a file, and see the states.

  sspc cat ticker --proxy 'serial:/dev/ttyUSB0?baud=2000000&profile=fast'
      Through the proxy at the other end of a serial line.

  date | sspc cat log --data -
      Send what another program prints.

  sspc cat ticker --count 10 --timeout 30
      The next ten messages, if they come within 30 seconds.

Exit codes:
  0    acknowledged or complete
  1    other failure
  2    the command line is wrong
  4    refused by the remote peer (QOS_NACK_REMOTE)
  5    the remote peer is unreachable, or all retries failed
  6    the proxy refuses this streamtype
  7    timeout
  8    no proxy, or it is gone before the stream was complete
  130  interrupted by Ctrl-C; 143 by SIGTERM

Without retries in the policy a proxy may say UNREACHABLE and no more. So, if no retry begins
within 5 seconds of the first UNREACHABLE, that is the end: exit code 5.

A reader that closes stdout early ends the stream quietly, with exit code 0.";

pub(crate) const BRIDGE: &str = "\
Examples:
  sspc bridge --proxy 'serial:/dev/ttyUSB0?baud=2000000&profile=fast'
      Every program on this machine that looks for a proxy finds the gateway's.

  sspc bridge -p serial:/dev/ttyS1 -l uds:@proxy.ss.lws -l 'uds:/run/sspc.sock?mode=0660' -v
      Two listeners on a line of 115,200 baud; logs link and connections.

While the link is down a new connection waits for it, 2.5 seconds at most, and is closed if it does
not come up. When the link is lost the connections are closed, which is how clients learn of it;
they connect again. The serial port may go and come back.

A program that stops reading, or sends more than its server takes, holds up nobody else: the
bridge manages credit for programs that do not.

Signals:
  SIGTERM, SIGINT  close every connection and exit with 0

Service managers:
  Type=notify: READY and STOPPING are sent to $NOTIFY_SOCKET.
  Sockets passed by $LISTEN_FDS are used, Unix and TCP; each --listen is added to them. With
  passed sockets and no --listen, the default address is not used.

Exit codes:
  0  ended by a signal
  1  the port or an address is of no use; nothing was served
  2  the command line is wrong";

pub(crate) const PING: &str = "\
Examples:
  sspc ping 'serial:/dev/ttyUSB0?baud=2000000&profile=fast'
      Once a second, until Ctrl-C.

  sspc ping serial:/dev/ttyS1 -c 5 -i 0.2 && echo reachable

  sspc ping tcp:gateway:7681 -c 1
      Whether somebody listens there.

A serial port is used by one program at a time: while a bridge or a client has it, look at what
they log (-v).

Exit codes:
  0  at least one was answered
  1  the port is of no use
  2  the command line is wrong
  8  none was answered";

pub(crate) const CHECK: &str = "\
Examples:
  sspc policy check policy.json
  sspc policy check policy.json --overlay site.json
  generate-policy | sspc policy check -

Exit codes:
  0  no errors; there may be warnings
  1  errors, or a file that cannot be read
  2  the command line is wrong";

pub(crate) const SHOW: &str = "\
Examples:
  sspc policy show policy.json
  sspc policy show policy.json --overlay site.json mintest

Exit codes:
  0  shown
  1  the policy has errors, or no such streamtype
  2  the command line is wrong";

pub(crate) const DECODE: &str = "\
Examples:
  sspc decode recording.jsonl
      Both directions of each connection: → is to the proxy, ← is to the client.

  sspc decode --mux line.jsonl
      A serial line: frames of the mux, and below them those of the streams.

  sspc decode --mux - < /dev/ttyUSB0
      What comes over a line now, with the seconds since the start. The line has to be raw:
      stty -F /dev/ttyUSB0 raw 115200

  echo '57 0005 06 00000000' | sspc decode --hex -
      Bytes by hand.

Faults are lines of their own and tell at which byte of the direction, or of the channel, the
frame begins that is wrong. One frame that is wrong is skipped; after two in a row that stream is
not decoded any further. On a line of the mux, frames are found again at the next PING.

Exit codes:
  0  all decoded
  1  faults were found, or the input cannot be read
  2  the command line is wrong";

pub(crate) const TAP: &str = "\
Examples:
  sspc tap uds:@tap uds:@proxy.ss.lws
      What passes between a proxy and every client that uses uds:@tap.

  sspc tap pty:/tmp/device pty:/tmp/proxy --rate 115200 --flip 50 --seed 7
      A serial line of 115,200 baud that flips one bit in 20,000 bytes: one program opens
      /tmp/device as its port, the other /tmp/proxy.

  sspc tap pty:/tmp/device serial:/dev/ttyUSB0?baud=921600 --record line.jsonl --quiet
      Records a real line, to be read with `sspc decode --mux line.jsonl`.

  sspc tap uds:@tap uds:@proxy.ss.lws --delay 50ms --jitter 20ms --rate p2c:1000000 --cut 10s:1s
      A far proxy, slow to answer, lost after ten seconds for one.

Commands, one a line, with --control:
  cut [TIME]        cuts the wire, for this long or until `restore`
  restore           mends it
  flip 100, drop c2p:10, double 5, burst 10:32, delay 20ms, jitter 5ms
                    as the options; 0 turns it off
  rate 9600         the same; `rate off` for no limit
  stats             says on stderr what passed and what was harmed so far
  quit              ends, as SIGTERM does

Cut, the wire loses what is under way and what is sent. Sockets are closed, and those of new
clients at once. A pseudo-terminal or a port stays open, as with a pulled cable.

Signals:
  SIGUSR1          cuts the wire, or mends it
  SIGTERM, SIGINT  end it in order, with 0; a second one ends at once, with 143 or 130

Exit codes:
  0  ended by a signal or by `quit`
  1  an end or the recording is of no use, or was lost
  2  the command line is wrong";

pub(crate) const DEMO: &str = "\
Examples:
  sspc demo
  sspc demo --serve demo.json &   # the demo's origin, for a proxy and a device of yours
  sspc proxy -p demo.json -l serial:/dev/ttyUSB0

Times and rates are shown and not judged: a busy machine makes it slower, not wrong.

Exit codes:
  0  every byte was right
  1  something differed; the output says what";

pub(crate) const COMPLETIONS: &str = "\
Examples:
  sspc completions bash > ~/.local/share/bash-completion/completions/sspc
  sspc completions zsh > ~/.zfunc/_sspc
  sspc completions fish > ~/.config/fish/completions/sspc.fish";
