//! Budgets.

use sspc_mux::{Config, Mux, Role};

#[test]
fn a_mux_takes_512_bytes_or_less() {
    assert!(size_of::<Mux>() <= 512, "{} bytes", size_of::<Mux>());
}

#[test]
fn a_mux_can_be_made_at_compile_time() {
    static MUX: Mux = Mux::new(Role::Client, Config::DEFAULT, 1);
    assert!(!MUX.is_up());
}

#[test]
fn frames_are_short_on_a_slow_line() {
    // 9,600 baud: 960 bytes a second, an eighth of 2 s.
    assert_eq!(Config::DEFAULT.for_line(9600).frame_max, 240);
    assert_eq!(Config::DEFAULT.for_line(115_200).frame_max, 1380);
    assert_eq!(Config::FAST.for_line(1_000_000).frame_max, 1380);
    assert_eq!(Config::FAST.for_line(0).frame_max, 32);
}
