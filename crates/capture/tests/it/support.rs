//! Captures that a test makes, and what tshark says of them.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use sspc_capture::{CaptureFile, CaptureLayer, CapturedFrame, Source};
use sspc_wire::Direction;
use tempfile::TempDir;

pub(crate) struct Capture {
    file: CaptureFile,
    path: PathBuf,
    frames: u64,
    _folder: TempDir,
}

impl Capture {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pcapng");
        Self { file: CaptureFile::create(&path, None).unwrap(), path, frames: 0, _folder: folder }
    }

    /// Adds a frame; its number.
    pub(crate) fn add(
        &mut self,
        source: Source<'_>,
        direction: Direction,
        layer: CaptureLayer,
        bytes: &[u8],
        length: usize,
    ) -> u64 {
        self.frames += 1;
        let time = Duration::from_micros(self.frames);
        let comment = None;
        let frame = CapturedFrame { time, source, direction, layer, bytes, length, comment };
        self.file.write(&frame).unwrap();
        self.frames
    }

    /// What tshark prints with these arguments.
    pub(crate) fn tshark(&mut self, args: &[&str]) -> String {
        self.file.flush().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contrib/wireshark/sspc.lua");
        let output = Command::new("tshark")
            .arg("-X")
            .arg(format!("lua_script:{script}"))
            .arg("-r")
            .arg(&self.path)
            .args(args)
            .output()
            .unwrap_or_else(|error| panic!("tshark: {error}; scripts/install-tools test"));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !stderr.contains("Lua"), "{stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The fields of the frames that a filter takes, a line a frame.
    pub(crate) fn fields(&mut self, filter: &str, fields: &[&str]) -> Vec<String> {
        let mut args = vec!["-Y", filter, "-T", "fields"];
        args.extend(fields.iter().flat_map(|field| ["-e", field]));
        self.tshark(&args).lines().map(str::to_owned).collect()
    }
}

pub(crate) const C0: Source<'static> = Source { name: "c0", description: "" };
