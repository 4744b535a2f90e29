use embedded_io_async::{Read, Write};
use sspc::embedded_io_async::{Runner, StreamBuffers, Timer};

type Buffers = StreamBuffers<2048, 1361, 128>;

/// Moves the line's bytes for as long as the device runs.
pub async fn keep_line(
    mut runner: Runner<'_, Buffers>,
    mut rx: impl Read,
    mut tx: impl Write,
    timer: impl Timer, // yours: `now` and `sleep_until`
) {
    let (mut read, mut write) = ([0; 64], [0; 1420]);
    loop {
        // It ends when the driver fails, as UARTs' do at an overrun. The handshake comes again,
        // and the streams live on.
        let _error = runner.run(&mut rx, &mut tx, &timer, &mut read, &mut write).await;
        // A driver that fails again and again keeps nobody else from running.
        timer.sleep_until(timer.now().plus_millis(10)).await;
    }
}
