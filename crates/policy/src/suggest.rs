//! "Did you mean": the known names nearest to a mistaken one.

use crate::quote::quote;

/// Most names that a word is compared to: a guess is not worth more.
const CANDIDATES_MAX: usize = 1_000;
/// Longest name that is compared, bytes; the work is the square of it.
const LENGTH_MAX: usize = 64;
/// Most edits between a word and what it is taken for; a third of the shorter one's length if that
/// is less, because short names are near to everything.
const EDITS_MAX: usize = 3;
/// Most names to suggest.
const SUGGESTED_MAX: usize = 3;

/// ``did you mean `port`?``, with the known names that are nearest to a word that is none of them;
/// `None` if none is near.
///
/// An edit is a character put in, left out, replaced, or exchanged with its neighbour; case does not
/// count. The work is bounded, whatever the word and however many names there are.
pub fn suggest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    if word.len() > LENGTH_MAX {
        return None;
    }
    let folded = word.to_lowercase();
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        .take(CANDIDATES_MAX)
        .filter_map(|name| Some((edits(&folded, name)?, name)))
        .collect();
    near.sort_unstable();
    let (least, _) = *near.first()?;
    let nearest = near.iter().take_while(|(edits, _)| *edits == least).take(SUGGESTED_MAX);
    Some(did_you_mean(nearest.map(|(_, name)| *name)))
}

/// The one text for what was meant.
pub(crate) fn did_you_mean<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let names: Vec<String> = names.into_iter().map(quote).collect();
    format!("did you mean {}?", names.join(" or "))
}

/// The edits from a word in lower case to a name, if they are few enough.
fn edits(word: &str, name: &str) -> Option<usize> {
    let allowed = (word.len().min(name.len()) / 3).min(EDITS_MAX);
    if name.len() > LENGTH_MAX || word.len().abs_diff(name.len()) > 4 * EDITS_MAX {
        return None;
    }
    let edits = strsim::osa_distance(word, &name.to_lowercase());
    (edits <= allowed).then_some(edits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_find_their_word() {
        let known = ["endpoint", "port", "protocol", "http_url", "tls", "s"];
        let meant = |word| suggest(word, known);
        assert_eq!(meant("endpiont").as_deref(), Some("did you mean `endpoint`?"));
        assert_eq!(meant("http-url").as_deref(), Some("did you mean `http_url`?"));
        assert_eq!(meant("TLS").as_deref(), Some("did you mean `tls`?"));
        assert_eq!(meant("prot").as_deref(), Some("did you mean `port`?"));
        for word in ["something", "", "x", "stream"] {
            assert_eq!(meant(word), None, "{word}");
        }
    }

    #[test]
    fn names_that_are_equally_near_are_all_suggested_up_to_three() {
        let known = ["mintest", "MinTest", "minpost", "mintes", "__default"];
        let both = "did you mean `MinTest` or `mintest`?";
        assert_eq!(suggest("MINTEST", known).as_deref(), Some(both));
        let digits = ["name1", "name2", "name3", "name4"];
        let three = "did you mean `name1` or `name2` or `name3`?";
        assert_eq!(suggest("name9", digits).as_deref(), Some(three));
    }

    #[test]
    fn names_are_quoted_safely() {
        let known = ["name\u{1b}"];
        assert_eq!(suggest("name", known).as_deref(), Some("did you mean `name\\u{1b}`?"));
    }

    #[test]
    fn what_is_long_is_not_compared() {
        let long = "n".repeat(1 << 20);
        assert_eq!(suggest(&long, [long.as_str()]), None);
        assert_eq!(suggest("name", [long.as_str()]), None);
    }
}
