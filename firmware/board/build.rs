//! Gives the linker the memory map of the board.

use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let boards = ["lm3s6965evb", "mps2-an386"];
    let feature = |board: &str| format!("CARGO_FEATURE_{}", board.to_uppercase().replace('-', "_"));
    let board = boards.into_iter().find(|board| env::var_os(feature(board)).is_some());
    let map = format!("{}.x", board.ok_or("choose a board by its feature")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::copy(&map, out.join("memory.x"))?;
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rerun-if-changed={map}");
    Ok(())
}
