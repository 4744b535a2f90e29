/// Runs a simulation: calls `step` with the time now, again at each time that it returns, until it
/// returns `None`; returns the time of the last step, in µs.
///
/// A time that is not in the future means: again at once, at the same time.
///
/// # Panics
/// `steps` were not enough. A simulation that ends needs few; one that does not is a live-lock.
pub fn drive(start_us: u64, steps: usize, mut step: impl FnMut(u64) -> Option<u64>) -> u64 {
    let mut now_us = start_us;
    for _ in 0..steps {
        match step(now_us) {
            Some(next_us) => now_us = now_us.max(next_us),
            None => return now_us,
        }
    }
    panic!("the simulation is not done after {steps} steps, at {now_us} µs");
}
