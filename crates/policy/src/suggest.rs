//! "Did you mean": the known name nearest to a misspelt one.

/// Most names that a word is compared to: a guess is not worth more.
const CANDIDATES_MAX: usize = 1_000;

/// The candidate that most likely was meant, if one is near enough.
pub(crate) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    // Short names are near to everything; long ones are noise, and cost the square of their length.
    let length = word.chars().count();
    if !(3..=64).contains(&length) {
        return None;
    }
    let allowed = length / 3;
    candidates
        .into_iter()
        .take(CANDIDATES_MAX)
        .filter(|candidate| {
            candidate.len() <= 64 && candidate.len().abs_diff(word.len()) <= allowed
        })
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that make one word the other,
/// without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let mut best = (previous[j] + usize::from(x != y)).min(previous[j + 1] + 1);
            best = best.min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut previous, row);
    }
    previous.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_find_their_word() {
        let known = ["endpoint", "port", "protocol", "http_url", "tls"];
        assert_eq!(nearest("endpiont", known), Some("endpoint"));
        assert_eq!(nearest("http-url", known), Some("http_url"));
        assert_eq!(nearest("TLS", known), Some("tls"));
        assert_eq!(nearest("prot", known), Some("port"));
        assert_eq!(nearest("something", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn distances_count_edits() {
        assert_eq!(distance("abc", "acb"), 1);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
