//! What a request asks for behind its `?`.

use http::StatusCode;
use url::form_urlencoded;

use crate::answer::{Answer, failed};

/// Which sessions, in which order. One that is empty asks for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    /// A part of who the client is.
    pub(crate) client: Option<String>,
    pub(crate) streamtype: Option<String>,
    pub(crate) state: Option<String>,
    /// The session of this number alone, of frames.
    pub(crate) session: Option<u64>,
    /// Bytes of each frame.
    pub(crate) snap: Option<usize>,
    /// A part of anything that is shown.
    pub(crate) text: Option<String>,
    pub(crate) sort: Sort,
    /// The other way round.
    pub(crate) is_descending: bool,
    /// Sessions whose number is greater alone.
    pub(crate) after: u64,
    pub(crate) limit: usize,
}

/// The order of sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    /// The oldest first.
    #[default]
    Age,
    Client,
    Streamtype,
    State,
    Bytes,
    Rate,
    Error,
}

const SORTS: [(&str, Sort); 7] = [
    ("age", Sort::Age),
    ("client", Sort::Client),
    ("streamtype", Sort::Streamtype),
    ("state", Sort::State),
    ("bytes", Sort::Bytes),
    ("rate", Sort::Rate),
    ("error", Sort::Error),
];

/// Sessions in one answer unless it is asked for more, and at most.
pub(crate) const LIMIT: usize = 100;
pub(crate) const LIMIT_MAX: usize = 1000;
/// The longest value.
const VALUE_MAX: usize = 200;

impl Default for Query {
    fn default() -> Self {
        Self {
            client: None,
            streamtype: None,
            state: None,
            session: None,
            snap: None,
            text: None,
            sort: Sort::default(),
            is_descending: false,
            after: 0,
            limit: LIMIT,
        }
    }
}

impl Query {
    /// Of what stands behind the `?`; `takes` are the names that this path takes.
    pub(crate) fn parse(text: Option<&str>, takes: &[&str]) -> Result<Self, Box<Answer>> {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
            if !takes.contains(&&*name) {
                let help = match takes {
                    [] => "leave out all that is behind the \"?\"".to_owned(),
                    _ => format!("this path takes {}", takes.join(", ")),
                };
                return Err(wrong("there is no such parameter here", &name, &help));
            }
            if value.len() > VALUE_MAX {
                let help = format!("give at most {VALUE_MAX} bytes");
                return Err(wrong("a parameter is too long", &name, &help));
            }
            let given = (!value.is_empty()).then(|| value.clone().into_owned());
            match &*name {
                "client" => query.client = given.map(|text| text.to_lowercase()),
                "streamtype" => query.streamtype = given,
                "state" => query.state = given.map(|text| text.to_uppercase()),
                "text" => query.text = given.map(|text| text.to_lowercase()),
                "sort" => {
                    let (sort, is_descending) = match value.strip_prefix('-') {
                        Some(sort) => (sort, true),
                        None => (&*value, false),
                    };
                    let known = SORTS.iter().find(|(known, _)| *known == sort);
                    let Some((_, sort)) = known else {
                        let names: Vec<_> = SORTS.iter().map(|(name, _)| *name).collect();
                        let help = format!(
                            "sort by {}; with - in front the other way round",
                            names.join(", ")
                        );
                        return Err(wrong("there is no such order", &value, &help));
                    };
                    (query.sort, query.is_descending) = (*sort, is_descending);
                }
                "session" | "snap" => match value.parse::<u64>() {
                    Ok(number) if name == "session" => query.session = Some(number),
                    Ok(number) => query.snap = Some(usize::try_from(number).unwrap_or(usize::MAX)),
                    Err(_) => {
                        return Err(wrong(
                            "this is no number",
                            &value,
                            "give a number, such as 12",
                        ));
                    }
                },
                "after" => match value.parse() {
                    Ok(after) => query.after = after,
                    Err(_) => {
                        let help = "give the number of the last session that you have";
                        return Err(wrong("this is not the number of a session", &value, help));
                    }
                },
                _ => match value.parse() {
                    Ok(limit @ 1..=LIMIT_MAX) => query.limit = limit,
                    _ => {
                        let help = format!(
                            "give a number from 1 to {LIMIT_MAX}; after=ID gives those behind it"
                        );
                        return Err(wrong("the limit is wrong", &value, &help));
                    }
                },
            }
        }
        Ok(query)
    }
}

fn wrong(what: &str, value: &str, help: &str) -> Box<Answer> {
    let value: String = value.chars().take(VALUE_MAX).collect();
    let why = format!("the query has \"{}\"", value.escape_debug());
    Box::new(failed(StatusCode::BAD_REQUEST, what, &why, help))
}
