//! Names that a mistaken one may have meant.

/// Most names to propose.
const PROPOSED_MAX: usize = 3;

/// A remark such as `; did you mean "mintest"?`, or nothing.
pub(crate) fn remark<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut near: Vec<(usize, &str)> =
        known.filter_map(|name| Some((distance_if_near(wanted, name)?, name))).collect();
    near.sort_unstable();
    near.truncate(PROPOSED_MAX);
    if near.is_empty() {
        return String::new();
    }
    let names: Vec<String> = near.into_iter().map(|(_, name)| format!("{name:?}")).collect();
    format!("; did you mean {}?", names.join(" or "))
}

fn distance_if_near(wanted: &str, name: &str) -> Option<usize> {
    if wanted.eq_ignore_ascii_case(name) {
        return Some(0);
    }
    let distance = distance(wanted.as_bytes(), name.as_bytes());
    let allowed = (wanted.len().min(name.len()) / 3).clamp(1, 3);
    (distance <= allowed).then_some(distance)
}

/// How many bytes to insert, delete or replace. Both are names of at most 31 bytes.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_levenshtein() {
        for (a, b, expected) in
            [("", "", 0), ("abc", "", 3), ("", "abc", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        }
    }

    #[test]
    fn only_names_that_look_alike_are_proposed() {
        let known = ["mintest", "MinTest", "minpost", "__default", "ws_echo"];
        assert_eq!(remark("mintset", known.into_iter()), "; did you mean \"mintest\"?");
        assert_eq!(
            remark("MINTEST", known.into_iter()),
            "; did you mean \"MinTest\" or \"mintest\"?"
        );
        assert_eq!(remark("telemetry", known.into_iter()), "");
    }
}
