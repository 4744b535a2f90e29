//! How an input says where its bytes are cut.

/// The bytes, and the sizes in which they come: the last byte says how many bytes in front of it
/// are sizes.
pub(crate) fn split(input: &[u8]) -> (&[u8], Vec<usize>) {
    let Some((count, rest)) = input.split_last() else { return (input, vec![1]) };
    let count = usize::from(count % 8).min(rest.len());
    let (bytes, sizes) = rest.split_at(rest.len() - count);
    let sizes = sizes.iter().map(|size| usize::from(*size).max(1));
    (bytes, sizes.chain([usize::MAX]).collect())
}
