//! Made by `sspc policy codegen --rust`; not to be edited.

/// Streamtype and metadata.
#[allow(dead_code)]
pub mod big {
    /// The streamtype.
    pub const STREAMTYPE: &str = "big";
}

/// Streamtype and metadata.
#[allow(dead_code)]
pub mod download {
    /// The streamtype.
    pub const STREAMTYPE: &str = "download";
}

/// Streamtype and metadata.
#[allow(dead_code)]
pub mod page {
    /// The streamtype.
    pub const STREAMTYPE: &str = "page";
    /// Name of a metadata item.
    pub const META_MIME: &str = "mime";
}

/// Streamtype and metadata.
#[allow(dead_code)]
pub mod plain {
    /// The streamtype.
    pub const STREAMTYPE: &str = "plain";
    /// Name of a metadata item.
    pub const META_MIME: &str = "mime";
}

/// Streamtype and metadata.
#[allow(dead_code)]
pub mod ticker {
    /// The streamtype.
    pub const STREAMTYPE: &str = "ticker";
}

/// Streamtype and metadata.
#[allow(dead_code)]
pub mod together {
    /// The streamtype.
    pub const STREAMTYPE: &str = "together";
}

/// Streamtype and metadata.
#[allow(dead_code)]
pub mod upload {
    /// The streamtype.
    pub const STREAMTYPE: &str = "upload";
}
